//! systemd units: enabled, running, and running with what is on disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::fmt::Write as _;

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, Probes, UnitState};
use crate::plan::Action;
use crate::resource::{Kind, Planning, Thing};
use crate::sh::quote;
use crate::task::Task;

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The unit's name; `.service` may be left out.
    pub name: String,
    /// Whether it starts at boot. Left alone if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it runs. Left alone if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// How a running unit takes up what changed.
    #[serde(default)]
    pub on_change: OnChange,
    /// Ids of the tasks whose result the running unit must have been started, or reloaded, with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
}

/// How a running unit takes up what changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// It is restarted.
    #[default]
    Restart,
    /// It is reloaded: connections stay.
    Reload,
    /// It is not told: systemd alone must know.
    None,
}

impl Service {
    /// The unit's full name.
    pub(crate) fn unit(&self) -> String {
        if self.name.contains('.') { self.name.clone() } else { format!("{}.service", self.name) }
    }

    /// The tasks it must run with.
    fn partners<'a>(&self, graph: &'a Graph) -> Vec<&'a Task> {
        self.with.iter().filter_map(|id| graph.task(id)).filter(|task| task.skipped.is_none()).collect()
    }

    /// What it must have been started with, as the stamp says it. None as long as a part is not known.
    fn wanted(&self, planning: &Planning<'_>) -> Option<String> {
        let prints: Option<Vec<String>> = self
            .partners(planning.graph)
            .into_iter()
            .map(|task| {
                let print = task.resource.kind().fingerprint(&task.id, planning.seen);
                // Of a kind that has none it is only known that this run changes it.
                let none = (!planning.changing.contains(&task.id)).then(|| "-".to_owned());
                Some(format!("{}={}", task.id, print.or(none)?))
            })
            .collect();
        Some(prints?.join(" "))
    }

    /// The same on the host, once all is there.
    fn stamp_words(&self, graph: &Graph) -> String {
        let prints: Vec<String> = self
            .partners(graph)
            .into_iter()
            .map(|task| format!("{}={}", task.id, task.resource.kind().fingerprint_word()))
            .collect();
        if prints.is_empty() { "''".to_owned() } else { prints.join("' '") }
    }

    /// Why the running unit does not run with what is on disk. None if it does.
    fn stale(&self, unit: &UnitState, planning: &Planning<'_>) -> Option<String> {
        if self.with.is_empty() || self.on_change == OnChange::None {
            return None;
        }
        let changing: Vec<&str> =
            self.with.iter().map(String::as_str).filter(|id| planning.changing.contains(*id)).collect();
        let reason = |ids: &[&str]| format!("it must take up {}", ids.join(", "));
        let all: Vec<&str> = self.with.iter().map(String::as_str).collect();
        // Of the start that it was written for, the stamp knows exactly what the unit was started with.
        let stamp = planning.seen.stamps.get(&planning.task.id).map_or("", String::as_str);
        if let Some((invocation, with)) = stamp.split_once(' ')
            && invocation == unit.invocation_id
        {
            let same = self.wanted(planning).is_some_and(|wanted| wanted == with);
            return (!same).then(|| reason(if changing.is_empty() { &all } else { &changing }));
        }
        // Started after its file was written, but systemd had not read that file.
        if unit.need_daemon_reload {
            let units = self.partners(planning.graph).into_iter().filter(|task| is_of_systemd(task));
            let units: Vec<&str> = units.map(|task| task.id.as_str()).collect();
            if !units.is_empty() {
                return Some(reason(&units));
            }
        }
        // Of any other start (a reboot, a crash, an operator) only when it was.
        if !changing.is_empty() {
            return Some(reason(&changing));
        }
        let newer: Vec<&str> = self
            .partners(planning.graph)
            .into_iter()
            .filter(|task| last_change(task, planning.seen) >= unit.active_since)
            .map(|task| task.id.as_str())
            .collect();
        (!newer.is_empty()).then(|| reason(&newer))
    }

    /// Whether systemd must read unit files again.
    fn needs_daemon_reload(&self, unit: &UnitState, planning: &Planning<'_>) -> bool {
        unit.need_daemon_reload
            || self
                .partners(planning.graph)
                .into_iter()
                .any(|task| is_of_systemd(task) && planning.changing.contains(&task.id))
    }
}

/// Whether systemd reads what the task provides.
fn is_of_systemd(task: &Task) -> bool {
    paths(task).any(|path| path.starts_with("/etc/systemd/system/"))
}

fn is_active(unit: &UnitState) -> bool {
    matches!(unit.active_state.as_str(), "active" | "reloading")
}

/// When the content of what a task provides was last written, seconds since 1970.
fn last_change(task: &Task, seen: &Observation) -> i64 {
    paths(task).filter_map(|path| seen.paths.get(&path)).map(|state| state.changed).max().unwrap_or(0)
}

fn paths(task: &Task) -> impl Iterator<Item = String> {
    task.resource.kind().provides().into_iter().filter_map(|thing| match thing {
        Thing::Path(path) => Some(path),
        _ => None,
    })
}

impl Kind for Service {
    fn probe(&self, task: &str, graph: &Graph, probes: &mut Probes) {
        probes.unit(&self.unit());
        if !self.with.is_empty() {
            probes.stamp(task);
        }
        for path in self.partners(graph).into_iter().flat_map(paths) {
            probes.path(&path);
        }
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let state = planning.seen.unit(&self.unit());
        let name = quote(&self.unit());
        let mut details = Vec::new();
        let mut script = String::new();
        if self.needs_daemon_reload(&state, planning) {
            details.push("systemd reads its unit files again".to_owned());
            script.push_str("systemctl daemon-reload\n");
        }
        let is_enabled =
            matches!(state.unit_file_state.as_str(), "enabled" | "static" | "alias" | "generated");
        match self.enabled {
            Some(true) if !is_enabled => {
                details.push("enable".to_owned());
                let _ = writeln!(script, "systemctl enable --quiet {name}");
            }
            Some(false) if is_enabled => {
                details.push("disable".to_owned());
                let _ = writeln!(script, "systemctl disable --quiet {name}");
            }
            _ => {}
        }
        let active = is_active(&state);
        let (verb, why) = match (self.running, active) {
            (Some(true), false) => ("start", None),
            (Some(false), true) => ("stop", None),
            (_, true) => match (self.stale(&state, planning), self.on_change) {
                (Some(why), OnChange::Restart) => ("restart", Some(why)),
                (Some(why), OnChange::Reload) => ("reload", Some(why)),
                _ => ("", None),
            },
            _ => ("", None),
        };
        if !verb.is_empty() {
            details.push(why.map_or(verb.to_owned(), |why| format!("{verb}: {why}")));
            script.push_str(&self.turn(verb, planning.graph, &planning.task.id));
        }
        (!details.is_empty()).then(|| Change::new(Action::Run, details, script))
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        let mut unit = seen.unit(&self.unit());
        unit.need_daemon_reload = false;
        if let Some(enabled) = self.enabled {
            if enabled { "enabled" } else { "disabled" }.clone_into(&mut unit.unit_file_state);
        }
        if self.running == Some(true) && !is_active(&unit) {
            // A start yet to come: it takes up all that is there before it.
            unit.invocation_id.clear();
            unit.active_since = i64::MAX;
        }
        if let Some(running) = self.running {
            if running { "active" } else { "inactive" }.clone_into(&mut unit.active_state);
        }
        seen.units.insert(self.unit(), unit);
    }
}

impl Service {
    /// The piece of sh that starts, restarts, reloads or stops the unit, and notes with what.
    fn turn(&self, verb: &str, graph: &Graph, task: &str) -> String {
        let name = quote(&self.unit());
        // A unit that its package has started in the meantime must still take up what is on disk.
        let verb = match (verb, self.on_change) {
            ("start", OnChange::Reload) => "reload-or-restart",
            ("start", OnChange::Restart) => "restart",
            (verb, _) => verb,
        };
        let mut script = format!("turn_unit {verb} {name}\n");
        if !self.with.is_empty() && verb != "stop" {
            let words = self.stamp_words(graph);
            let _ = writeln!(script, "stamp {} {name} {words}", quote(task));
        }
        script
    }
}
