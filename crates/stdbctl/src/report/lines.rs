//! A run as plain lines: for logs, pipes and terminals that cannot do more.

use std::io::{self, Write as _};

use stdbctl_engine::event::{Event, EventKind, Outcome};

use super::ledger::Ledger;
use super::outcome::{self, Detail};
use super::style::{BAD, CHANGE, GOOD, LOUD, QUIET, duration};
use super::{Reporter, Writer, clean, plan};

/// Writes a line as soon as there is something to say.
pub(crate) struct Lines {
    progress: Writer,
    result: Option<(Writer, Detail)>,
    verbose: bool,
    ledger: Ledger,
}

impl Lines {
    /// Progress goes to `progress`; at the end the result goes to `result`, if it is wanted.
    pub(crate) fn new(progress: Writer, result: Option<(Writer, Detail)>, verbosity: u8) -> Self {
        Self { progress, result, verbose: verbosity > 0, ledger: Ledger::default() }
    }

    fn write_outcome(&mut self, host: &str, task: &str, outcome: &Outcome, seconds: f64) -> io::Result<()> {
        let title = self.ledger.host(host).map_or(task, |host| host.title(task));
        let out = &mut self.progress;
        let time = duration(seconds);
        match outcome {
            Outcome::Changed => writeln!(out, "{LOUD}{host}{LOUD:#}: {GOOD}changed{GOOD:#} {title} ({time})"),
            Outcome::Failed { why } => {
                writeln!(out, "{LOUD}{host}{LOUD:#}: {BAD}failed{BAD:#} {title} ({time})")?;
                why.lines().try_for_each(|line| writeln!(out, "    {line}"))
            }
            Outcome::Unchanged if self.verbose => {
                writeln!(out, "{LOUD}{host}{LOUD:#}: {QUIET}as it should be: {title}{QUIET:#}")
            }
            Outcome::Skipped { why } if self.verbose => {
                writeln!(out, "{LOUD}{host}{LOUD:#}: {QUIET}left out: {title}, {why}{QUIET:#}")
            }
            Outcome::Unchanged | Outcome::Skipped { .. } => Ok(()),
        }
    }
}

impl Reporter for Lines {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let event = clean::event(event);
        self.ledger.record(&event.kind);
        let out = &mut self.progress;
        match &event.kind {
            EventKind::RunStarted { hosts, .. } => {
                hosts.iter().try_for_each(|host| writeln!(out, "{LOUD}{host}{LOUD:#}: connecting"))
            }
            // Of a host with nothing to do the result says so; without a result here, the plan is one of its own.
            EventKind::Planned { plans } => plans
                .iter()
                .filter(|plan| self.result.is_some() && !plan.changes.is_empty())
                .try_for_each(|plan| writeln!(out, "{LOUD}{}{LOUD:#}: {}", plan.host, plan::headline(plan))),
            EventKind::TaskFinished { host, task, outcome, seconds } => {
                self.write_outcome(host, task, outcome, *seconds)
            }
            // Why the only host failed is the last line of the run.
            EventKind::HostFailed { host, cause, .. } if self.ledger.hosts().len() > 1 => {
                out.say(&format!("{LOUD}{host}{LOUD:#}: {BAD}failed:{BAD:#}"), cause)
            }
            EventKind::Warning { host, message } => {
                out.say(&format!("{LOUD}{host}{LOUD:#}: {CHANGE}warning:{CHANGE:#}"), message)
            }
            EventKind::ConnectionLost { host, cause } => {
                let label = format!("{LOUD}{host}{LOUD:#}: {CHANGE}connection lost:{CHANGE:#}");
                out.say(&label, &format!("{cause}; connecting again"))
            }
            EventKind::Reconnected { host } => writeln!(out, "{LOUD}{host}{LOUD:#}: connected again"),
            EventKind::Waiting { host, run } => out.say(&format!("{LOUD}{host}{LOUD:#}: waiting for"), run),
            EventKind::RunFinished { hosts, stats, .. } => match &mut self.result {
                Some((out, detail)) => {
                    let width = out.width();
                    outcome::write(out, &self.ledger, hosts, stats, *detail, width)
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
