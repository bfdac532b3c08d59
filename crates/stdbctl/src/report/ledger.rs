//! What has become of each host so far, kept from the events.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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
    /// The payload that is being sent now.
    pub(crate) sending: Option<Sending>,
    /// Why nothing more is done on it.
    pub(crate) failure: Option<String>,
}

/// How much of a payload has been sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// Since when, and from which byte on.
    began: (Instant, u64),
    bytes: u64,
    total: u64,
}

impl Sending {
    /// The part that has been sent.
    pub(crate) fn percent(&self) -> u64 {
        self.bytes.saturating_mul(100) / self.total.max(1)
    }

    /// Bytes a second, once that can be told.
    pub(crate) fn rate(&self) -> Option<u64> {
        rate(self.began.0.elapsed(), self.bytes.saturating_sub(self.began.1))
    }
}

fn rate(took: Duration, bytes: u64) -> Option<u64> {
    let milliseconds = u64::try_from(took.as_millis()).ok()?;
    // Of the first moments only buffers can tell.
    if milliseconds < 500 { None } else { Some(bytes.saturating_mul(1000) / milliseconds) }
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
                let began = host.sending.map_or_else(|| (Instant::now(), *bytes), |sending| sending.began);
                host.sending = (bytes < total).then_some(Sending { began, bytes: *bytes, total: *total });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_once_it_is_one() {
        assert_eq!(rate(Duration::from_millis(100), 1 << 20), None);
        assert_eq!(rate(Duration::from_secs(2), 5_000_000), Some(2_500_000));
        assert_eq!(rate(Duration::from_millis(500), 0), Some(0));
    }

    #[test]
    fn what_is_sent_is_told_until_all_of_it_is() {
        let mut ledger = Ledger::default();
        let host = || "web1".to_owned();
        ledger.record(&EventKind::RunStarted { verb: "publish".to_owned(), hosts: vec![host()] });
        let mut percent = |bytes| {
            ledger.record(&EventKind::Uploaded {
                host: host(),
                task: "upload".to_owned(),
                bytes,
                total: 200,
            });
            ledger.host("web1").unwrap().sending.map(|sending| sending.percent())
        };
        assert_eq!([percent(50), percent(199), percent(200)], [Some(25), Some(99), None]);
    }
}
