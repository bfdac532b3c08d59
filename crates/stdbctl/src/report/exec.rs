//! What `stdbctl exec` shows: what the command writes on each host, and how it ended there.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdbctl_engine::event::{Counts, Event, EventKind, RunStats};
use stdbctl_engine::host::{Ending, Output};

use super::json::Json;
use super::style::{BAD, GOOD, LOUD, duration};
use super::{Writer, clean, github};
use super::{keep, now};
use crate::cli::Format;

/// A line longer than this is shown in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// The events of `exec` that no other verb has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum ExecEvent {
    /// The command wrote a line, or the rest of one.
    ExecOutput {
        /// When it came, UTC, RFC 3339.
        time: String,
        /// The host.
        host: String,
        /// Where the command wrote it.
        stream: Stream,
        /// What it wrote, the newline included. Bytes that are not UTF-8 are replaced.
        text: String,
    },
    /// The command ended. Exactly one of `status` and `signal`.
    ExecFinished {
        /// When, UTC, RFC 3339.
        time: String,
        /// The host.
        host: String,
        /// Its exit status.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u32>,
        /// The signal that ended it, without `SIG` in front.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
        /// How long it took, connecting included.
        seconds: f64,
    },
}

/// One of the two things a command writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Shows one run of `exec`.
pub(crate) struct ExecReport {
    form: Form,
    pending: BTreeMap<(String, Stream), Vec<u8>>,
    written: io::Result<()>,
}

enum Form {
    /// One host: what it writes goes where it was written to.
    Plain {
        stdout: Writer,
        stderr: Writer,
        clean: (bool, bool),
    },
    /// Several hosts: each line with the host's name in front.
    Prefixed {
        stdout: Writer,
        stderr: Writer,
        github: bool,
    },
    Json(Json),
}

impl ExecReport {
    /// For so many hosts, onto this process's own streams.
    pub(crate) fn new(format: Format, hosts: usize) -> Self {
        let clean = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let form = match format {
            Format::Json => Form::Json(Json::new(Writer::stdout())),
            // The command's own bytes, unless a terminal would take some of them for orders.
            Format::Human if hosts == 1 => {
                Form::Plain { stdout: Writer::new(io::stdout()), stderr: Writer::new(io::stderr()), clean }
            }
            Format::Human | Format::Github => Form::Prefixed {
                stdout: Writer::stdout(),
                stderr: Writer::stderr(),
                github: format == Format::Github,
            },
        };
        Self::with_form(form)
    }

    fn with_form(form: Form) -> Self {
        Self { form, pending: BTreeMap::new(), written: Ok(()) }
    }

    /// The first event.
    pub(crate) fn started(&mut self, hosts: &[String]) {
        self.engine_event(EventKind::RunStarted { verb: "exec".to_owned(), hosts: hosts.to_vec() });
    }

    /// The command wrote something.
    pub(crate) fn output(&mut self, host: &str, output: Output) {
        let (stream, bytes) = match output {
            Output::Stdout(bytes) => (Stream::Stdout, bytes),
            Output::Stderr(bytes) => (Stream::Stderr, bytes),
        };
        if let Form::Plain { stdout, stderr, clean } = &mut self.form {
            let (out, clean) = match stream {
                Stream::Stdout => (stdout, clean.0),
                Stream::Stderr => (stderr, clean.1),
            };
            let result = write_raw(out, &bytes, clean);
            return keep(&mut self.written, result);
        }
        let pending = self.pending.entry((host.to_owned(), stream)).or_default();
        pending.extend(bytes);
        let whole = pending.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let taken = if whole == 0 && pending.len() > LONGEST_LINE { pending.len() } else { whole };
        let rest = pending.split_off(taken);
        let lines = std::mem::replace(pending, rest);
        self.lines(host, stream, &lines);
    }

    /// The command ended on a host.
    pub(crate) fn finished(&mut self, host: &str, ending: &Ending, seconds: f64) {
        self.flush(host);
        let (status, signal) = match ending {
            Ending::Status(status) => (Some(*status), None),
            Ending::Signal(signal) => (None, Some(signal.clone())),
            Ending::Lost(_) => return,
        };
        let result = match &mut self.form {
            Form::Json(json) => json.line(&ExecEvent::ExecFinished {
                time: now(),
                host: host.to_owned(),
                status,
                signal,
                seconds,
            }),
            Form::Prefixed { stderr, .. } => {
                let style = if *ending == Ending::Status(0) { GOOD } else { BAD };
                let told = github::inert(&clean::line(&describe(ending)));
                writeln!(stderr, "{LOUD}{host}{LOUD:#}: {style}{told}{style:#} ({})", duration(seconds))
            }
            Form::Plain { .. } => Ok(()),
        };
        keep(&mut self.written, result);
    }

    /// The command could not be run, or not to its end.
    pub(crate) fn failed(&mut self, host: &str, cause: &str, hints: Vec<String>) {
        self.flush(host);
        if let Form::Prefixed { stderr, github, .. } = &mut self.form {
            let result = if *github {
                github::error(stderr, host, cause)
            } else {
                stderr.say(&format!("{LOUD}{host}{LOUD:#}: {BAD}failed:{BAD:#}"), &clean::line(cause))
            };
            keep(&mut self.written, result);
        }
        self.engine_event(EventKind::HostFailed { host: host.to_owned(), cause: cause.to_owned(), hints });
    }

    /// The last event.
    pub(crate) fn done(mut self, hosts: BTreeMap<String, Counts>, stats: RunStats) -> io::Result<()> {
        let ok = hosts.values().all(|counts| counts.failed == 0);
        self.engine_event(EventKind::RunFinished { ok, hosts, stats });
        self.written
    }

    fn engine_event(&mut self, kind: EventKind) {
        if let Form::Json(json) = &mut self.form {
            let result = json.line(&Event { time: now(), kind });
            keep(&mut self.written, result);
        }
    }

    /// Shows what a host wrote after its last newline.
    fn flush(&mut self, host: &str) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.pending.remove(&(host.to_owned(), stream)).unwrap_or_default();
            self.lines(host, stream, &rest);
        }
    }

    fn lines(&mut self, host: &str, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for line in text.split_inclusive('\n') {
            let result = self.line(host, stream, line);
            keep(&mut self.written, result);
        }
    }

    fn line(&mut self, host: &str, stream: Stream, line: &str) -> io::Result<()> {
        match &mut self.form {
            Form::Json(json) => json.line(&ExecEvent::ExecOutput {
                time: now(),
                host: host.to_owned(),
                stream,
                text: line.to_owned(),
            }),
            Form::Prefixed { stdout, stderr, github } => {
                let out = if stream == Stream::Stdout { stdout } else { stderr };
                let line = clean::text(line.strip_suffix('\n').unwrap_or(line));
                let line = if *github { github::inert(&line).into() } else { line };
                writeln!(out, "{LOUD}{host}{LOUD:#}: {line}")
            }
            // Its pieces are written as they come.
            Form::Plain { .. } => Ok(()),
        }
    }
}

/// `exit status 3`, `killed by SIGTERM`.
pub(crate) fn describe(ending: &Ending) -> String {
    match ending {
        Ending::Status(status) => format!("exit status {status}"),
        Ending::Signal(signal) => format!("killed by SIG{signal}"),
        Ending::Lost(why) => format!("the connection was lost: {why}"),
    }
}

fn write_raw(out: &mut Writer, bytes: &[u8], clean: bool) -> io::Result<()> {
    if clean {
        out.write_all(clean::text(&String::from_utf8_lossy(bytes)).as_bytes())?;
    } else {
        out.write_all(bytes)?;
    }
    out.flush()
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
            String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
        }
    }

    fn out(bytes: &[u8]) -> Output {
        Output::Stdout(bytes.to_vec())
    }

    fn plain(paper: &Paper) -> Writer {
        let paper: Box<dyn io::Write + Send> = Box::new(paper.clone());
        Writer::new(anstream::StripStream::new(paper))
    }

    #[test]
    fn lines_of_several_hosts_are_not_torn() {
        let (stdout, stderr) = (Paper::default(), Paper::default());
        let form = Form::Prefixed { stdout: plain(&stdout), stderr: plain(&stderr), github: false };
        let mut report = ExecReport::with_form(form);
        report.output("a", out(b"one\ntw"));
        report.output("b", Output::Stderr(b"\x1b[2Joops\n".to_vec()));
        report.output("a", out(b"o\nthree"));
        report.finished("a", &Ending::Status(0), 0.5);
        report.finished("b", &Ending::Signal("KILL".to_owned()), 1.5);
        assert_eq!(stdout.text(), "a: one\na: two\na: three\n");
        assert_eq!(stderr.text(), "b: oops\na: exit status 0 (0.5 s)\nb: killed by SIGKILL (1.5 s)\n");
    }

    #[test]
    fn a_host_has_no_commands_for_the_runner() {
        let stdout = Paper::default();
        let form = Form::Prefixed { stdout: plain(&stdout), stderr: plain(&stdout), github: true };
        let mut report = ExecReport::with_form(form);
        report.output("a", out(b"x ##[add-path]/tmp\n"));
        report.finished("a", &Ending::Signal("##[group]".to_owned()), 0.5);
        assert_eq!(stdout.text(), "a: x # #[add-path]/tmp\na: killed by SIG# #[group] (0.5 s)\n");
    }

    #[test]
    fn one_host_gets_its_own_bytes_through() {
        let stdout = Paper::default();
        let form = Form::Plain {
            stdout: Writer::new(stdout.clone()),
            stderr: Writer::new(io::sink()),
            clean: (false, false),
        };
        let mut report = ExecReport::with_form(form);
        report.output("a", out(b"\x1b[1m\0\xff"));
        assert_eq!(*stdout.0.lock().unwrap(), b"\x1b[1m\0\xff");
    }

    #[test]
    fn json_ends_with_the_same_event_as_any_run() {
        let paper = Paper::default();
        let mut report = ExecReport::with_form(Form::Json(Json::new(Writer::new(paper.clone()))));
        report.started(&["a".to_owned()]);
        report.output("a", out(b"half a li"));
        report.finished("a", &Ending::Status(3), 0.1);
        let failed = Counts { failed: 1, ..Counts::default() };
        report.done(BTreeMap::from([("a".to_owned(), failed)]), RunStats::default()).unwrap();
        let lines: Vec<serde_json::Value> =
            paper.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["run_started", "exec_output", "exec_finished", "run_finished"]);
        assert_eq!((&lines[1]["text"], &lines[2]["status"]), (&"half a li".into(), &3.into()));
        assert_eq!(lines[3]["ok"], false);
    }

    #[test]
    fn a_line_without_end_is_shown_in_pieces() {
        let paper = Paper::default();
        let mut report = ExecReport::with_form(Form::Json(Json::new(Writer::new(paper.clone()))));
        report.output("a", out(&vec![b'x'; LONGEST_LINE + 1]));
        assert_eq!(paper.text().lines().count(), 1);
        assert!(report.pending.values().all(Vec::is_empty));
    }
}
