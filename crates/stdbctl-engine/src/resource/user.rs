//! Accounts: users and groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::fmt::Write as _;

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, Probes, UserState};
use crate::plan::Action;
use crate::resource::{Kind, Planning, Thing};
use crate::sh::quote;

/// A user that must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The login name.
    pub name: String,
    /// Whether it is created as a system account. Says nothing about one that is there.
    #[serde(default)]
    pub system: bool,
    /// The primary group.
    pub group: String,
    /// The home directory. It is not created.
    pub home: String,
    /// The login shell.
    pub shell: String,
}

/// A group that must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether it is created as a system group.
    #[serde(default)]
    pub system: bool,
}

impl Kind for User {
    fn probe(&self, _task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.user(&self.name);
        probes.group(&self.group);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let (name, group, home, shell) =
            (quote(&self.name), quote(&self.group), quote(&self.home), quote(&self.shell));
        let Some(user) = planning.seen.users.get(&self.name) else {
            let system = if self.system { "--system " } else { "" };
            let details = vec![format!("group {}, home {}, shell {}", self.group, self.home, self.shell)];
            let script = format!(
                "useradd {system}--gid {group} --home-dir {home} --no-create-home --shell {shell} {name}"
            );
            return Some(Change::new(Action::Create, details, script).under("passwd"));
        };
        let mut details = Vec::new();
        let mut options = String::new();
        if user.shell != self.shell {
            details.push(format!("shell {} -> {}", user.shell, self.shell));
            let _ = write!(options, " --shell {shell}");
        }
        // Nothing looks into the home of a system account, and it cannot be moved while one of its processes runs.
        if user.home != self.home && !self.system {
            details.push(format!("home {} -> {}", user.home, self.home));
            let _ = write!(options, " --home {home}");
        }
        if planning.seen.groups.get(&self.group) != Some(&user.gid) {
            details.push(format!("primary group {} -> {}", user.gid, self.group));
            let _ = write!(options, " --gid {group}");
        }
        let script = format!("usermod{options} {name}");
        (!details.is_empty()).then(|| Change::new(Action::Update, details, script).under("passwd"))
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        let gid = seen.groups.get(&self.group).copied().unwrap_or_default();
        let state = UserState { gid, home: self.home.clone(), shell: self.shell.clone() };
        seen.users.insert(self.name.clone(), state);
    }

    fn requires(&self) -> Vec<Thing> {
        vec![Thing::Group(self.group.clone())]
    }

    fn provides(&self) -> Vec<Thing> {
        vec![Thing::User(self.name.clone())]
    }
}

impl Kind for Group {
    fn probe(&self, _task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.group(&self.name);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        if planning.seen.groups.contains_key(&self.name) {
            return None;
        }
        let system = if self.system { "--system " } else { "" };
        let script = format!("groupadd {system}{}", quote(&self.name));
        Some(Change::new(Action::Create, vec![format!("group {}", self.name)], script).under("passwd"))
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        // A number that no group has until this one gets its own.
        seen.groups.insert(self.name.clone(), u32::MAX);
    }

    fn provides(&self) -> Vec<Thing> {
        vec![Thing::Group(self.name.clone())]
    }
}
