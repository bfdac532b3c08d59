//! `stdbctl exec`: one command on all hosts at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use stdbctl_engine::event::{Counts, RunStats};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::{Ending, HostError, Stats};
use stdbctl_ssh::quote;
use tokio::sync::mpsc;

use crate::cli::ExecArgs;
use crate::console::{Console, written};
use crate::error::{CliError, in_one_line};
use crate::exit_code::ExitCode;
use crate::host::Place;
use crate::prompt;
use crate::report::exec::{ExecReport, describe};
use crate::site::{Site, places};

/// How many pieces of output of one host may wait to be shown.
const PIECES: usize = 16;

/// One host's part of it.
struct Part {
    host: String,
    result: Result<Ending, Failure>,
    stats: Stats,
}

pub(super) async fn run(args: ExecArgs, console: &Console) -> Result<ExitCode, CliError> {
    let site = Site::load(&args.site, None)?;
    quote::join(&args.command).map_err(CliError::usage)?;
    let places = places(&site, &args.ssh, &[], console).await?;
    let names: Vec<_> = site.hosts.iter().map(|host| host.name.clone()).collect();

    let started = Instant::now();
    let mut report = ExecReport::new(console.format, names.len());
    report.started(&names);
    let report = Mutex::new(report);
    let parts =
        join_all(places.into_iter().map(|(host, place)| part(host, place, &args, &report, started))).await;

    let mut stats = RunStats { seconds: started.elapsed().as_secs_f64(), ..RunStats::default() };
    for part in &parts {
        stats.add(part.stats);
    }
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    written(report.done(counts(&parts), stats))?;
    console.show_cost(&stats);
    error(&parts).map_or(Ok(ExitCode::Done), Err)
}

async fn part(
    host: String,
    place: Place,
    args: &ExecArgs,
    report: &Mutex<ExecReport>,
    started: Instant,
) -> Part {
    let (sender, mut output) = mpsc::channel(PIECES);
    let shown = async {
        while let Some(piece) = output.recv().await {
            prompt::answered_all().await;
            lock(report).output(&host, piece);
        }
    };
    let running = async {
        if args.sudo {
            place.exec_as_root(host.clone(), &args.command, sender).await
        } else {
            place.exec(&args.command, sender).await
        }
    };
    let (result, ()) = tokio::join!(running, shown);
    let (result, stats) = split(result);
    prompt::answered_all().await;
    match &result {
        Ok(ending) => lock(report).finished(&host, ending, started.elapsed().as_secs_f64()),
        Err(failure) => lock(report).failed(&host, &in_one_line(failure), failure.hints()),
    }
    Part { host, result, stats }
}

/// sshd ends no command because nobody listens any more.
pub(super) fn cut_off(error: CliError) -> CliError {
    match error.kind {
        ExitCode::Interrupted => error.hint("what has been started may still be running on the hosts"),
        _ => error,
    }
}

fn lock(report: &Mutex<ExecReport>) -> MutexGuard<'_, ExecReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

fn split(result: Result<(Ending, Stats), HostError>) -> (Result<Ending, Failure>, Stats) {
    match result {
        Ok((Ending::Lost(why), stats)) => (Err(Failure::Unknown(why)), stats),
        Ok((ending, stats)) => (Ok(ending), stats),
        Err(error) => (Err(Failure::Connect(error)), Stats::default()),
    }
}

fn is_done(part: &Part) -> bool {
    matches!(part.result, Ok(Ending::Status(0)))
}

fn counts(parts: &[Part]) -> BTreeMap<String, Counts> {
    let count = |part: &Part| Counts { failed: usize::from(!is_done(part)), ..Counts::default() };
    parts.iter().map(|part| (part.host.clone(), count(part))).collect()
}

/// Which hosts the command failed on, and how. The first of them decides the exit code.
fn error(parts: &[Part]) -> Option<CliError> {
    let failed: Vec<_> = parts.iter().filter(|part| !is_done(part)).collect();
    let kind = match &failed.first()?.result {
        Ok(_) => ExitCode::Failed,
        Err(failure) => ExitCode::of(failure),
    };
    let told = failed.iter().map(|part| match &part.result {
        Ok(ending) => format!("{}: {}", part.host, describe(ending)),
        Err(failure) => format!("{}: {}", part.host, in_one_line(failure)),
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let message = match parts.len() {
        1 => told,
        all => format!("{} of {all} hosts failed: {told}", failed.len()),
    };
    let hints = failed.iter().filter_map(|part| part.result.as_ref().err()).flat_map(Failure::hints);
    Some(hints.fold(CliError::new(kind, message), CliError::hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::render;

    fn part(host: &str, result: Result<Ending, Failure>) -> Part {
        Part { host: host.to_owned(), result, stats: Stats::default() }
    }

    #[test]
    fn the_first_host_that_failed_decides_and_all_are_named() {
        let parts = [
            part("a", Ok(Ending::Status(0))),
            part("b", Err(Failure::Connect(HostError::new("cannot reach b")))),
            part("c", Ok(Ending::Status(3))),
            part("d", Ok(Ending::Signal("TERM".to_owned()))),
        ];
        let error = error(&parts).unwrap();
        assert_eq!(error.kind, ExitCode::Connect);
        let text = anstream::adapter::strip_str(&render(&error, None)).to_string();
        assert_eq!(
            text,
            "error: 3 of 4 hosts failed: b: cannot reach b; c: exit status 3; d: killed by SIGTERM\n"
        );
        assert!(super::error(&parts[..1]).is_none());
    }
}
