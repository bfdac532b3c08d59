//! What has become of each host so far, kept from the events.

use std::collections::BTreeMap;

use stdbctl_engine::event::{EventKind, Outcome};
use stdbctl_engine::plan::HostPlan;

/// All hosts of a run, in order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    hosts: Vec<HostLedger>,
}

/// One host of a run.
#[derive(Debug, Default)]
pub(crate) struct HostLedger {
    /// The host.
    pub(crate) name: String,
    /// What is to be changed, once that is known.
    pub(crate) plan: Option<HostPlan>,
    /// The titles of the tasks that run now, by id.
    pub(crate) running: BTreeMap<String, String>,
    /// What was changed: the title, and the seconds it took.
    pub(crate) changed: Vec<(String, f64)>,
    /// Of the payload that is being sent now: the part that has been, in percent.
    pub(crate) sent: Option<u64>,
    /// Why nothing more is done on it.
    pub(crate) failure: Option<String>,
}

impl Ledger {
    /// Writes an event down.
    pub(crate) fn record(&mut self, event: &EventKind) {
        match event {
            EventKind::RunStarted { hosts, .. } => {
                let entry = |name: &String| HostLedger { name: name.clone(), ..HostLedger::default() };
                self.hosts = hosts.iter().map(entry).collect();
            }
            EventKind::Planned { plans } => {
                for plan in plans {
                    self.update(&plan.host, |host| host.plan = Some(plan.clone()));
                }
            }
            EventKind::TaskStarted { host, task } => self.update(host, |host| {
                host.running.insert(task.clone(), host.title(task).to_owned());
            }),
            EventKind::Uploaded { host, bytes, total, .. } => self.update(host, |host| {
                host.sent = (bytes < total).then(|| bytes.saturating_mul(100) / (*total).max(1));
            }),
            EventKind::TaskFinished { host, task, outcome, seconds } => self.update(host, |host| {
                host.running.remove(task);
                if *outcome == Outcome::Changed {
                    let title = host.title(task).to_owned();
                    host.changed.push((title, *seconds));
                }
            }),
            EventKind::HostFailed { host, cause, .. } => self.update(host, |host| {
                host.running.clear();
                host.failure = Some(cause.clone());
            }),
            _ => {}
        }
    }

    /// All hosts, in order.
    pub(crate) fn hosts(&self) -> &[HostLedger] {
        &self.hosts
    }

    /// One host.
    pub(crate) fn host(&self, name: &str) -> Option<&HostLedger> {
        self.hosts.iter().find(|host| host.name == name)
    }

    fn update(&mut self, name: &str, change: impl FnOnce(&mut HostLedger)) {
        if let Some(host) = self.hosts.iter_mut().find(|host| host.name == name) {
            change(host);
        }
    }
}

impl HostLedger {
    /// What people call a task: its title, or its id as long as no plan has told its title.
    pub(crate) fn title<'a>(&'a self, task: &'a str) -> &'a str {
        let planned = self.plan.iter().flat_map(|plan| &plan.changes).find(|change| change.task == task);
        planned.map_or(task, |change| &change.title)
    }
}
