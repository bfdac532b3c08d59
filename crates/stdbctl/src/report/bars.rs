//! A run on a terminal: one line a host while it runs, then only what changed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use stdbctl_engine::event::{Event, EventKind, Outcome};
use stdbctl_engine::plan::HostPlan;

use super::ledger::{HostLedger, Ledger};
use super::outcome::{self, Detail};
use super::style::{BAD, CHANGE, LOUD, size};
use super::{Reporter, Writer, clean};

const TICK: Duration = Duration::from_millis(100);

/// Draws bars on stderr.
pub(crate) struct Bars {
    result: Option<Writer>,
    screen: MultiProgress,
    by_host: BTreeMap<String, ProgressBar>,
    ledger: Ledger,
}

impl Bars {
    /// Bars are drawn on `screen`; at the end the result goes to `result`, if it is wanted.
    pub(crate) fn new(screen: MultiProgress, result: Option<Writer>) -> Self {
        Self { result, screen, by_host: BTreeMap::new(), ledger: Ledger::default() }
    }

    fn start(&mut self, hosts: &[String]) {
        let width = hosts.iter().map(|host| host.chars().count()).max().unwrap_or(0);
        for host in hosts {
            let bar = self
                .screen
                .add(ProgressBar::new_spinner().with_style(style("{spinner} {prefix}  {wide_msg}")));
            bar.set_prefix(format!("{host:<width$}"));
            bar.set_message("connecting");
            bar.enable_steady_tick(TICK);
            self.by_host.insert(host.clone(), bar);
        }
    }

    fn plan(&self, plan: &HostPlan) {
        let Some(bar) = self.by_host.get(&plan.host) else { return };
        if plan.changes.is_empty() {
            bar.finish_with_message("nothing to do");
            return;
        }
        bar.set_length(plan.changes.len() as u64);
        bar.set_style(style("{spinner} {prefix}  [{bar:20}] {pos}/{len}  {wide_msg}").progress_chars("=> "));
        bar.set_message("");
    }

    fn say(&self, host: &str, message: impl Into<Cow<'static, str>>) {
        if let Some(bar) = self.by_host.get(host) {
            bar.set_message(message);
        }
    }

    fn refresh(&self, name: &str) {
        if let (Some(bar), Some(host)) = (self.by_host.get(name), self.ledger.host(name)) {
            bar.set_message(activity(host));
            bar.enable_steady_tick(TICK);
        }
    }

    /// All the host has to say about a task that failed; the last line of the run only has the end of it.
    fn last_words(&self, host: &str, task: &str, why: &str) -> String {
        let title = self.ledger.host(host).map_or(task, |host| host.title(task));
        let lines: Vec<_> = why.lines().map(|line| format!("\n    {line}")).collect();
        format!("{LOUD}{host}{LOUD:#}: {BAD}failed{BAD:#} {title}{}", lines.concat())
    }

    fn clear(&mut self) {
        for bar in std::mem::take(&mut self.by_host).values() {
            bar.finish_and_clear();
        }
    }

    /// Writes a line above the bars.
    fn above(&self, line: &str) -> io::Result<()> {
        self.screen.suspend(|| writeln!(anstream::stderr(), "{line}"))
    }

    fn say_above(&self, label: &str, words: &str) -> io::Result<()> {
        self.screen.suspend(|| Writer::stderr().say(label, words))
    }
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let event = clean::event(event);
        self.ledger.record(&event.kind);
        match &event.kind {
            EventKind::RunStarted { hosts, .. } => self.start(hosts),
            EventKind::HostObserved { host } => self.say(host, "observed"),
            EventKind::Planned { plans } => plans.iter().for_each(|plan| self.plan(plan)),
            EventKind::TaskStarted { host, .. } | EventKind::Uploaded { host, .. } => self.refresh(host),
            EventKind::TaskFinished { host, task, outcome, .. } => {
                if let Outcome::Failed { why } = outcome {
                    self.above(&self.last_words(host, task, why))?;
                }
                if let Some(bar) = self.by_host.get(host) {
                    bar.inc(1);
                }
                self.refresh(host);
            }
            EventKind::HostFailed { host, cause, .. } => {
                if let Some(bar) = self.by_host.get(host) {
                    bar.finish_and_clear();
                }
                // Why the only host failed is the last line of the run.
                if self.ledger.hosts().len() > 1 {
                    self.say_above(&format!("{LOUD}{host}{LOUD:#}: {BAD}failed:{BAD:#}"), cause)?;
                }
            }
            EventKind::Warning { host, message } => {
                self.say_above(&format!("{LOUD}{host}{LOUD:#}: {CHANGE}warning:{CHANGE:#}"), message)?;
            }
            EventKind::ConnectionLost { host, cause } => {
                let label = format!("{LOUD}{host}{LOUD:#}: {CHANGE}connection lost:{CHANGE:#}");
                self.say_above(&label, cause)?;
                self.say(host, "connecting again");
            }
            EventKind::Reconnected { host } => self.say(host, "looking again"),
            EventKind::Waiting { host, run } => self.say(host, format!("waiting for {run}")),
            EventKind::RunFinished { hosts, stats, .. } => {
                self.clear();
                if let Some(out) = &mut self.result {
                    let width = out.width();
                    return outcome::write(out, &self.ledger, hosts, stats, Detail::Changes, width);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Bars {
    /// A run that ends early leaves no bar behind.
    fn drop(&mut self) {
        self.clear();
    }
}

/// A line that says what is waited for, and goes when it is dropped.
pub(crate) fn spinner(screen: &MultiProgress, message: impl Into<Cow<'static, str>>) -> Spinner {
    let bar = screen.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}")));
    bar.set_message(message);
    bar.enable_steady_tick(TICK);
    Spinner(bar)
}

/// A line on the screen.
pub(crate) struct Spinner(ProgressBar);

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn activity(host: &HostLedger) -> String {
    let titles: Vec<&str> = host.running.values().map(String::as_str).collect();
    let titles = titles.join(", ");
    let Some(sending) = host.sending else { return titles };
    let rate = sending.rate().map(|rate| format!(", {}/s", size(rate))).unwrap_or_default();
    // The figures first: on a narrow terminal the line is cut.
    format!("{} % sent{rate}: {titles}", sending.percent())
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own; one that does not parse would show the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
