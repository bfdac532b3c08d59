//! What every kind of resource can do.

use std::collections::BTreeSet;

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, Probes};
use crate::task::Task;

/// What a task's plan may look at.
pub(crate) struct Planning<'a> {
    /// The task itself.
    pub(crate) task: &'a Task,
    /// All tasks of the host.
    pub(crate) graph: &'a Graph,
    /// What is there, or will be once the changes planned so far are made.
    pub(crate) seen: &'a Observation,
    /// The tasks planned so far that change something.
    pub(crate) changing: &'a BTreeSet<String>,
}

/// What every kind can do. All of it is pure: the host is only known through an [`Observation`].
pub(crate) trait Kind {
    /// What must be known of the host, to plan the task with this id.
    fn probe(&self, task: &str, graph: &Graph, probes: &mut Probes);

    /// What would have to change, if anything.
    fn plan(&self, planning: &Planning<'_>) -> Option<Change>;

    /// Notes in the observation what will be there after the planned change.
    fn predict(&self, _task: &str, _seen: &mut Observation) {}

    /// What must be there before: see [`Thing`].
    fn requires(&self) -> Vec<Thing> {
        Vec::new()
    }

    /// What is there afterwards.
    fn provides(&self) -> Vec<Thing> {
        Vec::new()
    }

    /// What a service that runs `with` this has been started with. None if it is not known before it is there, or if
    /// the kind has nothing to tell one state of it from another.
    fn fingerprint(&self, _task: &str, _seen: &Observation) -> Option<String> {
        None
    }

    /// A word of sh that gives the fingerprint on the host, once the resource is there.
    fn fingerprint_word(&self) -> String {
        "-".to_owned()
    }
}

/// What one task provides and another requires: the edges the engine sees itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    Path(String),
    User(String),
    Group(String),
}
