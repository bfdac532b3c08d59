//! What `stdbctl push` and `stdbctl pull` show: how far each host is, how fast, and what came of it.

mod words;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdbctl_engine::event::{Counts, Event, EventKind, RunStats};
use stdbctl_ssh::{Progress, Transferred};

use super::json::Json;
use super::style::{BAD, CHANGE, LOUD};
use super::{Writer, clean, github};
use super::{keep, now};
use crate::cli::Format;
use crate::console::Console;
use crate::prompt;

/// How often a program is told how far it is.
const TOLD: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// The events of `push` and `pull` that no other verb has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum TransferEvent {
    /// How far it is. Comes once a second at most.
    TransferProgress {
        /// When, UTC, RFC 3339.
        time: String,
        /// The host.
        host: String,
        /// Bytes of content that have arrived.
        bytes: u64,
        /// Of so many.
        total: u64,
        /// Of those that have arrived: what was there already.
        kept: u64,
        /// Bytes that crossed the network for the others, fewer where they were packed.
        moved: u64,
    },
    /// All is there, checked by its sha256.
    TransferFinished {
        /// When, UTC, RFC 3339.
        time: String,
        /// The host.
        host: String,
        /// Files, links and directories that are new or changed.
        changed: u64,
        /// Those that were there already as they should be.
        unchanged: u64,
        /// What is neither file, link nor directory, and was left out.
        skipped: Vec<String>,
        /// Bytes of all files together.
        bytes: u64,
        /// Of those: what was there already.
        kept: u64,
        /// Bytes that crossed the network for the rest, fewer where they were packed.
        moved: u64,
        /// How long it took, connecting included.
        seconds: f64,
    },
}

/// Shows one run of `push` or `pull`.
pub(crate) struct TransferReport {
    form: Form,
    hosts: usize,
    started: Instant,
    told: BTreeMap<String, Instant>,
    written: io::Result<()>,
}

enum Form {
    Json(Json),
    Lines { result: Option<Writer>, notes: Writer, github: bool },
    Bars { result: Option<Writer>, screen: MultiProgress, bars: BTreeMap<String, ProgressBar> },
}

impl TransferReport {
    /// Onto this process's own streams.
    pub(crate) fn new(console: &Console) -> Self {
        let result = || (!console.quiet).then(Writer::stdout);
        Self::with_form(match console.format {
            Format::Json => Form::Json(Json::new(Writer::stdout())),
            Format::Human if console.is_live() => {
                Form::Bars { result: result(), screen: console.screen.clone(), bars: BTreeMap::new() }
            }
            format => {
                Form::Lines { result: result(), notes: Writer::stderr(), github: format == Format::Github }
            }
        })
    }

    fn with_form(form: Form) -> Self {
        Self { form, hosts: 0, started: Instant::now(), told: BTreeMap::new(), written: Ok(()) }
    }

    /// The first event.
    pub(crate) fn started(&mut self, verb: &str, hosts: &[String]) {
        self.hosts = hosts.len();
        self.engine_event(EventKind::RunStarted { verb: verb.to_owned(), hosts: hosts.to_vec() });
        if let Form::Bars { screen, bars, .. } = &mut self.form {
            let width = hosts.iter().map(|host| host.chars().count()).max().unwrap_or(0);
            for host in hosts {
                let bar = ProgressBar::new_spinner().with_style(style("{spinner} {prefix}  {wide_msg}"));
                let bar = screen.add(bar.with_prefix(format!("{host:<width$}")).with_message("connecting"));
                bar.enable_steady_tick(TICK);
                bars.insert(host.clone(), bar);
            }
        }
    }

    /// So far it is, after so long.
    pub(crate) fn progress(&mut self, host: &str, progress: Progress, took: Duration) {
        let Progress { done, total, kept, crossed } = progress;
        if let Form::Bars { bars, .. } = &mut self.form
            && let Some(bar) = bars.get(host)
            // The next one comes soon.
            && !prompt::is_asking()
        {
            if bar.length() != Some(total) {
                bar.set_length(total);
                bar.set_style(style("{spinner} {prefix}  [{bar:10}] {wide_msg}").progress_chars("=> "));
            }
            bar.set_position(done);
            bar.set_message(words::activity(progress, took));
        }
        let is_due = self.told.get(host).is_none_or(|told| told.elapsed() >= TOLD);
        if let (Form::Json(json), true) = (&mut self.form, is_due) {
            self.told.insert(host.to_owned(), Instant::now());
            let host = host.to_owned();
            let event = TransferEvent::TransferProgress {
                time: now(),
                host,
                bytes: done,
                total,
                kept,
                moved: crossed,
            };
            keep(&mut self.written, json.line(&event));
        }
    }

    /// The connection was lost and is made anew.
    pub(crate) fn going_on(&mut self, host: &str, why: &str) {
        let message = format!("{why}; connecting again, and going on from what has arrived");
        self.note(host, &message);
        self.engine_event(EventKind::Warning { host: host.to_owned(), message });
    }

    /// A host has it, or has given it.
    pub(crate) fn finished(&mut self, host: &str, done: &Transferred) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Form::Json(json) = &mut self.form {
            let event = TransferEvent::TransferFinished {
                time: now(),
                host: host.to_owned(),
                changed: done.changed,
                unchanged: done.unchanged,
                skipped: done.skipped.clone(),
                bytes: done.bytes,
                kept: done.kept,
                moved: done.moved,
                seconds,
            };
            return keep(&mut self.written, json.line(&event));
        }
        for name in &done.skipped {
            self.note(host, &format!("left out {name}: it is neither file, directory nor link"));
        }
        let told = format!("{LOUD}{}{LOUD:#}: {}", clean::line(host), words::summary(done, seconds));
        let (result, screen) = match &mut self.form {
            Form::Bars { result, bars, screen } => {
                if let Some(bar) = bars.remove(host) {
                    bar.finish_and_clear();
                }
                (result, Some(screen.clone()))
            }
            Form::Lines { result, .. } => (result, None),
            Form::Json(_) => return,
        };
        if let Some(out) = result {
            let mut line = || writeln!(out, "{told}");
            let result = match screen {
                Some(screen) => screen.suspend(line),
                None => line(),
            };
            keep(&mut self.written, result);
        }
    }

    /// A host failed. Why the only one failed is the last line of the run.
    pub(crate) fn failed(&mut self, host: &str, cause: &str) {
        let several = self.hosts > 1;
        let label = format!("{LOUD}{host}{LOUD:#}: {BAD}failed:{BAD:#}");
        match &mut self.form {
            Form::Bars { screen, bars, .. } => {
                if let Some(bar) = bars.remove(host) {
                    bar.finish_and_clear();
                }
                if several {
                    let result = screen.suspend(|| Writer::stderr().say(&label, &clean::line(cause)));
                    keep(&mut self.written, result);
                }
            }
            Form::Lines { notes, github: true, .. } => {
                let result = github::error(notes, host, cause);
                keep(&mut self.written, result);
            }
            Form::Lines { notes, .. } if several => {
                let result = notes.say(&label, &clean::line(cause));
                keep(&mut self.written, result);
            }
            Form::Lines { .. } | Form::Json(_) => {}
        }
        let (host, cause) = (host.to_owned(), cause.to_owned());
        self.engine_event(EventKind::HostFailed { host, cause, hints: Vec::new() });
    }

    /// The last event.
    pub(crate) fn done(&mut self, hosts: BTreeMap<String, Counts>, stats: RunStats) -> io::Result<()> {
        let ok = hosts.values().all(|counts| counts.failed == 0);
        self.engine_event(EventKind::RunFinished { ok, hosts, stats });
        std::mem::replace(&mut self.written, Ok(()))
    }

    fn note(&mut self, host: &str, message: &str) {
        let (label, words) =
            (format!("{LOUD}{host}{LOUD:#}: {CHANGE}warning:{CHANGE:#}"), clean::line(message));
        let result = match &mut self.form {
            Form::Bars { screen, .. } => screen.suspend(|| Writer::stderr().say(&label, &words)),
            Form::Lines { notes, github: true, .. } => {
                writeln!(notes, "{}", github::inert(&format!("{label} {words}")))
            }
            Form::Lines { notes, .. } => notes.say(&label, &words),
            Form::Json(_) => Ok(()),
        };
        keep(&mut self.written, result);
    }

    fn engine_event(&mut self, kind: EventKind) {
        if let Form::Json(json) = &mut self.form {
            let result = json.line(&Event { time: now(), kind });
            keep(&mut self.written, result);
        }
    }
}

impl Drop for TransferReport {
    /// A run that ends early leaves no bar behind.
    fn drop(&mut self) {
        if let Form::Bars { bars, .. } = &self.form {
            bars.values().for_each(ProgressBar::finish_and_clear);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own; one that does not parse would show the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            anstream::adapter::strip_str(&String::from_utf8_lossy(&self.0.lock().unwrap())).to_string()
        }
    }

    #[test]
    fn a_host_cannot_drive_the_terminal() {
        let (result, notes) = (Paper::default(), Paper::default());
        let form = Form::Lines {
            result: Some(Writer::new(result.clone())),
            notes: Writer::new(notes.clone()),
            github: false,
        };
        let mut report = TransferReport::with_form(form);
        report.started("pull", &["a".to_owned(), "b".to_owned()]);
        let skipped = vec!["pipe\x1b[2J".to_owned()];
        report.finished(
            "a",
            &Transferred { changed: 1, bytes: 10, moved: 10, skipped, ..Transferred::default() },
        );
        report.failed("b", "no \x1b]0;x\x07such file");
        assert_eq!(result.text(), "a: 1 item, 10 bytes in 0.0 s\n");
        assert!(!notes.text().contains('\x1b'), "{:?}", notes.text());
        assert!(notes.text().contains("a: warning: left out pipe"), "{}", notes.text());
        assert!(notes.text().contains("b: failed: no such file"), "{}", notes.text());
    }

    #[test]
    fn json_ends_with_the_same_event_as_any_run() {
        let paper = Paper::default();
        let mut report = TransferReport::with_form(Form::Json(Json::new(Writer::new(paper.clone()))));
        report.started("push", &["a".to_owned()]);
        for done in [1, 2] {
            report.progress("a", Progress { done, total: 2, kept: 0, crossed: done }, Duration::ZERO);
        }
        report.going_on("a", "lost");
        report.finished("a", &Transferred { changed: 1, bytes: 2, moved: 2, ..Transferred::default() });
        report.done(BTreeMap::from([("a".to_owned(), Counts::default())]), RunStats::default()).unwrap();
        let lines: Vec<serde_json::Value> =
            paper.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            ["run_started", "transfer_progress", "warning", "transfer_finished", "run_finished"]
        );
        assert_eq!((&lines[1]["bytes"], &lines[3]["moved"]), (&1.into(), &2.into()));
    }
}
