//! The run: connect to every host, observe every host, plan every host, and only then change any.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use crate::event::{Counts, EventKind, RunStats, Sender};
use crate::failure::Failure;
use crate::graph::Graph;
use crate::host::{BoxFuture, Host, HostError};
use crate::plan::HostPlan;
use crate::site::Site;

/// One host of a run and what must be there.
pub struct Job {
    /// The name the operator gave the host.
    pub name: String,
    /// Reaches it. Polled for all hosts at once.
    pub connect: BoxFuture<'static, Result<Arc<dyn Host>, HostError>>,
    /// Its tasks.
    pub graph: Graph,
}

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The verb, for events and for the lock's record: `deploy`.
    pub verb: String,
    /// Whether to carry the plan out, or stop once it is made.
    pub apply: bool,
    /// Who runs this and from where, for whoever finds the host locked: `ada@laptop`.
    pub operator: String,
    /// Names that resolve to these addresses whatever DNS says.
    pub resolve: BTreeMap<String, IpAddr>,
}

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// One a host, in the order of the jobs.
    pub hosts: Vec<HostReport>,
    /// What it cost.
    pub stats: RunStats,
    /// Whether the operator was asked and said no. Nothing was changed then.
    pub declined: bool,
}

/// What became of one host.
#[derive(Debug)]
pub struct HostReport {
    /// The host.
    pub host: String,
    /// The host's machine type, as `uname -m` says it; empty if the host was not observed.
    pub machine: String,
    /// What was planned, if it came to that.
    pub plan: Option<HostPlan>,
    /// What was done.
    pub counts: Counts,
    /// The sha256 of each archive that is unpacked on the host, by task id: what a lock file records.
    pub archives: BTreeMap<String, String>,
    /// Why the host is not as it should be. None for success.
    pub failure: Option<Failure>,
}

/// Carries out a run. Events go to `events` as they happen, the last one being [`EventKind::RunFinished`].
/// `approve` is asked once, with all plans, if there is anything to change; until it says yes nothing is changed
/// anywhere. A host that failed does not stop the others.
pub async fn run<A, F>(jobs: Vec<Job>, options: Options, events: Sender, approve: A) -> Report
where
    A: FnOnce(Vec<HostPlan>) -> F + Send,
    F: Future<Output = bool> + Send,
{
    let begun = Instant::now();
    let hosts = jobs.iter().map(|job| job.name.clone()).collect();
    events.send(EventKind::RunStarted { verb: options.verb.clone(), hosts });

    let mut sites = join_all(jobs.into_iter().map(|job| Site::observe(job, &options, &events))).await;
    let plans: Vec<HostPlan> = sites.iter().filter_map(|site| site.report.plan.clone()).collect();
    events.send(EventKind::Planned { plans: plans.clone() });

    let pending = sites.iter().any(Site::is_pending);
    let mut declined = false;
    if options.apply && pending {
        declined = !approve(plans).await;
        if !declined {
            join_all(sites.iter_mut().map(|site| site.apply(&options, &events))).await;
        }
    }
    finish(sites, begun, declined, &events)
}

fn finish(sites: Vec<Site>, begun: Instant, declined: bool, events: &Sender) -> Report {
    let mut stats = RunStats::default();
    for host in sites.iter().filter_map(|site| site.host.as_ref()) {
        stats.add(host.stats());
    }
    stats.seconds = begun.elapsed().as_secs_f64();
    let hosts: Vec<HostReport> = sites.into_iter().map(|site| site.report).collect();
    let counts = hosts.iter().map(|report| (report.host.clone(), report.counts)).collect();
    let ok = !declined && hosts.iter().all(|report| report.failure.is_none());
    events.send(EventKind::RunFinished { ok, hosts: counts, stats });
    Report { hosts, stats, declined }
}
