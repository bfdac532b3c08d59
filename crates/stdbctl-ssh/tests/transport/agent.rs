//! A real ssh-agent.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::sshd::DEADLINE;

/// A real ssh-agent that ends with the test.
pub(crate) struct Agent {
    child: Child,
    directory: tempfile::TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Agent {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent");
        let child =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { child, directory };
        let end = Instant::now() + DEADLINE;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < end, "ssh-agent does not start");
            std::thread::yield_now();
        }
        agent
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }

    /// Gives it a key, and the certificate beside that.
    pub(crate) fn add(&self, key: PathBuf) {
        let done =
            Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", self.socket()).status().unwrap();
        assert!(done.success());
    }
}
