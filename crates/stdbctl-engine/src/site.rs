//! One host's part of a run: observed, planned, changed, observed again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::change::Change;
use crate::conversation::Conversation;
use crate::dialogue::{RunKey, random_name, refused, whole};
use crate::event::{Counts, EventKind, Outcome, Sender};
use crate::failure::Failure;
use crate::graph::Graph;
use crate::host::{Host, Sent, Stdin};
use crate::observe::{Observation, Probes};
use crate::planner::{self, Changes};
use crate::record::Record;
use crate::resource::Resource;
use crate::resource::archive::Archive;
use crate::resource::require::Outside;
use crate::run::{HostReport, Job, Options};
use crate::script::{self, Apply};
use crate::task::Task;

/// A host, what must be there, and what has become of it so far.
pub(crate) struct Site {
    pub(crate) host: Option<Arc<dyn Host>>,
    pub(crate) report: HostReport,
    graph: Arc<Graph>,
    seen: Observation,
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
        let mut site = Self { host: None, report, graph: Arc::new(job.graph), seen: Observation::default() };
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

    /// Makes a lost connection anew, if that has not been done before.
    async fn reconnect(&self, why: String, events: &Sender) -> Result<(), Failure> {
        let connecting = self.host.as_ref().and_then(|host| host.reconnect());
        let Some(connecting) = connecting else { return Err(Failure::Lost(why)) };
        let host = || self.report.host.clone();
        events.send(EventKind::ConnectionLost { host: host(), cause: why.clone() });
        connecting.await.map_err(|source| Failure::NotReconnected { lost: why, source })?;
        events.send(EventKind::Reconnected { host: host() });
        Ok(())
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
        self.report.plan = Some(changes.to_plan(&self.report.host));
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
        let mut result = self.change(options, events).await;
        if matches!(result, Err(Failure::Stale)) {
            result = self.change_what_is_left(options, events).await;
        }
        if let Err(failure) = result {
            self.fail(failure, events);
        }
    }

    /// A lost run may have ended in the meantime and done a part of the work. What is left is done if all of it
    /// stood in the plan that was approved.
    async fn change_what_is_left(&mut self, options: &Options, events: &Sender) -> Result<(), Failure> {
        let Some(host) = self.host.clone() else { return Ok(()) };
        let graph = Arc::clone(&self.graph);
        self.seen = observe(&*host, &planner::probes(&graph)).await?;
        let left = planner::plan(&graph, &self.seen).to_plan(&self.report.host);
        let approved = self.report.plan.as_ref().map_or(&[][..], |plan| plan.changes.as_slice());
        if !left.changes.iter().all(|change| approved.contains(change)) {
            return Err(Failure::Stale);
        }
        self.report.counts.unchanged = left.unchanged;
        let nothing = left.changes.is_empty();
        self.report.plan = Some(left);
        if nothing { Ok(()) } else { self.change(options, events).await }
    }

    async fn change(&mut self, options: &Options, events: &Sender) -> Result<(), Failure> {
        let Some(host) = self.host.clone() else { return Ok(()) };
        let graph = Arc::clone(&self.graph);
        let RunKey { nonce, id: run_id, holder } = RunKey::new(&options.operator, &options.verb)?;
        let changes = planner::plan(&graph, &self.seen);
        let apply = Apply { nonce: &nonce, run_id: &run_id, holder: &holder, digest: &self.seen.digest };
        let script = apply.script(&graph, &planner::probes(&graph), &changes);
        let mut progress = Progress::new(&self.report.host, Arc::clone(&host), run_id, events);
        progress.uploads = uploads(&changes);
        let said =
            Conversation::hold(&nonce, |output| host.run(script, output), |record| progress.take(record))
                .await;
        let said = whole(said)?;
        refused(&said.records)?;
        self.settle(&graph, &said.records, &changes, progress.ends, events)
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

/// Reads the records of a changing script as they come.
struct Progress<'a> {
    name: &'a str,
    host: Arc<dyn Host>,
    run_id: String,
    events: &'a Sender,
    begun: BTreeMap<String, Instant>,
    ends: BTreeMap<String, Outcome>,
    uploads: Vec<Upload>,
}

/// A local file on its way to the host.
struct Upload {
    task: String,
    sent: Sent,
    shown: u64,
    total: u64,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str, host: Arc<dyn Host>, run_id: String, events: &'a Sender) -> Self {
        Self {
            name,
            host,
            run_id,
            events,
            begun: BTreeMap::new(),
            ends: BTreeMap::new(),
            uploads: Vec::new(),
        }
    }

    fn take(&mut self, record: &Record) {
        // The host says something every second, whatever else happens.
        self.show_uploads();
        let Some((what, task)) = record.kind.split_once(':') else { return };
        match what {
            "started" => {
                self.begun.insert(task.to_owned(), Instant::now());
                self.events
                    .send(EventKind::TaskStarted { host: self.name.to_owned(), task: task.to_owned() });
            }
            "finished" => self.end(task, read_end(&record.text())),
            "skipped" => self.end(task, Outcome::Skipped { why: "what it needs failed".to_owned() }),
            "confirm" => self.confirm(),
            _ => {}
        }
    }

    fn end(&mut self, task: &str, outcome: Outcome) {
        let seconds = self.begun.get(task).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        self.ends.insert(task.to_owned(), outcome.clone());
        let host = self.name.to_owned();
        self.events.send(EventKind::TaskFinished { host, task: task.to_owned(), outcome, seconds });
    }

    fn show_uploads(&mut self) {
        for upload in self.uploads.iter_mut().filter(|upload| upload.sent.bytes() > upload.shown) {
            upload.shown = upload.sent.bytes();
            self.events.send(EventKind::Uploaded {
                host: self.name.to_owned(),
                task: upload.task.clone(),
                bytes: upload.shown,
                total: upload.total,
            });
        }
    }

    /// Shows the host that a new connection gets in. If it does not, the host finds out by itself.
    fn confirm(&self) {
        let (host, run_id) = (Arc::clone(&self.host), self.run_id.clone());
        tokio::spawn(async move {
            let (output, mut unread) = tokio::sync::mpsc::channel(1);
            let reading = async { while unread.recv().await.is_some() {} };
            let (ending, ()) = tokio::join!(host.run_fresh(script::confirm(&run_id), output), reading);
            tracing::debug!(?ending, "confirmed over a fresh connection");
        });
    }
}

/// The local files that go to the host with these changes.
fn uploads(changes: &Changes<'_>) -> Vec<Upload> {
    let upload = |(task, change): &(&Task, Change)| match &change.payload.as_ref()?.stdin {
        Stdin::File { len, sent, .. } => {
            Some(Upload { task: task.id.clone(), sent: sent.clone(), shown: 0, total: *len })
        }
        Stdin::Bytes(_) => None,
    };
    changes.list.iter().filter_map(upload).collect()
}

/// `STATUS` and the last words of a task.
fn read_end(text: &str) -> Outcome {
    match text.split_once(' ') {
        Some(("0", _)) => Outcome::Changed,
        Some((status, "")) => {
            Outcome::Failed { why: format!("it ended with status {status} and said nothing") }
        }
        Some((_, words)) => Outcome::Failed { why: words.trim().to_owned() },
        None => Outcome::Failed { why: "it ended in an unknown way".to_owned() },
    }
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
