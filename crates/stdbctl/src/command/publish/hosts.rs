//! One publish on all its hosts: connect to every host, look at every host, and only then publish on any.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use stdbctl_engine::dialogue::Changing;
use stdbctl_engine::event::{Counts, Event, EventKind, Outcome, RunStats, Sender};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::Host;
use stdbctl_playbook::publish::{Prepared, Preview, PublishError, Published, Wish, carry_out, prepare};
use stdbctl_playbook::settings::Settings;
use tokio::sync::mpsc;

use crate::error::{FailedHost, in_one_line};
use crate::exit_code::ExitCode;
use crate::host::Place;

/// A host to publish on.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) settings: Settings,
}

/// What is asked of a run besides the wish.
pub(super) struct Options {
    /// Whether to publish, or stop once it is known what that would do.
    pub(super) apply: bool,
    /// Who runs this and from where.
    pub(super) operator: String,
}

/// What became of a run.
pub(super) struct Report {
    /// One a host, in the order of the jobs.
    pub(super) hosts: Vec<HostReport>,
    pub(super) stats: RunStats,
    /// Whether the operator was asked and said no. Nothing was changed then.
    pub(super) declined: bool,
}

/// What became of one host.
pub(super) struct HostReport {
    pub(super) name: String,
    /// What it is served under.
    pub(super) domain: Option<String>,
    /// What would be done, if it came to that.
    pub(super) prepared: Option<Prepared>,
    /// What was done.
    pub(super) published: Option<Published>,
    pub(super) failure: Option<PublishError>,
    /// How long the publishing itself took.
    pub(super) seconds: f64,
    counts: Counts,
    host: Option<Arc<dyn Host>>,
}

impl Report {
    /// The hosts that failed, in order.
    pub(super) fn failed(&self) -> Vec<FailedHost<'_>> {
        let failed = self.hosts.iter().filter_map(|host| {
            let error = host.failure.as_ref()?;
            let kind = ExitCode::of_publish(error);
            Some(FailedHost { host: &host.name, kind, cause: in_one_line(error), hints: error.hints() })
        });
        failed.collect()
    }

    /// Whether there is anything to do on a host.
    pub(super) fn is_pending(&self) -> bool {
        self.hosts.iter().filter_map(|host| host.prepared.as_ref()).any(has_changes)
    }
}

/// Carries out a run. Events go to `events` as they happen. `approve` sees what would be done on all hosts before
/// anything is changed anywhere. A host that failed does not stop the others.
pub(super) async fn run(
    jobs: Vec<Job>,
    wish: &Wish,
    options: &Options,
    events: Sender,
    approve: impl AsyncFnOnce(&[HostReport]) -> bool,
) -> Report {
    let begun = Instant::now();
    let names = jobs.iter().map(|job| job.name.clone()).collect();
    events.send(EventKind::RunStarted { verb: "publish".to_owned(), hosts: names });

    let mut hosts =
        join_all(jobs.into_iter().map(|job| HostReport::prepare(job, wish, options, &events))).await;
    let plans = hosts.iter().filter_map(|host| Some(host.prepared.as_ref()?.plan.clone())).collect();
    events.send(EventKind::Planned { plans });

    let mut declined = false;
    if options.apply {
        declined = !approve(&hosts).await;
        if !declined {
            join_all(hosts.iter_mut().map(|host| host.publish(&options.operator, &events))).await;
        }
    }
    finish(hosts, begun, declined, &events)
}

fn finish(hosts: Vec<HostReport>, begun: Instant, declined: bool, events: &Sender) -> Report {
    let mut stats = RunStats::default();
    for host in hosts.iter().filter_map(|host| host.host.as_ref()) {
        stats.add(host.stats());
    }
    stats.seconds = begun.elapsed().as_secs_f64();
    let counts = hosts.iter().map(|host| (host.name.clone(), host.counts)).collect();
    let ok = !declined && hosts.iter().all(|host| host.failure.is_none());
    events.send(EventKind::RunFinished { ok, hosts: counts, stats });
    Report { hosts, stats, declined }
}

impl HostReport {
    /// Connects and finds out what publishing would do.
    async fn prepare(job: Job, wish: &Wish, options: &Options, events: &Sender) -> Self {
        let Job { name, place, settings } = job;
        let mut report = Self {
            name,
            domain: settings.domain.clone(),
            prepared: None,
            published: None,
            failure: None,
            seconds: 0.0,
            counts: Counts::default(),
            host: None,
        };
        if let Err(error) = report.look(place, &settings, wish, options, events).await {
            report.fail(error, events);
        }
        report
    }

    async fn look(
        &mut self,
        place: Place,
        settings: &Settings,
        wish: &Wish,
        options: &Options,
        events: &Sender,
    ) -> Result<(), PublishError> {
        let host = place.connect(self.name.clone()).await.map_err(Failure::Connect)?;
        self.host = Some(Arc::clone(&host));
        let prepared = prepare(host, &self.name, settings, wish, options.apply).await?;
        events.send(EventKind::HostObserved { host: self.name.clone() });
        self.counts.unchanged = prepared.plan.unchanged;
        self.counts.skipped = prepared.plan.skipped.len();
        let refusal = prepared.refusal(wish);
        self.prepared = Some(prepared);
        refusal.map_or(Ok(()), Err)
    }

    /// What would be done, as far as the database is concerned.
    pub(super) fn preview(&self) -> Option<&Preview> {
        self.prepared.as_ref().map(|prepared| &prepared.preview)
    }

    /// Whether there is anything to do that can be done.
    pub(super) fn is_pending(&self) -> bool {
        self.failure.is_none() && self.prepared.as_ref().is_some_and(has_changes)
    }

    /// Publishes, if that was planned.
    async fn publish(&mut self, operator: &str, events: &Sender) {
        let Some(prepared) = self.prepared.as_ref().filter(|_| self.is_pending()) else { return };
        let begun = Instant::now();
        let who = Changing { operator, verb: "publish" };
        let (sender, heard) = Sender::channel();
        let publishing = async move { carry_out(prepared, who, &sender).await };
        let (result, counts) = tokio::join!(publishing, counted(heard, events, self.counts));
        (self.counts, self.seconds) = (counts, begun.elapsed().as_secs_f64());
        match result {
            Ok(published) => self.published = Some(published),
            Err(error) => self.fail(error, events),
        }
    }

    fn fail(&mut self, error: PublishError, events: &Sender) {
        let (host, cause) = (self.name.clone(), in_one_line(&error));
        events.send(EventKind::HostFailed { host, cause, hints: error.hints() });
        self.failure = Some(error);
    }
}

fn has_changes(prepared: &Prepared) -> bool {
    !prepared.plan.changes.is_empty()
}

/// Hands events on, and counts how tasks end.
async fn counted(mut heard: mpsc::UnboundedReceiver<Event>, events: &Sender, mut counts: Counts) -> Counts {
    while let Some(Event { kind, .. }) = heard.recv().await {
        if let EventKind::TaskFinished { outcome, .. } = &kind {
            let count = match outcome {
                Outcome::Unchanged => &mut counts.unchanged,
                Outcome::Changed => &mut counts.changed,
                Outcome::Skipped { .. } => &mut counts.skipped,
                Outcome::Failed { .. } => &mut counts.failed,
            };
            *count += 1;
        }
        events.send(kind);
    }
    counts
}
