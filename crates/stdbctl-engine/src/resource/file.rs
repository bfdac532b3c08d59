//! Files: written whole, atomically, with what was there kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::path::PathBuf;

use similar::TextDiff;

use crate::change::{Change, Payload};
use crate::graph::Graph;
use crate::host::{Sent, Stdin};
use crate::observe::{Observation, PathKind, PathState, Probes, sha256, sha256_file};
use crate::plan::{Action, FileDiff};
use crate::resource::{Kind, Planning, Thing, attributes};
use crate::sh::quote;

/// A file that must be there with this content, owner and mode. Exactly one of `content`, `template` and `source`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute path on the host.
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
    /// The content itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The name of a template: the playbook's loader renders it into `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A path on the operator's machine, streamed. `~` is not expanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether the content is secret: no diff of it is ever shown.
    #[serde(default)]
    pub secret: bool,
    /// A command that must succeed with the new file in place, else the old one is put back: `nginx -t`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
}

fn default_mode() -> String {
    "0644".to_owned()
}

/// A path that must not be there. What is removed is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// Absolute path of a file or symbolic link.
    pub path: String,
    /// The package that brings it when it is installed anew, so that the plan of a fresh host shows the removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipped_by: Option<String>,
}

/// A file larger than this is not shown in a plan.
const DIFF_LIMIT: u64 = 256 << 10;

impl File {
    /// The content as it goes to the host. A local file that cannot be read is empty here; a playbook's loader has
    /// refused it before.
    fn payload(&self) -> Payload {
        let Some(source) = &self.source else {
            return Payload::bytes(self.content.clone().unwrap_or_default().into_bytes());
        };
        let path = PathBuf::from(source);
        let len = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Payload { stdin: Stdin::File { path, len, sent: Sent::default() }, len }
    }

    fn sum(&self) -> String {
        match &self.source {
            None => sha256(self.content.as_deref().unwrap_or_default().as_bytes()),
            Some(source) => sha256_file(source).unwrap_or_default(),
        }
    }

    /// The content, if it is text that can be shown.
    fn text(&self) -> Option<String> {
        match &self.source {
            None => Some(self.content.clone().unwrap_or_default()),
            Some(source) if std::fs::metadata(source).ok()?.len() <= DIFF_LIMIT => {
                std::fs::read_to_string(source).ok()
            }
            Some(_) => None,
        }
    }

    fn diff(&self, old: Option<&PathState>) -> FileDiff {
        let old_text = match old {
            // A link that leads nowhere has no content.
            None | Some(PathState { kind: PathKind::Symlink { .. }, sha256: None, .. }) => {
                Some(String::new())
            }
            Some(state) if state.sha256.as_deref() == Some(&self.sum()) => self.text(),
            Some(state) => state.content.clone().and_then(|bytes| String::from_utf8(bytes).ok()),
        };
        let diff = match (old_text, self.text()) {
            _ if self.secret => "(secret: not shown)".to_owned(),
            (Some(old_text), Some(new)) => {
                let from = if old.is_some() { self.path.as_str() } else { "/dev/null" };
                TextDiff::from_lines(old_text.as_str(), new.as_str())
                    .unified_diff()
                    .context_radius(3)
                    .header(from, &self.path)
                    .to_string()
            }
            _ => "(not text, or too large to show)".to_owned(),
        };
        FileDiff { path: self.path.clone(), diff }
    }

    fn write(&self, old: Option<&PathState>) -> Change {
        let attributes = format!("owner {}:{}, mode {}", self.owner, self.group, self.mode);
        let (action, details) = match old {
            None => (Action::Create, vec![attributes]),
            Some(PathState { kind: PathKind::Symlink { target }, .. }) => {
                (Action::Update, vec![format!("replaces the link to {target}; the link is kept"), attributes])
            }
            Some(state) => {
                let differing = attributes::differences(state, &self.owner, &self.group, &self.mode);
                (Action::Update, std::iter::once("content".to_owned()).chain(differing).collect())
            }
        };
        let validator =
            self.validate.as_ref().map(|line| line.replace("%s", &quote(&self.path))).unwrap_or_default();
        let observed = old.and_then(|state| state.sha256.as_ref());
        let still = observed.map(|sum| format!("still {} {sum}\n", quote(&self.path))).unwrap_or_default();
        let script = format!(
            "{still}put_file {} {} {} {} {} {}",
            quote(&self.path),
            quote(&self.owner),
            quote(&self.group),
            quote(&self.mode),
            self.sum(),
            quote(&validator)
        );
        let mut change = Change::new(action, details, script).with_payload(self.payload());
        change.replaces = observed.cloned();
        change.diffs.extend(Some(self.diff(old)).filter(|diff| !diff.diff.is_empty()));
        change
    }
}

impl Kind for File {
    fn probe(&self, _task: &str, _graph: &Graph, probes: &mut Probes) {
        if self.secret {
            probes.secret(&self.path);
        } else {
            probes.file(&self.path, &self.sum());
        }
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let state = match planning.seen.paths.get(&self.path) {
            None => return Some(self.write(None)),
            Some(PathState { kind: PathKind::Directory | PathKind::Other, .. }) => {
                let details = vec![format!("{} is there and is not a file", self.path)];
                let script =
                    format!("echo {}\nexit 1", quote("something else is in the way; move it and run again"));
                return Some(Change::new(Action::Update, details, script));
            }
            Some(state) => state,
        };
        // A link is replaced by the file itself: what it led to may belong to somebody else.
        if state.kind != PathKind::File || state.sha256.as_deref() != Some(&self.sum()) {
            return Some(self.write(Some(state)));
        }
        let details = attributes::differences(state, &self.owner, &self.group, &self.mode);
        let path = quote(&self.path);
        let owner = quote(&format!("{}:{}", self.owner, self.group));
        let script = format!("chown {owner} {path}\nchmod {} {path}", quote(&self.mode));
        (!details.is_empty()).then(|| Change::new(Action::Update, details, script).of_attributes())
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        let mode = u32::from_str_radix(&self.mode, 8).unwrap_or_default();
        let mut state = PathState::planned(PathKind::File, mode, &self.owner, &self.group);
        state.sha256 = Some(self.sum());
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

    fn fingerprint(&self, _task: &str, _seen: &Observation) -> Option<String> {
        Some(self.sum())
    }

    fn fingerprint_word(&self) -> String {
        self.sum()
    }
}

impl Kind for Absent {
    fn probe(&self, _task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.path(&self.path);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let path = quote(&self.path);
        if let Some(PathState { kind: PathKind::Directory, .. }) = planning.seen.paths.get(&self.path) {
            let details = vec![format!("{} is a directory; it is not removed", self.path)];
            let script =
                format!("echo {}\nexit 1", quote("a directory is in the way; move it and run again"));
            return Some(Change::new(Action::Remove, details, script));
        }
        let script = format!("[ ! -d {path} ] || [ -L {path} ]\nkeep {path}\nrm -f -- {path}");
        let fresh = self.shipped_by.as_ref().filter(|name| planning.seen.fresh_packages.contains(*name));
        match (planning.seen.paths.get(&self.path), fresh) {
            (Some(_), _) => {
                Some(Change::new(Action::Remove, vec![format!("{}; a copy is kept", self.path)], script))
            }
            (None, Some(package)) => Some(Change::new(
                Action::Remove,
                vec![format!("{}, which {package} brings; a copy is kept", self.path)],
                script,
            )),
            (None, None) => None,
        }
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        seen.paths.remove(&self.path);
    }

    fn provides(&self) -> Vec<Thing> {
        vec![Thing::Path(self.path.clone())]
    }

    fn fingerprint(&self, _task: &str, _seen: &Observation) -> Option<String> {
        Some("absent".to_owned())
    }

    fn fingerprint_word(&self) -> String {
        "absent".to_owned()
    }
}
