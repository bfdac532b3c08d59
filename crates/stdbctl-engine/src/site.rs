//! One host's part of a run: observed, planned, changed, observed again.
//!
//! A connection that is lost while the host is observed is made anew, and the host observed from the start; what
//! happens if it is lost during changes is in [`resume`].

mod approval;
mod progress;
mod resume;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::conversation::Conversation;
use crate::dialogue::{RunKey, random_name, refused, whole};
use crate::event::{Counts, EventKind, Outcome, Sender};
use crate::failure::Failure;
use crate::graph::Graph;
use crate::host::Host;
use crate::observe::{Observation, Probes};
use crate::planner::{self, Changes};
use crate::record::Record;
use crate::resource::Resource;
use crate::resource::archive::Archive;
use crate::resource::require::Outside;
use crate::run::{HostReport, Job, Options};
use crate::script::{self, Apply};
use crate::task::Task;

use self::approval::Planned;
use self::progress::{Heard, Progress};

/// A host, what must be there, and what has become of it so far.
pub(crate) struct Site {
    pub(crate) host: Option<Arc<dyn Host>>,
    pub(crate) report: HostReport,
    graph: Arc<Graph>,
    seen: Observation,
    /// What is still to be done of what was approved.
    approved: Option<Planned>,
    /// The run on the host whose connection was lost, if one was while it changed things.
    lost_run: Option<String>,
}

impl Site {
    /// Connects, observes and plans.
    pub(crate) async fn observe(job: Job, options: &Options, events: &Sender) -> Self {
        let report = HostReport {
            host: job.name,
            machine: String::new(),
            plan: None,
            counts: Counts::default(),
            archives: BTreeMap::new(),
            failure: None,
        };
        let mut site = Self {
            host: None,
            report,
            graph: Arc::new(job.graph),
            seen: Observation::default(),
            approved: None,
            lost_run: None,
        };
        match job.connect.await {
            Ok(host) => site.host = Some(host),
            Err(error) => site.fail(Failure::Connect(error), events),
        }
        let mut looked = site.look(options, events).await;
        if let Err(Failure::Lost(why)) = looked {
            looked = match site.reconnect(why, events).await {
                Ok(()) => site.look(options, events).await,
                Err(failure) => Err(failure),
            };
        }
        if let Err(failure) = looked {
            site.fail(failure, events);
        }
        site
    }

    async fn look(&mut self, options: &Options, events: &Sender) -> Result<(), Failure> {
        let Some(host) = self.host.clone() else { return Ok(()) };
        self.seen = observe(&*host, &planner::probes(&self.graph)).await?;
        events.send(EventKind::HostObserved { host: self.report.host.clone() });
        self.report.machine.clone_from(&self.seen.host.machine);
        let changes = planner::plan(&self.graph, &self.seen);
        self.report.counts.unchanged = changes.unchanged;
        self.report.counts.skipped = changes.skipped.len();
        self.report.archives = archives(&self.graph, &self.seen);
        let planned = Planned::new(&changes, &self.report.host);
        self.report.plan = Some(planned.plan.clone());
        self.approved = Some(planned);
        if changes.list.is_empty() {
            return Ok(());
        }
        let mut problems = unfit_archives(&changes).await;
        // Asked apart, so that a host with nothing to do is not asked at all.
        if options.apply {
            host.prepare();
        }
        let seen = observe(&*host, &planner::requirement_probes(&self.graph)).await?;
        let outside = outside(&self.graph, &*host, options).await;
        problems.extend(planner::problems(&self.graph, &seen, &outside));
        if problems.is_empty() { Ok(()) } else { Err(Failure::Requirements(problems)) }
    }

    /// Whether there is anything to do that can be done.
    pub(crate) fn is_pending(&self) -> bool {
        self.report.failure.is_none()
            && self.report.plan.as_ref().is_some_and(|plan| !plan.changes.is_empty())
    }

    /// Makes the planned changes and observes again.
    pub(crate) async fn apply(&mut self, options: &Options, events: &Sender) {
        if !self.is_pending() {
            return;
        }
        if let Err(failure) = self.change_all(options, events).await {
            let is_lost = self.lost_run.is_some();
            self.fail(if is_lost { failure.after_loss() } else { failure }, events);
        }
    }

    /// Makes the changes; those that are left, if the connection is lost or the host turns out to have changed.
    async fn change_all(&mut self, options: &Options, events: &Sender) -> Result<(), Failure> {
        let mut was_stale = false;
        loop {
            let mut heard = Heard::default();
            let is_left = match self.change(&mut heard, options, events).await {
                Err(Failure::Lost(why)) => self.resume_lost(why, &mut heard, options, events).await?,
                Err(Failure::Stale) if !was_stale => {
                    was_stale = true;
                    self.resume_stale(options, events).await?
                }
                result => {
                    // Those of a run that came to its end are counted.
                    self.count_heard(&heard);
                    return result;
                }
            };
            if !is_left {
                return Ok(());
            }
        }
    }

    async fn change(&mut self, heard: &mut Heard, options: &Options, events: &Sender) -> Result<(), Failure> {
        let Some(host) = self.host.clone() else { return Ok(()) };
        let graph = Arc::clone(&self.graph);
        let key = RunKey::new(&options.operator, &options.verb)?;
        let changes = planner::plan(&graph, &self.seen);
        let lost_run = self.lost_run.as_deref().unwrap_or_default();
        let apply = Apply { key: &key, lost_run, digest: &self.seen.digest };
        let script = apply.script(&graph, &planner::probes(&graph), &changes);
        let mut progress =
            Progress::new(&self.report.host, Arc::clone(&host), key.id.clone(), &changes, events);
        let take = |record: &Record| progress.take(record);
        let said = Conversation::hold(&key.nonce, |output| host.run(script, output), take).await;
        *heard = progress.heard();
        let said = whole(said)?;
        refused(&said.records)?;
        self.settle(&graph, &said.records, &changes, std::mem::take(&mut heard.ends), events)
    }

    /// What the tasks came to, and whether the host is now as it should be.
    fn settle(
        &mut self,
        graph: &Graph,
        records: &[Record],
        changes: &Changes<'_>,
        mut ends: BTreeMap<String, Outcome>,
        events: &Sender,
    ) -> Result<(), Failure> {
        self.seen = Observation::read(records);
        self.report.archives = archives(graph, &self.seen);
        let left = planner::plan(graph, &self.seen);
        let left: BTreeSet<&str> = left.list.iter().map(|(task, _)| task.id.as_str()).collect();
        let mut failure = None;
        let mut unsettled = Vec::new();
        for (task, _) in &changes.list {
            match ends.remove(&task.id) {
                Some(Outcome::Changed) if left.contains(task.id.as_str()) => {
                    self.report.counts.failed += 1;
                    unsettled.push(task.title.clone());
                }
                Some(Outcome::Changed) => self.report.counts.changed += 1,
                Some(Outcome::Failed { why }) => {
                    self.report.counts.failed += 1;
                    let first = Failure::Task { task: task.id.clone(), title: task.title.clone(), why };
                    failure.get_or_insert(first);
                }
                _ => {
                    self.report.counts.skipped += 1;
                    // Without a failure before it nothing may be skipped.
                    if left.contains(task.id.as_str()) {
                        unsettled.push(task.title.clone());
                    }
                }
            }
        }
        let planned: BTreeSet<&str> = changes.list.iter().map(|(task, _)| task.id.as_str()).collect();
        for id in left.difference(&planned) {
            let message = format!("`{id}` is not as it should be any more; something else changes it");
            events.send(EventKind::Warning { host: self.report.host.clone(), message });
            unsettled.push((*id).to_owned());
        }
        match failure {
            Some(failure) => Err(failure),
            None if unsettled.is_empty() => Ok(()),
            None => Err(Failure::NotConverged(unsettled)),
        }
    }

    fn fail(&mut self, failure: Failure, events: &Sender) {
        let host = self.report.host.clone();
        events.send(EventKind::HostFailed { host, cause: failure.cause(), hints: failure.hints() });
        self.report.failure = Some(failure);
    }
}

/// Runs the script that looks.
async fn observe(host: &dyn Host, probes: &Probes) -> Result<Observation, Failure> {
    let nonce = random_name()?;
    let script = script::observe(&nonce, probes);
    let said = whole(Conversation::hold(&nonce, |output| host.look(script, output), |_| ()).await)?;
    Ok(Observation::read(&said.records))
}

fn archives(graph: &Graph, seen: &Observation) -> BTreeMap<String, String> {
    let archive = |task: &Task| match &task.resource {
        Resource::Archive(_) => Some((task.id.clone(), Archive::whole(&task.id, seen)?)),
        _ => None,
    };
    graph.tasks().iter().filter(|task| task.skipped.is_none()).filter_map(archive).collect()
}

/// What is wrong with the local archives that are to be sent.
async fn unfit_archives(changes: &Changes<'_>) -> Vec<String> {
    let archives = changes.list.iter().filter_map(|(task, _)| match &task.resource {
        Resource::Archive(archive) => Some(archive.clone()),
        _ => None,
    });
    let archives: Vec<Archive> = archives.collect();
    let look = move || archives.iter().filter_map(Archive::file_problem).collect();
    match tokio::task::spawn_blocking(look).await {
        Ok(problems) => problems,
        Err(error) => vec![format!("the local archives cannot be read: {error}")],
    }
}

/// What only the operator's side knows of the host.
async fn outside(graph: &Graph, host: &dyn Host, options: &Options) -> Outside {
    let resolved = match planner::name_to_resolve(graph) {
        Some(name) => Some(resolve(name, options).await),
        None => None,
    };
    Outside { clock: jiff::Timestamp::now().as_second(), peer: host.peer_address(), resolved }
}

async fn resolve(name: &str, options: &Options) -> Result<Vec<IpAddr>, String> {
    if let Some(address) = options.resolve.get(name) {
        return Ok(vec![*address]);
    }
    let addresses = tokio::net::lookup_host((name, 443)).await.map_err(|error| error.to_string())?;
    Ok(addresses.map(|address| address.ip()).collect())
}
