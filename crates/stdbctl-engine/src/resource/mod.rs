//! The closed set of resource kinds, one file each.

pub mod archive;
pub mod certificate;
pub mod command;
pub mod directory;
pub mod file;
pub mod firewall;
pub mod http;
pub mod package;
pub mod require;
pub mod service;
pub mod symlink;
pub mod user;

use std::collections::BTreeSet;

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, Probes};
use crate::task::Task;

/// One resource of one of the kinds.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named as its kind")]
pub enum Resource {
    Require(require::Require),
    Package(package::Package),
    User(user::User),
    Group(user::Group),
    Directory(directory::Directory),
    File(file::File),
    Absent(file::Absent),
    Symlink(symlink::Symlink),
    Archive(archive::Archive),
    Service(service::Service),
    Firewall(firewall::Firewall),
    Certificate(certificate::Certificate),
    Command(command::Command),
    Http(http::Http),
}

fn root() -> String {
    "root".to_owned()
}

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

impl Resource {
    /// The kind's own code.
    pub(crate) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Require(kind) => kind,
            Self::Package(kind) => kind,
            Self::User(kind) => kind,
            Self::Group(kind) => kind,
            Self::Directory(kind) => kind,
            Self::File(kind) => kind,
            Self::Absent(kind) => kind,
            Self::Symlink(kind) => kind,
            Self::Archive(kind) => kind,
            Self::Service(kind) => kind,
            Self::Firewall(kind) => kind,
            Self::Certificate(kind) => kind,
            Self::Command(kind) => kind,
            Self::Http(kind) => kind,
        }
    }
}

/// Mode, owner and group as they are and as they should be, one line for each that differs.
fn attribute_details(state: &crate::observe::PathState, owner: &str, group: &str, mode: &str) -> Vec<String> {
    let mut details = Vec::new();
    let now = format!("{:04o}", state.mode);
    if now != mode {
        details.push(format!("mode {now} -> {mode}"));
    }
    if state.owner != owner {
        details.push(format!("owner {} -> {owner}", state.owner));
    }
    if state.group != group {
        details.push(format!("group {} -> {group}", state.group));
    }
    details
}
