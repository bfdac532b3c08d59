//! The result of a run, for people: one line a host, and what was changed on it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use stdbctl_engine::event::{Counts, RunStats};

use super::ledger::{HostLedger, Ledger};
use super::style::{BAD, GOOD, LOUD, QUIET, count, duration};
use super::{clean, wrap};

/// How much of the result is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// How many tasks.
    Counts,
    /// Also which, and how long each took.
    Changes,
}

/// Writes what became of every host.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(
    out: &mut dyn Write,
    ledger: &Ledger,
    counts: &BTreeMap<String, Counts>,
    stats: &RunStats,
    detail: Detail,
    width: Option<usize>,
) -> io::Result<()> {
    for host in ledger.hosts() {
        let counts = counts.get(&host.name).copied().unwrap_or_default();
        if let Some(failure) = &host.failure {
            let told = failed(host, counts.changed, stats.seconds);
            // Why the only host failed is the last line of the run.
            if ledger.hosts().len() == 1 {
                writeln!(out, "{told}")?;
            } else {
                let line = wrap::labelled(&format!("{told}:"), &clean::line(failure), width);
                out.write_all(line.as_bytes())?;
            }
        } else {
            write_done(out, host, counts, stats.seconds)?;
        }
        if detail == Detail::Changes {
            write_changes(out, host)?;
        }
    }
    Ok(())
}

fn failed(host: &HostLedger, changed: usize, seconds: f64) -> String {
    let after = match changed {
        0 => String::new(),
        changed => format!(" after {}", count(changed, "change")),
    };
    format!("{LOUD}{}{LOUD:#}: {BAD}failed{BAD:#}{after} ({})", host.name, duration(seconds))
}

fn write_done(out: &mut dyn Write, host: &HostLedger, counts: Counts, seconds: f64) -> io::Result<()> {
    let name = &host.name;
    let time = duration(seconds);
    if counts.changed == 0 {
        let changes = host.plan.as_ref().map_or(0, |plan| plan.changes.len());
        if changes > 0 {
            return writeln!(
                out,
                "{LOUD}{name}{LOUD:#}: left as it was, {} not made",
                count(changes, "change")
            );
        }
        let tasks = match counts.unchanged {
            1 => "1 task as it should be".to_owned(),
            unchanged => format!("{unchanged} tasks as they should be"),
        };
        return writeln!(out, "{LOUD}{name}{LOUD:#}: nothing to do ({tasks}, {time})");
    }
    let changed = count(counts.changed, "change");
    writeln!(
        out,
        "{LOUD}{name}{LOUD:#}: {GOOD}{changed}{GOOD:#}, {} as before ({time})",
        count(counts.unchanged, "task")
    )
}

fn write_changes(out: &mut dyn Write, host: &HostLedger) -> io::Result<()> {
    let width = host.changed.iter().map(|(title, _)| title.chars().count()).max().unwrap_or(0).min(60);
    for (title, seconds) in &host.changed {
        // What took no time at all is not worth a figure.
        if *seconds < 0.05 {
            writeln!(out, "  {title}")?;
        } else {
            writeln!(out, "  {title:<width$}  {QUIET}{:>10}{QUIET:#}", duration(*seconds))?;
        }
    }
    Ok(())
}

/// `8 round trips, 5120 bytes sent, 4096 received, 1.4 s`.
pub(crate) fn cost(stats: &RunStats) -> String {
    format!(
        "{}, {} bytes sent, {} received, {}",
        count(usize::try_from(stats.round_trips).unwrap_or(usize::MAX), "round trip"),
        stats.bytes_sent,
        stats.bytes_received,
        duration(stats.seconds)
    )
}
