//! Directories.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, PathKind, PathState, Probes};
use crate::plan::Action;
use crate::resource::{Kind, Planning, Thing, attributes};
use crate::sh::quote;

/// A directory that must be there, with this owner and mode. What is in it is left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Absolute path.
    pub path: String,
    /// Owner's name.
    #[serde(default = "super::root")]
    pub owner: String,
    /// Group's name.
    #[serde(default = "super::root")]
    pub group: String,
    /// Four octal digits.
    #[serde(default = "default_mode")]
    pub mode: String,
}

fn default_mode() -> String {
    "0755".to_owned()
}

impl Directory {
    /// The directory itself, where its path is a link to it: what stat says of this name is said of the directory.
    fn inside(&self) -> String {
        format!("{}/.", self.path)
    }

    /// What is there, if it is a directory. A link to one is how operators move data to another disk: it is
    /// followed, not replaced.
    fn state<'a>(&self, seen: &'a Observation) -> Option<&'a PathState> {
        let is_directory = |state: &&PathState| state.kind == PathKind::Directory;
        let at = |path: &str| seen.paths.get(path).filter(is_directory);
        at(&self.path).or_else(|| at(&self.inside()))
    }
}

impl Kind for Directory {
    fn probe(&self, _task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.path(&self.path);
        probes.path(&self.inside());
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let path = quote(&self.path);
        let owner = quote(&format!("{}:{}", self.owner, self.group));
        let attributes = format!("chown {owner} {path}\nchmod {} {path}", quote(&self.mode));
        let state = match (self.state(planning.seen), planning.seen.paths.get(&self.path)) {
            (Some(state), _) => state,
            (None, Some(_)) => {
                let details = vec![format!("{} is there and is not a directory", self.path)];
                let script =
                    format!("echo {}\nexit 1", quote("something else is in the way; move it and run again"));
                return Some(Change::new(Action::Create, details, script));
            }
            (None, None) => {
                let details = vec![format!("owner {}:{}, mode {}", self.owner, self.group, self.mode)];
                // What is missing above it is left open to all, whatever this one's own mode.
                let script = format!("umask 022\nmkdir -p -m {} -- {path}\n{attributes}", quote(&self.mode));
                return Some(Change::new(Action::Create, details, script));
            }
        };
        let details = attributes::differences(state, &self.owner, &self.group, &self.mode);
        (!details.is_empty()).then(|| Change::new(Action::Update, details, attributes))
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        let mode = u32::from_str_radix(&self.mode, 8).unwrap_or_default();
        let state = PathState::planned(PathKind::Directory, mode, &self.owner, &self.group);
        seen.paths.insert(self.path.clone(), state);
    }

    fn requires(&self) -> Vec<Thing> {
        vec![
            Thing::Path(self.path.clone()),
            Thing::User(self.owner.clone()),
            Thing::Group(self.group.clone()),
        ]
    }

    fn provides(&self) -> Vec<Thing> {
        vec![Thing::Path(self.path.clone())]
    }
}
