//! Addresses that must answer, asked from the host itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::Probes;
use crate::plan::Action;
use crate::resource::{Kind, Planning, Resource};
use crate::sh::{lines, quote};

/// An address that must answer with this status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The URL.
    pub url: String,
    /// The status.
    #[serde(default = "default_status")]
    pub status: u16,
    /// Seconds to wait for it after something it needs was changed.
    #[serde(default = "default_within")]
    pub within_seconds: u32,
}

fn default_status() -> u16 {
    200
}

fn default_within() -> u32 {
    30
}

impl Http {
    /// A piece of sh that prints the status the address answers with.
    fn ask(&self) -> String {
        format!("curl -s --noproxy '*' -o /dev/null -m 5 -w '%{{http_code}}' -- {}", quote(&self.url))
    }
}

impl Kind for Http {
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.fragment(task, self.ask(), false);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let answer = planning.seen.extra(&planning.task.id).map_or("", |extra| extra.text.as_str());
        let restarted = planning.graph.ancestors(&planning.task.id).into_iter().find(|task| {
            matches!(task.resource, Resource::Service(_)) && planning.changing.contains(&task.id)
        });
        if answer == self.status.to_string() && restarted.is_none() {
            return None;
        }
        let details =
            vec![format!("until {} answers {}, {} s at most", self.url, self.status, self.within_seconds)];
        let failure = quote(&format!("{} does not answer {}", self.url, self.status));
        let units = lines(services(planning).map(|name| format!("unit_words {} \"$since\"", quote(&name))));
        let script = format!(
            "since=$(date +%s)\nanswers() {{ [ \"$({})\" = {} ]; }}\nwait_for {} answers || {{\n{units}echo {failure}\nexit 1\n}}",
            self.ask(),
            self.status,
            self.within_seconds,
        );
        Some(Change::new(Action::Wait, details, script))
    }
}

/// The services that should be behind the address: their words say why it does not answer.
fn services(planning: &Planning<'_>) -> impl Iterator<Item = String> {
    planning.graph.ancestors(&planning.task.id).into_iter().filter_map(|task| match &task.resource {
        Resource::Service(service) => Some(service.unit()),
        _ => None,
    })
}
