//! Symbolic links.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, PathKind, PathState, Probes};
use crate::plan::Action;
use crate::resource::{Kind, Planning, Thing};
use crate::sh::quote;

/// A symbolic link that must be there and lead to `target`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// Absolute path of the link itself.
    pub path: String,
    /// Where it leads, as written into the link: relative to its directory or absolute.
    pub target: String,
}

impl Symlink {
    /// The absolute path the link leads to, without `.` and `..`.
    fn destination(&self) -> String {
        let path = match (self.target.starts_with('/'), self.path.rsplit_once('/')) {
            (false, Some((directory, _))) => format!("{directory}/{}", self.target),
            _ => self.target.clone(),
        };
        let mut names = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        format!("/{}", names.join("/"))
    }
}

impl Kind for Symlink {
    fn probe(&self, _task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.path(&self.path);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let script = format!("put_symlink {} {}", quote(&self.path), quote(&self.target));
        match planning.seen.paths.get(&self.path).map(|state| &state.kind) {
            Some(PathKind::Symlink { target }) if *target == self.target => None,
            Some(PathKind::Symlink { target }) => {
                Some(Change::new(Action::Update, vec![format!("{target} -> {}", self.target)], script))
            }
            Some(PathKind::Directory) => {
                let details = vec![format!("{} is a directory; it is not replaced by a link", self.path)];
                let script =
                    format!("echo {}\nexit 1", quote("a directory is in the way; move it and run again"));
                Some(Change::new(Action::Create, details, script))
            }
            Some(_) => Some(Change::new(
                Action::Update,
                vec![format!("a link to {} replaces the file; the file is kept", self.target)],
                script,
            )),
            None => Some(Change::new(Action::Create, vec![format!("leads to {}", self.target)], script)),
        }
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        let kind = PathKind::Symlink { target: self.target.clone() };
        seen.paths.insert(self.path.clone(), PathState::planned(kind, 0o777, "root", "root"));
    }

    fn requires(&self) -> Vec<Thing> {
        vec![Thing::Path(self.path.clone()), Thing::Path(self.destination())]
    }

    fn provides(&self) -> Vec<Thing> {
        vec![Thing::Path(self.path.clone())]
    }

    fn fingerprint(&self, _task: &str, _seen: &Observation) -> Option<String> {
        Some(self.target.clone())
    }

    fn fingerprint_word(&self) -> String {
        quote(&self.target)
    }
}
