//! What `push` and `pull` have in common: all hosts at once, each on a connection of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use stdbctl_engine::event::{Counts, RunStats};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::{HostError, Stats};
use stdbctl_ssh::{
    AsRoot, CommandError, ConnectOptions, Session, TransferError, TransferOptions, Transferred,
};

use crate::cli::{SiteArgs, SshArgs};
use crate::console::{Console, written};
use crate::error::{CliError, FailedHost, in_one_line, of_hosts};
use crate::exit_code::ExitCode;
use crate::host::{self, Place};
use crate::prompt;
use crate::report::transfer::TransferReport;
use crate::site::{Site, places};
use crate::transfer_root::TransferRoot;

/// Which way things go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Push,
    Pull,
}

impl Way {
    fn verb(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}

/// What is to be transferred.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) way: Way,
    pub(super) sudo: bool,
    pub(super) local: PathBuf,
    pub(super) remote: String,
}

/// Why one host has not got it, or not given it.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Connect(HostError),
    #[error(transparent)]
    Root(HostError),
    #[error(transparent)]
    Transfer(TransferError),
}

impl From<TransferError> for Fault {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Root(source) => match source.downcast() {
                Ok(error) => Self::Root(*error),
                Err(source) => Self::Transfer(TransferError::Root(source)),
            },
            error => Self::Transfer(error),
        }
    }
}

impl Fault {
    fn kind(self) -> (ExitCode, Vec<String>, String) {
        let cause = in_one_line(&self);
        match self {
            Self::Connect(error) => of_failure(&Failure::Connect(error), cause),
            Self::Root(error) => of_failure(&Failure::Root(error), cause),
            Self::Transfer(error) => {
                (if is_lost(&error) { ExitCode::Connect } else { ExitCode::Failed }, error.hints(), cause)
            }
        }
    }
}

fn of_failure(failure: &Failure, cause: String) -> (ExitCode, Vec<String>, String) {
    (ExitCode::of(failure), failure.hints(), cause)
}

fn is_lost(error: &TransferError) -> bool {
    matches!(error, TransferError::Lost(_) | TransferError::Command(CommandError::Gone(_)))
}

/// One host's part of it.
struct Part {
    host: String,
    result: Result<Transferred, Fault>,
    stats: Stats,
}

type Report = Arc<Mutex<TransferReport>>;

pub(super) async fn run(
    order: Order,
    site: &SiteArgs,
    ssh: &SshArgs,
    console: &Console,
) -> Result<ExitCode, CliError> {
    let site = Site::load(site, None)?;
    let names: Vec<_> = site.hosts.iter().map(|host| host.name.clone()).collect();
    let mut hosts = Vec::new();
    for (host, place) in places(&site, ssh, &[], console).await? {
        match place {
            Place::Remote(options, password) => hosts.push((host, *options, password)),
            Place::Local(_) => return Err(CliError::usage("this machine is here already: use cp")),
        }
    }
    let started = Instant::now();
    let mut report = TransferReport::new(console);
    report.started(order.way.verb(), &names);
    let report = Arc::new(Mutex::new(report));
    let parts = hosts.into_iter().map(|(host, options, password)| {
        let root = order.sudo.then(|| Arc::new(TransferRoot::new(host.clone(), password)) as Arc<dyn AsRoot>);
        part(host, Connecting { options, root }, &order, names.len(), &report)
    });
    let parts = join_all(parts).await;

    let mut stats = RunStats { seconds: started.elapsed().as_secs_f64(), ..RunStats::default() };
    for part in &parts {
        stats.add(part.stats);
    }
    written(lock(&report).done(counts(&parts), stats))?;
    console.show_cost(&stats);
    error(parts).map_or(Ok(ExitCode::Done), Err)
}

/// What Ctrl-C leaves behind.
pub(super) fn cut_off(error: CliError) -> CliError {
    match error.kind {
        ExitCode::Interrupted => {
            error.hint("run the same again to go on: what has arrived is not sent again")
        }
        _ => error,
    }
}

fn lock(report: &Report) -> MutexGuard<'_, TransferReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How to reach a host, and who becomes root there: the same on a second connection.
#[derive(Clone)]
struct Connecting {
    options: ConnectOptions,
    root: Option<Arc<dyn AsRoot>>,
}

async fn part(host: String, to: Connecting, order: &Order, hosts: usize, report: &Report) -> Part {
    let mut stats = Stats::default();
    let result = attempts(&host, to, order, hosts, report, &mut stats).await;
    prompt::answered_all().await;
    match &result {
        Ok(done) => lock(report).finished(&host, done),
        Err(fault) => lock(report).failed(&host, &in_one_line(fault)),
    }
    Part { host, result, stats }
}

/// A connection that is lost is made anew once, and the transfer goes on from what has arrived.
async fn attempts(
    host: &str,
    to: Connecting,
    order: &Order,
    hosts: usize,
    report: &Report,
    stats: &mut Stats,
) -> Result<Transferred, Fault> {
    let session = host::open(to.options.clone()).await.map_err(Fault::Connect)?;
    match attempt(host, session, &to, order, hosts, report, stats).await {
        Err(Fault::Transfer(error)) if is_lost(&error) => {
            prompt::answered_all().await;
            lock(report).going_on(host, &in_one_line(&error));
            let session = host::reopen(to.options.clone()).await.map_err(Fault::Connect)?;
            attempt(host, session, &to, order, hosts, report, stats).await
        }
        result => result,
    }
}

async fn attempt(
    host: &str,
    session: Session,
    to: &Connecting,
    order: &Order,
    hosts: usize,
    report: &Report,
    stats: &mut Stats,
) -> Result<Transferred, Fault> {
    let (shown, name) = (Arc::clone(report), host.to_owned());
    let began = Instant::now();
    let watch = Arc::new(move |progress| lock(&shown).progress(&name, progress, began.elapsed()));
    let options = TransferOptions { as_root: to.root.clone(), watch: Some(watch) };
    let result = match order.way {
        Way::Push => stdbctl_ssh::push(&session, &order.local, &order.remote, &options).await,
        Way::Pull => match place(host, &order.local, hosts) {
            Ok(local) => stdbctl_ssh::pull(&session, &order.remote, &local, &options).await,
            Err(error) => Err(error),
        },
    };
    let now = host::stats(&session);
    *stats = Stats {
        round_trips: stats.round_trips + now.round_trips,
        bytes_sent: stats.bytes_sent + now.bytes_sent,
        bytes_received: stats.bytes_received + now.bytes_received,
    };
    session.close().await;
    Ok(result?)
}

/// Where a host's copy goes. Of several hosts each has a directory of its own.
fn place(host: &str, local: &Path, hosts: usize) -> Result<PathBuf, TransferError> {
    if hosts == 1 {
        return Ok(local.to_owned());
    }
    let name = match host {
        "." | ".." => "_".to_owned(),
        name => name.replace('/', "_"),
    };
    let directory = local.join(name);
    match fs::create_dir_all(&directory) {
        // The slash says that it is the directory to put it into.
        Ok(()) => Ok(directory.join("")),
        Err(source) => Err(TransferError::Local { what: "write", path: directory, source }),
    }
}

fn counts(parts: &[Part]) -> BTreeMap<String, Counts> {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let count = |part: &Part| match &part.result {
        Ok(done) => Counts {
            changed: number(done.changed),
            unchanged: number(done.unchanged),
            skipped: done.skipped.len(),
            failed: 0,
        },
        Err(_) => Counts { failed: 1, ..Counts::default() },
    };
    parts.iter().map(|part| (part.host.clone(), count(part))).collect()
}

fn error(parts: Vec<Part>) -> Option<CliError> {
    let all = parts.len();
    let failed: Vec<_> = parts
        .into_iter()
        .filter_map(|part| part.result.err().map(|fault| (part.host, fault.kind())))
        .collect();
    let failed = failed.iter().map(|(host, (kind, hints, cause))| FailedHost {
        host,
        kind: *kind,
        cause: cause.clone(),
        hints: hints.clone(),
    });
    of_hosts(all, failed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_hosts_has_a_directory_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let local = directory.path().join("all");
        assert_eq!(place("web1", &local, 1).unwrap(), local);
        assert!(!local.exists());
        for (host, name) in [("web1", "web1/"), ("..", "_/"), ("a/../b", "a_.._b/")] {
            let place = place(host, &local, 2).unwrap();
            assert_eq!(place.as_os_str(), local.join(name).as_os_str());
            assert!(place.is_dir());
        }
    }

    #[test]
    fn what_failed_has_its_exit_code() {
        let table = [
            (TransferError::Lost("gone".to_owned()), 4),
            (TransferError::Root(Box::new(HostError::new("sudo refused"))), 4),
            (TransferError::Changed("a".to_owned()), 1),
        ];
        for (error, number) in table {
            let part = Part { host: "a".to_owned(), result: Err(error.into()), stats: Stats::default() };
            assert_eq!(super::error(vec![part]).unwrap().kind.number(), number);
        }
    }
}
