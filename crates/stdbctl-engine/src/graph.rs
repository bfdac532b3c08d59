//! Tasks in an order that keeps every edge: those a playbook names, and those the engine can see itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::resource::{Resource, Thing};
use crate::task::Task;

/// The tasks of one host, each after everything it needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    tasks: Vec<Task>,
    /// For each task, the places of those it needs.
    needs: Vec<BTreeSet<usize>>,
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
    pub fn new(tasks: &[Task]) -> Result<Self, GraphError> {
        let places = places(tasks)?;
        let needs = tasks.iter().enumerate().map(|(place, task)| edges(place, task, tasks, &places));
        let needs = needs.collect::<Result<Vec<_>, _>>()?;
        let order = sort(tasks, &needs)?;
        let new_place: BTreeMap<usize, usize> =
            order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let moved =
            |set: &BTreeSet<usize>| set.iter().filter_map(|old| new_place.get(old).copied()).collect();
        Ok(Self {
            needs: order.iter().filter_map(|old| needs.get(*old)).map(moved).collect(),
            tasks: order.iter().filter_map(|old| tasks.get(*old)).cloned().collect(),
        })
    }

    /// The tasks, in order.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The task with this id.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// The tasks that the one with this id needs directly.
    pub(crate) fn needs(&self, id: &str) -> Vec<&Task> {
        let place = self.tasks.iter().position(|task| task.id == id);
        let needs = place.and_then(|place| self.needs.get(place)).into_iter().flatten();
        needs.filter_map(|place| self.tasks.get(*place)).collect()
    }

    /// All tasks that the one with this id needs, directly or not.
    pub(crate) fn ancestors(&self, id: &str) -> Vec<&Task> {
        let mut found: Vec<&Task> = Vec::new();
        let mut next = self.needs(id);
        while let Some(task) = next.pop() {
            if !found.iter().any(|other| other.id == task.id) {
                found.push(task);
                next.extend(self.needs(&task.id));
            }
        }
        found
    }
}

fn places(tasks: &[Task]) -> Result<BTreeMap<&str, usize>, GraphError> {
    let mut places = BTreeMap::new();
    for (place, task) in tasks.iter().enumerate() {
        if places.insert(task.id.as_str(), place).is_some() {
            return Err(GraphError::DuplicateId(task.id.clone()));
        }
    }
    Ok(places)
}

/// What a task needs: what it names, what its service runs with, and who provides what it requires.
fn edges(
    place: usize,
    task: &Task,
    tasks: &[Task],
    places: &BTreeMap<&str, usize>,
) -> Result<BTreeSet<usize>, GraphError> {
    let mut needs = BTreeSet::new();
    let with = match &task.resource {
        Resource::Service(service) => service.with.as_slice(),
        _ => &[],
    };
    for id in task.needs.iter().chain(with) {
        let need = places.get(id.as_str());
        let need =
            need.ok_or_else(|| GraphError::UnknownNeed { task: task.id.clone(), needs: id.clone() })?;
        needs.insert(*need);
    }
    for thing in task.resource.kind().requires() {
        needs.extend(provider(&thing, place, tasks));
    }
    needs.remove(&place);
    Ok(needs)
}

/// Who provides a thing: for a path its own task, or that of the nearest directory above it.
fn provider(thing: &Thing, not: usize, tasks: &[Task]) -> Option<usize> {
    let provides = |thing: &Thing| {
        tasks.iter().enumerate().find_map(|(place, task)| {
            (place != not && task.skipped.is_none() && task.resource.kind().provides().contains(thing))
                .then_some(place)
        })
    };
    let Thing::Path(path) = thing else { return provides(thing) };
    let mut path = path.as_str();
    loop {
        if let Some(place) = provides(&Thing::Path(path.to_owned())) {
            return Some(place);
        }
        path = path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())?;
    }
}

/// Kahn's order, always taking the first task that is ready, so that a playbook keeps its own order.
fn sort(tasks: &[Task], needs: &[BTreeSet<usize>]) -> Result<Vec<usize>, GraphError> {
    let mut order: Vec<usize> = Vec::with_capacity(tasks.len());
    let mut done = BTreeSet::new();
    while order.len() < tasks.len() {
        let ready =
            needs.iter().enumerate().find(|(place, needs)| !done.contains(place) && needs.is_subset(&done));
        match ready {
            Some((place, _)) => {
                done.insert(place);
                order.push(place);
            }
            None => return Err(GraphError::Cycle(circle(tasks, needs, &done))),
        }
    }
    Ok(order)
}

/// The ids of one circle, first and last the same.
fn circle(tasks: &[Task], needs: &[BTreeSet<usize>], done: &BTreeSet<usize>) -> Vec<String> {
    let mut path: Vec<usize> = Vec::new();
    let mut place = (0..tasks.len()).find(|place| !done.contains(place));
    while let Some(current) = place {
        if let Some(start) = path.iter().position(|seen| *seen == current) {
            path.drain(..start);
            path.push(current);
            break;
        }
        path.push(current);
        // Every task that is left needs another that is left, or it would have been ready.
        place = needs.get(current).and_then(|needs| needs.iter().find(|need| !done.contains(need)).copied());
    }
    path.iter().filter_map(|place| tasks.get(*place)).map(|task| task.id.clone()).collect()
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
