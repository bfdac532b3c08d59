//! A run as a GitHub Actions job shows it: foldable groups, annotations, and a summary of the job.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};

use stdbctl_engine::event::{Counts, Event, EventKind, Outcome, RunStats};
use stdbctl_engine::plan::HostPlan;

use super::ledger::Ledger;
use super::outcome::{self, Detail};
use super::style::duration;
use super::{Reporter, Writer, clean, plan};

/// Writes workflow commands and plain lines.
pub(crate) struct Github {
    out: Writer,
    summary: Option<OsString>,
    ledger: Ledger,
}

impl Github {
    /// `summary` is the file that `$GITHUB_STEP_SUMMARY` names.
    pub(crate) fn new(out: Writer, summary: Option<OsString>) -> Self {
        Self { out, summary, ledger: Ledger::default() }
    }

    fn finish(&mut self, counts: &BTreeMap<String, Counts>, stats: &RunStats) -> io::Result<()> {
        outcome::write(&mut Inert::new(&mut self.out), &self.ledger, counts, stats, Detail::Changes, None)?;
        append(self.summary.as_deref(), &summary(&self.ledger, counts, stats))
    }
}

/// The file that becomes the summary of the job.
pub(crate) fn summary_file() -> Option<OsString> {
    std::env::var_os("GITHUB_STEP_SUMMARY")
}

/// Adds Markdown to the summary of the job, if there is one.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn append(summary: Option<&OsStr>, markdown: &str) -> io::Result<()> {
    let Some(path) = summary else { return Ok(()) };
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(markdown.as_bytes())
}

impl Reporter for Github {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let event = clean::event(event);
        self.ledger.record(&event.kind);
        match &event.kind {
            EventKind::Planned { plans } => plans.iter().try_for_each(|plan| group(&mut self.out, plan)),
            EventKind::TaskStarted { host, task } => {
                let title = self.ledger.host(host).map_or(task.as_str(), |host| host.title(task));
                writeln!(self.out, "{host}: {title}")
            }
            EventKind::TaskFinished { host, outcome: Outcome::Failed { why }, .. } => {
                let mut out = Inert::new(&mut self.out);
                why.lines().try_for_each(|line| writeln!(out, "{host}:     {line}"))
            }
            EventKind::ConnectionLost { host, cause } => {
                let message = format!("the connection was lost: {cause}; connecting again");
                writeln!(self.out, "::warning title={}::{}", property(host), data(&message))
            }
            EventKind::Reconnected { host } => writeln!(self.out, "{host}: connected again"),
            EventKind::Waiting { host, run } => {
                writeln!(Inert::new(&mut self.out), "{host}: waiting for {run}")
            }
            EventKind::HostFailed { host, cause, .. } => error(&mut self.out, host, cause),
            EventKind::Warning { host, message } => {
                writeln!(self.out, "::warning title={}::{}", property(host), data(message))
            }
            EventKind::RunFinished { hosts, stats, .. } => self.finish(hosts, stats),
            _ => Ok(()),
        }
    }
}

/// Writes a plan as a group that is folded until somebody wants to see it.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn group(out: &mut dyn Write, plan: &HostPlan) -> io::Result<()> {
    writeln!(out, "::group::{}: {}", data(&plan.host), data(&plan::headline(plan)))?;
    let mut text = Inert::new(&mut *out);
    plan::write_changes(&mut text, plan, plan::Depth::Whole)?;
    plan::write_skipped(&mut text, plan)?;
    writeln!(out, "::endgroup::")
}

/// Text as a group that is folded until somebody wants to see it.
pub(crate) fn folded(title: &str, text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("{}\n", inert(line))).collect();
    format!("::group::{}\n{}::endgroup::\n", data(&clean::line(title)), lines.concat())
}

/// Writes an annotation.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn error(out: &mut dyn Write, title: &str, message: &str) -> io::Result<()> {
    writeln!(out, "::error title={}::{}", property(title), data(&clean::text(message)))
}

/// Passes text on, line by line, with nothing in it that a runner would take for a command.
pub(crate) struct Inert<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Inert<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }
}

impl<W: Write> Write for Inert<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.out.write_all(inert(&String::from_utf8_lossy(&line)).as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line that is no workflow command. A runner takes `::` for one behind any blanks, and `##[` wherever it stands.
pub(crate) fn inert(line: &str) -> String {
    let line = anstream::adapter::strip_str(line).to_string().replace("##[", "# #[");
    let command = line.trim_start();
    match command.strip_prefix("::") {
        Some(rest) => format!("{}: :{rest}", line.strip_suffix(command).unwrap_or_default()),
        None => line,
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn summary(ledger: &Ledger, counts: &BTreeMap<String, Counts>, stats: &RunStats) -> String {
    let mut text = String::from("### stdbctl\n\n| host | changed | as before | left out | result |\n");
    text.push_str("|---|---|---|---|---|\n");
    for host in ledger.hosts() {
        let Counts { changed, unchanged, skipped, .. } = counts.get(&host.name).copied().unwrap_or_default();
        let result = host.failure.as_deref().map_or_else(|| "ok".to_owned(), cell);
        let name = cell(&host.name);
        // Writing to a string cannot fail.
        writeln!(text, "| {name} | {changed} | {unchanged} | {skipped} | {result} |").ok();
    }
    for host in ledger.hosts().iter().filter(|host| !host.changed.is_empty()) {
        writeln!(text, "\n<details><summary>Changes on {}</summary>\n", cell(&host.name)).ok();
        for (title, seconds) in &host.changed {
            writeln!(text, "- {} ({})", cell(title), duration(*seconds)).ok();
        }
        text.push_str("\n</details>\n");
    }
    writeln!(text, "\n{}\n", outcome::cost(stats)).ok();
    text
}

/// Text as one cell of a table, with nothing in it that Markdown or HTML would take for its own.
fn cell(text: &str) -> String {
    let line = clean::line(text);
    line.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace('`', "\\`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_no_command_to_a_runner() {
        let mut out = Vec::new();
        let mut text = Inert::new(&mut out);
        write!(text, "      \x1b[0m::add-mask::x\x1b[0m\n\t ::stop-").unwrap();
        writeln!(text, "commands::y\nweb: a ##[set-output name=a]b").unwrap();
        writeln!(text, "a::b\n  +::notice::").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "      : :add-mask::x\n\t : :stop-commands::y\nweb: a # #[set-output name=a]b\na::b\n  +::notice::\n"
        );
    }
}
