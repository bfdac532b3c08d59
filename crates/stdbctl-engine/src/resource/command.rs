//! Commands, for what no other kind covers. One that cannot say when it has nothing to do is refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::Probes;
use crate::plan::Action;
use crate::resource::{Kind, Planning};
use crate::sh::quote;

/// A command that is run unless what it brings about is there. Exactly one of `unless` and `creates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// A line for sh, run as root.
    pub run: String,
    /// A read-only line for sh that succeeds when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
    /// An absolute path that is there when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
}

impl Command {
    /// A read-only piece of sh that succeeds when there is nothing to do.
    fn test(&self) -> String {
        match (&self.unless, &self.creates) {
            (Some(unless), _) => unless.clone(),
            (None, Some(path)) => format!("test -e {0} || test -L {0}", quote(path)),
            (None, None) => "false".to_owned(),
        }
    }
}

impl Kind for Command {
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.fragment(task, format!("{{ {}\n}} >/dev/null 2>&1", self.test()), true);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let done = planning.seen.extra(&planning.task.id).is_some_and(|extra| extra.status == 0);
        let details = vec![format!("run {}", self.run)];
        (!done).then(|| Change::new(Action::Run, details, self.run.clone()).inexact())
    }
}
