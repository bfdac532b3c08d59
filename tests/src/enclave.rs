//! This machine as the host of a run, without leaving a trace on it: `stdbctl` in a mount namespace of its own, where
//! `/run` and `/var/lib` are directories of the test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::deadline::finish;
use crate::operator::{Operator, Run, binary};

/// Longer than any run against a server on loopback takes.
const LIMIT: Duration = Duration::from_secs(120);

/// What `systemctl` says of a service that runs as this process. Anything else it is asked is an error.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
  'show -p MainPID --value spacetimedb') echo PID ;;
  *) echo "systemctl $* is not for tests" >&2; exit 1 ;;
esac
"#;

/// Gives the test's directories their places and becomes the command.
const ENTER: &str = r#"
mount --bind "$1/run" /run && mount --bind "$1/lib" /var/lib && mount --bind "$1/sbin" /usr/local/sbin || exit 125
shift
exec "$@"
"#;

/// A host that is this machine, with nothing in `/run` and `/var/lib` at first, and an operator of it. Needs root.
pub struct Enclave {
    directory: TempDir,
    operator: Operator,
}

impl Default for Enclave {
    fn default() -> Self {
        Self::new()
    }
}

impl Enclave {
    /// A new one. The process of the test is the main one of its service `spacetimedb`.
    ///
    /// # Panics
    /// When there is no room for its directories.
    pub fn new() -> Self {
        let directory =
            TempDir::with_prefix("enclave-").unwrap_or_else(|error| panic!("no directory: {error}"));
        for folder in ["run", "lib", "sbin"] {
            let made = std::fs::create_dir(directory.path().join(folder));
            made.unwrap_or_else(|error| panic!("{folder}: {error}"));
        }
        let program = directory.path().join("sbin/systemctl");
        let text = SYSTEMCTL.replace("PID ;;", &format!("{} ;;", std::process::id()));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::write(&program, text)
            .and_then(|()| std::fs::set_permissions(&program, executable))
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { directory, operator: Operator::new() }
    }

    /// Who works on it.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Where all is that the host has in `/run` and `/var/lib`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What the host has in `/var/lib/stdbctl`.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("lib/stdbctl")
    }

    /// Runs `stdbctl` on it to its end.
    ///
    /// # Panics
    /// When it does not end in time, or this is not root.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Run {
        let program = binary().display().to_string();
        let directory = self.directory.path().display().to_string();
        let mut all = vec!["-m", "sh", "-c", ENTER, "sh", &directory, &program];
        all.extend(arguments.iter().map(AsRef::as_ref));
        let finished = finish(&mut self.operator.command_of(Path::new("unshare"), &all), LIMIT);
        assert!(finished.status.code() != Some(125), "cannot make a mount namespace: {}", finished.stderr);
        Run {
            code: finished.status.code(),
            stdout: finished.stdout,
            stderr: finished.stderr,
            took: finished.took,
        }
    }
}
