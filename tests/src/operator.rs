//! Someone who runs `stdbctl`: a home directory of their own, no agent, no settings in the environment.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::deadline;

/// Longer than any run in the lab takes, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(420);

/// How often the memory of a run is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// The built binary: `STDBCTL_BIN`, or the one of this build's profile.
///
/// # Panics
/// When it has not been built. Cargo builds the binaries of the package under test only.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("STDBCTL_BIN").map_or_else(|| profile_dir().join("stdbctl"), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p stdbctl` first, or tests/run",
        path.display()
    );
    path
}

/// The binary that people get: built by `tests/run`, absent when tests are run by hand without it.
///
/// # Panics
/// When it has not been built.
pub fn release_binary() -> PathBuf {
    let path = binary().ancestors().nth(2).map(|target| target.join("release/stdbctl")).unwrap_or_default();
    assert!(
        path.is_file(),
        "{} is missing: `cargo build --release -p stdbctl`, or tests/run",
        path.display()
    );
    path
}

/// `target/debug` or whichever profile this test was built with.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("where am I? {error}"));
    test.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// Someone who runs `stdbctl`.
pub struct Operator {
    home: TempDir,
}

impl Default for Operator {
    fn default() -> Self {
        Self::new()
    }
}

impl Operator {
    /// A new one, with an empty home directory, which is also where they stand.
    ///
    /// # Panics
    /// When there is no room for a directory.
    pub fn new() -> Self {
        let home = TempDir::with_prefix("operator-")
            .unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        Self { home }
    }

    /// Their home directory, in which commands are run.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into the home directory and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The command, ready to be run: for what [`Operator::run`] does not offer.
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        self.command_of(&binary(), arguments)
    }

    /// The same with another build of the binary.
    pub fn command_of<S: AsRef<str>>(&self, binary: &Path, arguments: &[S]) -> Command {
        let mut command = Command::new(binary);
        command
            .args(arguments.iter().map(AsRef::as_ref))
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.home());
        command
    }

    /// Runs `stdbctl` to its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Run {
        let finished = deadline::finish(&mut self.command(arguments), LIMIT);
        Run {
            code: finished.status.code(),
            stdout: finished.stdout,
            stderr: finished.stderr,
            took: finished.took,
        }
    }

    /// Runs `stdbctl` to an end that must be a success.
    ///
    /// # Panics
    /// When it is none.
    pub fn succeed<S: AsRef<str>>(&self, arguments: &[S]) -> Run {
        let run = self.run(arguments);
        run.exited(0);
        run
    }

    /// Starts `stdbctl` and leaves it running.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<S: AsRef<str>>(&self, arguments: &[S]) -> Running {
        Self::start_command(self.command(arguments))
    }

    /// Runs another build of the binary to its end, and says how much memory it had at most, in bytes.
    ///
    /// # Panics
    /// When it cannot be started, or does not end in time.
    pub fn measure<S: AsRef<str>>(&self, binary: &Path, arguments: &[S]) -> (Run, u64) {
        let mut running = Self::start_command(self.command_of(binary, arguments));
        let mut most = 0;
        while !running.ends_within(GLANCE) {
            most = most.max(running.peak_memory().unwrap_or(0));
        }
        (running.wait(), most)
    }

    fn start_command(mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Lines::follow(child.stdout.take());
        let stderr = Lines::follow(child.stderr.take());
        Running { child, began, stdout, stderr }
    }
}

/// A `stdbctl` that has ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; None if a signal ended it.
    pub code: Option<i32>,
    /// The result.
    pub stdout: String,
    /// The progress, and the cause of a failure.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Run {
    /// Asserts that it ended with this exit code.
    ///
    /// # Panics
    /// When it did not; with all it said.
    pub fn exited(&self, expected: i32) -> &Self {
        assert!(self.code == Some(expected), "exit code {:?}, not {expected}\n{self}", self.code);
        self
    }

    /// The events on standard output.
    ///
    /// # Panics
    /// When a line is no JSON object with an `event`.
    pub fn events(&self) -> Vec<Value> {
        let parse = |line: &str| match serde_json::from_str::<Value>(line) {
            Ok(event) if event["event"].is_string() => event,
            other => panic!("no event: {line}\n{other:?}\n{self}"),
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The last event.
    ///
    /// # Panics
    /// When it is not `run_finished`, or not the only one.
    pub fn finished(&self) -> Value {
        let mut events = self.events();
        let terminal = events.iter().filter(|event| event["event"] == "run_finished").count();
        let last = events.pop().unwrap_or_default();
        assert!(
            terminal == 1 && last["event"] == "run_finished",
            "run_finished comes once, at the end\n{self}"
        );
        last
    }

    /// Whether its last event says that all that was asked has been done.
    ///
    /// # Panics
    /// As [`Run::finished`].
    pub fn ok(&self) -> bool {
        self.finished()["ok"] == true
    }

    /// The ids of the tasks that ended with this outcome, in order.
    ///
    /// # Panics
    /// As [`Run::events`].
    pub fn tasks(&self, outcome: &str) -> Vec<String> {
        let ended = |event: &Value| event["event"] == "task_finished" && outcome_of(event) == Some(outcome);
        let id = |event: &Value| event["task"].as_str().unwrap_or_default().to_owned();
        self.events().iter().filter(|event| ended(event)).map(id).collect()
    }

    /// The one JSON document on standard output.
    ///
    /// # Panics
    /// When there is none.
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no document: {error}\n{self}"))
    }

    /// The changes in the document of a `plan`, of all its hosts.
    ///
    /// # Panics
    /// As [`Run::document`], and when it holds no plan.
    pub fn planned(&self) -> Vec<Value> {
        let document = self.document();
        let plans = document["plans"].as_array();
        let plans = plans.unwrap_or_else(|| panic!("no plans in the document\n{self}"));
        plans.iter().flat_map(|plan| plan["changes"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// The last line on standard error: the cause, if it failed.
    pub fn last_words(&self) -> &str {
        self.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
    }

    /// Asserts that it failed so, naming the cause in its last line: each of these words, whatever their case.
    ///
    /// # Panics
    /// When it did not.
    pub fn failed(&self, code: i32, cause: &[&str]) -> &Self {
        self.exited(code);
        let last = self.last_words().to_lowercase();
        for word in cause {
            assert!(last.contains(&word.to_lowercase()), "the last line does not name `{word}`\n{self}");
        }
        self
    }
}

/// An outcome is an object tagged `outcome`, in a field of that name.
fn outcome_of(event: &Value) -> Option<&str> {
    event["outcome"]["outcome"].as_str().or_else(|| event["outcome"].as_str())
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr, took } = self;
        let (stdout, stderr) = (shortened(stdout), shortened(stderr));
        write!(f, "-- exit {code:?} after {took:.1?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}

/// The end of the text with long lines cut: a whole plan is one line.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 600;
    const MOST: usize = 25;
    let cut = |line: &str| match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}... ({} bytes)", line.get(..at).unwrap_or_default(), line.len()),
        None => line.to_owned(),
    };
    let skipped = text.lines().count().saturating_sub(MOST);
    text.lines().skip(skipped).map(cut).collect::<Vec<_>>().join("\n")
}

/// A `stdbctl` that is still running. Dropping it kills it.
pub struct Running {
    child: Child,
    began: Instant,
    stdout: Lines,
    stderr: Lines,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has had so far, in bytes; None once it is gone.
    fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    }

    /// Lets it run for this long, and tells whether it has ended by then.
    ///
    /// # Panics
    /// When the system cannot say.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        deadline::ended_within(&mut self.child, limit).is_some()
    }

    /// Waits for a line of standard output that holds `text`.
    ///
    /// # Panics
    /// When it has not come in time, or the program ended without it.
    pub fn wait_for_line(&self, text: &str, limit: Duration) -> String {
        self.stdout.wait_for(text, limit).unwrap_or_else(|said| panic!("`{text}` did not come\n{said}"))
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) -> Run {
        self.child.kill().unwrap_or_else(|error| panic!("cannot kill: {error}"));
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn wait(mut self) -> Run {
        let status = deadline::end(&mut self.child, LIMIT);
        let took = self.began.elapsed();
        let (stdout, stderr) = (self.stdout.join(), self.stderr.join());
        let run = Run { code: status.and_then(|status| status.code()), stdout, stderr, took };
        assert!(status.is_some(), "it did not end within {LIMIT:?}\n{run}");
        run
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// The lines of a stream, as they come.
struct Lines {
    state: Arc<(Mutex<Said>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Said {
    text: String,
    ended: bool,
}

impl Lines {
    fn follow(stream: Option<impl Read + Send + 'static>) -> Self {
        let state = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        let reader = std::thread::spawn(move || {
            let (said, more) = &*shared;
            let mut stream = BufReader::new(
                stream.into_iter().fold(Box::new(std::io::empty()) as Box<dyn Read>, |_, s| Box::new(s)),
            );
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                lock(said).text.push_str(&String::from_utf8_lossy(&line));
                line.clear();
                more.notify_all();
            }
            lock(said).ended = true;
            more.notify_all();
        });
        Self { state, reader: Some(reader) }
    }

    /// The first line that holds `text`; otherwise all that was said until the end or the limit.
    fn wait_for(&self, text: &str, limit: Duration) -> Result<String, String> {
        let (said, more) = &*self.state;
        let found = |said: &Said| said.text.lines().any(|line| line.contains(text));
        let (said, _) = more
            .wait_timeout_while(lock(said), limit, |said| !said.ended && !found(said))
            .unwrap_or_else(PoisonError::into_inner);
        said.text.lines().find(|line| line.contains(text)).map(str::to_owned).ok_or_else(|| said.text.clone())
    }

    fn join(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
        std::mem::take(&mut lock(&self.state.0).text)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
