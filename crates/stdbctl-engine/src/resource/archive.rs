//! Unpacked release archives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::{Change, Payload};
use crate::graph::Graph;
use crate::host::{Sent, Stdin};
use crate::observe::{Observation, PathKind, PathState, Probes, sha256_file};
use crate::plan::Action;
use crate::resource::{Kind, Planning, Thing};
use crate::sh::{quote, words};

/// A directory that holds the members of a `.tar.gz`, byte for byte. Exactly one of `url` and `file`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Absolute path of the directory. It belongs to this resource alone.
    pub path: String,
    /// Where the host itself fetches the archive. `{arch}` stands for its machine type, as `uname -m` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A path on the operator's machine, streamed over the connection: the host needs no internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The archive's sha256 in hex. Without one, what comes the first time is recorded and held to afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The files the archive must hold at its top level. Nothing else is unpacked.
    pub members: Vec<String>,
}

/// What is there of an archive.
#[derive(Debug, Default, PartialEq)]
struct Unpacked<'a> {
    /// The archive it came from.
    sha256: Option<&'a str>,
    /// Members that are not as they came, and how.
    damaged: Vec<&'a str>,
}

impl<'a> Unpacked<'a> {
    fn read(task: &str, seen: &'a Observation) -> Self {
        let text = seen.extra(task).map_or("", |extra| extra.text.as_str());
        Self {
            sha256: text.lines().find_map(|line| line.strip_prefix("archive ")),
            damaged: text.lines().filter_map(|line| line.strip_prefix("damaged ")).collect(),
        }
    }
}

impl Archive {
    fn members(&self) -> String {
        words(self.members.iter().map(String::as_str))
    }

    /// The URL, for this host.
    fn url(&self, seen: &Observation) -> Option<String> {
        self.url.as_ref().map(|url| url.replace("{arch}", &seen.host.machine))
    }

    /// Where the archive comes from, in the plan's words.
    fn origin(&self, seen: &Observation) -> String {
        match (self.url(seen), &self.file) {
            (Some(url), _) => format!("from {url}"),
            (None, Some(file)) => format!("from {file} on this machine"),
            (None, None) => "from nowhere".to_owned(),
        }
    }

    /// Why the local archive cannot be sent. Reads all of it if it is held to a sha256.
    pub(crate) fn file_problem(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        let sum = match &self.sha256 {
            Some(_) => sha256_file(file).map(Some),
            None => std::fs::File::open(file).map(|_| None),
        };
        match (sum, &self.sha256) {
            (Err(error), _) => Some(format!("cannot read {file}: {error}")),
            (Ok(Some(sum)), Some(wanted)) if sum != *wanted => {
                Some(format!("{file} has the wrong sha256: {sum} instead of {wanted}"))
            }
            _ => None,
        }
    }

    /// The archive as this machine has it.
    fn payload(&self) -> Option<Payload> {
        let path = std::path::PathBuf::from(self.file.as_ref()?);
        let len = std::fs::metadata(&path).ok()?.len();
        Some(Payload { stdin: Stdin::File { path, len, sent: Sent::default() }, len })
    }

    fn script(&self, seen: &Observation) -> String {
        let (path, sum) = (quote(&self.path), quote(self.sha256.as_deref().unwrap_or("")));
        let fetch = match self.url(seen) {
            Some(url) => format!("fetch {} \"$run/payload.$number\"\n", quote(&url)),
            None => String::new(),
        };
        format!("{fetch}unpack \"$run/payload.$number\" {path} {sum} {}", self.members())
    }

    /// The sha256 of the archive that is unpacked, if all of it is as it came.
    pub(crate) fn whole(task: &str, seen: &Observation) -> Option<String> {
        let unpacked = Unpacked::read(task, seen);
        unpacked.sha256.filter(|_| unpacked.damaged.is_empty()).map(str::to_owned)
    }
}

impl Kind for Archive {
    /// The members' bytes are only read again if one of them was touched since they were unpacked.
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.path(&self.path);
        probes.fragment(
            task,
            format!(
                "cd {} 2>/dev/null || exit 0\nhead -n 1 .stdbctl-archive 2>/dev/null || exit 0\n\
                 [ \"$(stat -c '%n %s %Y %Z %i' -- {members} 2>&1)\" = \"$(cat .stdbctl-seen 2>/dev/null)\" ] && exit 0\n\
                 for member in {members}; do\n\
                 grep -qxF -- \"$(sha256sum -- \"$member\" 2>/dev/null)\" .stdbctl-archive || echo \"damaged $member\"\n\
                 done",
                quote(&self.path),
                members = self.members(),
            ),
            true,
        );
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let unpacked = Unpacked::read(&planning.task.id, planning.seen);
        let origin = self.origin(planning.seen);
        let there = planning.seen.paths.contains_key(&self.path);
        let (action, mut details) = match (unpacked.sha256, &self.sha256) {
            (Some(is), Some(wanted)) if is != wanted => {
                (Action::Update, vec![format!("{} holds another archive: sha256 {is}", self.path), origin])
            }
            (Some(_), _) if unpacked.damaged.is_empty() => return None,
            (Some(_), _) => {
                let damaged = unpacked.damaged.join(" and ");
                (Action::Update, vec![format!("{damaged} in {} is not what was unpacked", self.path), origin])
            }
            (None, _) if there => {
                (Action::Update, vec![format!("{} is not an archive stdbctl unpacked", self.path), origin])
            }
            (None, _) => (Action::Create, vec![format!("{} {origin}", self.members.join(" and "))]),
        };
        details.push(match &self.sha256 {
            Some(sum) => format!("sha256 {sum}"),
            None => "sha256 not known yet: what comes is recorded and held to".to_owned(),
        });
        let mut change = Change::new(action, details, self.script(planning.seen));
        change.exact = self.sha256.is_some();
        change.payload = self.payload();
        Some(change)
    }

    fn predict(&self, task: &str, seen: &mut Observation) {
        // What an archive that is held to no sha256 will be is not known before it comes.
        seen.extras.remove(task);
        let state = PathState::planned(PathKind::Directory, 0o755, "root", "root");
        seen.paths.insert(self.path.clone(), state);
    }

    fn requires(&self) -> Vec<Thing> {
        vec![Thing::Path(self.path.clone())]
    }

    fn provides(&self) -> Vec<Thing> {
        vec![Thing::Path(self.path.clone())]
    }

    fn fingerprint(&self, task: &str, seen: &Observation) -> Option<String> {
        self.sha256.clone().or_else(|| Unpacked::read(task, seen).sha256.map(str::to_owned))
    }

    fn fingerprint_word(&self) -> String {
        format!("\"$(sed -n 's/^archive //p' {})\"", quote(&format!("{}/.stdbctl-archive", self.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_archive_is_looked_at_before_it_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("release.tar.gz");
        let archive = |sha256: Option<&str>| Archive {
            path: "/stdb/bin/1.0.0".to_owned(),
            url: None,
            file: Some(path.display().to_string()),
            sha256: sha256.map(str::to_owned),
            members: Vec::new(),
        };
        assert!(archive(None).file_problem().unwrap().starts_with("cannot read "));
        std::fs::write(&path, "archive").unwrap();
        assert_eq!(archive(None).file_problem(), None);
        let sum = crate::observe::sha256(b"archive");
        assert_eq!(archive(Some(&sum)).file_problem(), None);
        let problem = archive(Some(&"0".repeat(64))).file_problem().unwrap();
        assert!(problem.contains("wrong sha256") && problem.contains(&sum), "{problem}");
    }
}
