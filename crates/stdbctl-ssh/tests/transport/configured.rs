//! Configurations as an operator writes them, for hosts that are real sshd.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use stdbctl_ssh::ssh_config::{ConfigError, SshConfig, Strictness};
use stdbctl_ssh::{ConnectError, ConnectOptions, Session, Target, UnknownKey, connect};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::sshd::{DEADLINE, Sshd, generate_key, user};

/// The file of a configuration, and one with host keys.
pub(crate) struct Operator {
    directory: TempDir,
}

impl Operator {
    /// Knows these servers' keys.
    pub(crate) fn knowing(servers: &[&Sshd]) -> Self {
        let operator = Self { directory: tempfile::tempdir().unwrap() };
        let lines: Vec<_> = servers.iter().map(|sshd| host_key_line(sshd)).collect();
        operator.write("known_hosts", &lines.concat());
        operator
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Makes this the configuration. What it leaves open is not taken from the machine. `DIR` is the directory.
    pub(crate) fn configure(&self, text: &str) {
        let usual = "\nHost *\nUser USER\nIdentityAgent none\nIdentityFile none\nBatchMode yes\nConnectTimeout 10\n\
                     UserKnownHostsFile DIR/known_hosts\nGlobalKnownHostsFile none\n";
        let text = format!("{text}{usual}").replace("USER\n", &format!("{}\n", user()));
        self.write("config", &text.replace("DIR", &self.directory.path().display().to_string()));
    }

    pub(crate) fn config(&self) -> SshConfig {
        SshConfig::new(Some(self.path("config")))
    }

    pub(crate) async fn options(&self, host: &str) -> Result<ConnectOptions, ConfigError> {
        options_of(&self.config(), host).await
    }

    pub(crate) async fn connect(&self, host: &str) -> Result<Session, ConnectError> {
        let options = self.options(host).await.unwrap();
        timeout(DEADLINE, connect(options)).await.expect("connecting hangs")
    }

    /// What connecting fails with.
    pub(crate) async fn refusal(&self, host: &str) -> ConnectError {
        match self.connect(host).await {
            Ok(_) => panic!("it should have been refused"),
            Err(error) => error,
        }
    }

    /// Whether the system's own `ssh` gets in.
    pub(crate) fn ssh_gets_in(&self, host: &str) -> bool {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.path("config")).arg(host).arg("true");
        command.stdin(Stdio::null()).output().unwrap().status.success()
    }
}

pub(crate) async fn options_of(config: &SshConfig, host: &str) -> Result<ConnectOptions, ConfigError> {
    let target: Target = host.parse().unwrap();
    let finish = |options: &mut ConnectOptions, strictness| {
        options.keep_alive = Duration::from_secs(15);
        if strictness == Strictness::AcceptNew {
            options.unknown_key = UnknownKey::AcceptNew;
        }
    };
    config.options(target, finish).await
}

/// A line of `known_hosts` for a server.
pub(crate) fn host_key_line(sshd: &Sshd) -> String {
    format!("[127.0.0.1]:{} {}", sshd.port, sshd.public_key("host_ed25519"))
}

/// Lines of a configuration that lead to a server under a name.
pub(crate) fn host(name: &str, sshd: &Sshd) -> String {
    let key = sshd.path("id_ed25519");
    format!("Host {name}\nHostName 127.0.0.1\nPort {}\nIdentityFile {}\n", sshd.port, key.display())
}

/// Makes a user's key with a certificate beside it, for sshd with `TrustedUserCAKeys DIR/authority.pub`.
pub(crate) fn certify(sshd: &Sshd, kind: &str, name: &str, arguments: &[&str]) {
    let path = |name: &str| sshd.path(name).to_str().unwrap().to_owned();
    if !sshd.path("authority").exists() {
        generate_key(&sshd.path("authority"), "ed25519", "");
    }
    generate_key(&sshd.path(name), kind, "");
    let (authority, key) = (path("authority"), path(&format!("{name}.pub")));
    let mut line = vec!["-q", "-s", authority.as_str(), "-I", "test"];
    line.extend(arguments);
    line.push(&key);
    crate::sshd::keygen(&line);
}
