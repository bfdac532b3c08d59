//! A terminal with `stdbctl` on it: what is shown is read, keys are pressed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::deadline::wait_for;
use crate::operator::Operator;

/// Longer than a login takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A `stdbctl` on a terminal.
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts it there. `script`, of util-linux, makes the terminal.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(operator: &Operator, arguments: &[String]) -> Self {
        Self::start_and(operator, arguments, "exit $?")
    }

    /// Starts it there, and then has the shell do this. `shell PROCESS` is shown first: the number of the process that
    /// becomes `stdbctl`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_and(operator: &Operator, arguments: &[String], then: &str) -> Self {
        let command = operator.command(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quoted = words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''")));
        let quoted = quoted.collect::<Vec<_>>().join(" ");
        let line = format!("sh -c 'echo shell $$; exec \"$@\"' sh {quoted}; {then}");
        let mut script = Command::new("script")
            .args(["-qefc", &line, "/dev/null"])
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .envs([("TERM", "xterm"), ("SHELL", "/bin/sh")])
            .current_dir(operator.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let held = Arc::clone(&shown);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                held.lock().unwrap().push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap()));
            }
        });
        Self { script, keys, shown, reader }
    }

    /// Waits until this has been shown.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn shows(&self, text: &str) {
        self.shows_times(text, 1);
    }

    /// Waits until this has been shown so many times.
    ///
    /// # Panics
    /// When it is not, in time.
    pub fn shows_times(&self, text: &str, times: usize) {
        wait_for(text, LIMIT, || (self.shown().matches(text).count() >= times).then_some(()));
    }

    /// All that has been shown.
    ///
    /// # Panics
    /// When nobody reads any more.
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until this has been shown; false if it ended without.
    ///
    /// # Panics
    /// When neither happens in time.
    pub fn shows_before_its_end(&mut self, text: &str) -> bool {
        wait_for(text, LIMIT, || {
            let has_ended = self.script.try_wait().unwrap().is_some();
            let is_shown = self.shown.lock().unwrap().contains(text);
            (is_shown || has_ended).then_some(is_shown)
        })
    }

    /// Presses these keys.
    ///
    /// # Panics
    /// When nobody reads them.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for the end: the exit code, and all that was shown.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn end(mut self) -> (i32, String) {
        let status = wait_for("its end", LIMIT, || self.script.try_wait().unwrap());
        self.reader.join().unwrap();
        let shown = self.shown.lock().unwrap().clone();
        (status.code().unwrap_or_default(), shown)
    }
}
