//! Waiting for what must come true, and for programs that must end.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a condition that nobody signals is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Waits until `look` returns something, and returns it.
///
/// # Panics
/// When `limit` has passed: `what` did not come true.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A program that has ended, and all it said.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Its standard error; what is not UTF-8 is replaced.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

/// Runs a program to its end.
///
/// # Panics
/// When it cannot be started, or has not ended after `limit`; it is killed then.
pub fn finish(command: &mut Command, limit: Duration) -> Finished {
    let began = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = end(&mut child, limit);
    let took = began.elapsed();
    let (stdout, stderr) = (join(stdout), join(stderr));
    match status {
        Some(status) => Finished { status, stdout, stderr, took },
        None => panic!("{command:?} did not end within {limit:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}"),
    }
}

/// The first line of what a program says, which is killed then; nothing if it ends without. It must bound its own time.
///
/// # Panics
/// When it cannot be started.
pub fn first_line(command: &mut Command) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut line = String::new();
    let stdout = child.stdout.take().map(BufReader::new);
    stdout.and_then(|mut stdout| stdout.read_line(&mut line).ok());
    drop(child.kill().and_then(|()| child.wait()));
    line
}

/// Waits for a child; kills it when the time is up, and says so with None.
pub(crate) fn end(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let status = ended_within(child, limit);
    if status.is_none() {
        drop(child.kill().and_then(|()| child.wait()));
    }
    status
}

/// Waits for a child; None if it still runs when the time is up.
pub(crate) fn ended_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if began.elapsed() < limit => std::thread::sleep(GLANCE),
            Ok(None) => return None,
            Err(error) => panic!("cannot wait for a child: {error}"),
        }
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            drop(stream.read_to_end(&mut bytes));
        }
        bytes
    })
}

fn join(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_and_its_words_are_kept() {
        let mut command = Command::new("sh");
        let finished =
            finish(command.args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(10));
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn a_first_line_does_not_wait_for_the_end() {
        assert_eq!(
            first_line(Command::new("sh").args(["-c", "echo first; echo more; exec sleep 600"])),
            "first\n"
        );
        assert_eq!(first_line(Command::new("sh").args(["-c", "exit 3"])), "");
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn a_program_that_hangs_is_killed() {
        finish(Command::new("sh").args(["-c", "exec sleep 60"]), Duration::from_millis(100));
    }

    #[test]
    #[should_panic(expected = "in vain: pigs fly")]
    fn a_condition_has_a_deadline() {
        wait_for("pigs fly", Duration::from_millis(30), || None::<()>);
    }
}
