//! What the operator's OpenSSH configuration says of one destination.
//!
//! Where there is an `ssh`, it is asked itself (`ssh -G`): includes, matches and canonical names are then exactly
//! its own. Where there is none, the file is read here, and what cannot be honoured is an error, not silence.

mod authentication;
mod error;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod openssh;
mod run;
mod settings;
pub(crate) mod tokens;
mod values;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use authentication::{Authentication, Method};
pub use error::ConfigError;
pub use run::SshConfig;

use crate::algorithms::AlgorithmRules;
use crate::connect::{ConnectOptions, Recording};
use crate::rekey::RekeyLimit;
use crate::target::Target;

/// In place of a file: none at all.
const NO_FILE: &str = "none";

/// A line that has died is noticed after four times as long, which is sooner than a host that says nothing is given up
/// (120 s): only a line that is known to be lost is made anew.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(25);

/// What holds for one destination. Fields without a value are those that nothing was said of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Who has said all that.
    pub origin: Origin,
    /// The name or address to connect to.
    pub host_name: Option<String>,
    /// The TCP port.
    pub port: Option<u16>,
    /// Who to log in as.
    pub user: Option<String>,
    /// Private keys, in the order in which they are offered. Those that are not there count for nothing.
    pub identity_files: Option<Vec<PathBuf>>,
    /// Certificates that belong to keys.
    pub certificate_files: Vec<PathBuf>,
    /// Whether only those keys are offered, whatever else the agent holds.
    pub identities_only: bool,
    /// Which agent is asked.
    pub agent: Agent,
    /// How this side may prove who it is.
    pub authentication: Authentication,
    /// How the destination is reached.
    pub proxy: Proxy,
    /// The user's files with known host keys. New keys go to the first.
    pub known_hosts: Option<Vec<PathBuf>>,
    /// The machine's files with known host keys.
    pub global_known_hosts: Option<Vec<PathBuf>>,
    /// The name that the host's key is known by, in place of its own.
    pub host_key_alias: Option<String>,
    /// What is done with unknown host keys.
    pub strictness: Strictness,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// How long the line may be quiet before the server is asked for a sign of life.
    pub keep_alive: Option<Duration>,
    /// When keys are exchanged anew.
    pub rekey_limit: RekeyLimit,
    /// Which kind of address is connected to.
    pub family: AddressFamily,
    /// The local address to connect from.
    pub bind_address: Option<String>,
    /// Whether names of hosts are hashed in lines that are added to the first of the user's files.
    pub hash_known_hosts: bool,
    /// Whether the user's files follow a host that changes its keys.
    pub update_host_keys: UpdateHostKeys,
    /// Whether keys are on record for a host's address too.
    pub check_host_ip: bool,
    /// Which algorithms may be used.
    pub algorithms: AlgorithmRules,
    /// The fewest bits that an RSA key may have.
    pub required_rsa_size: Option<u32>,
}

/// Who has read the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: there is none, or it is not to be read.
    #[default]
    Nowhere,
    /// `ssh` itself, with `ssh -G`.
    OpenSsh,
    /// Nobody but this crate: there is no `ssh` that could be asked.
    File,
}

/// Which agent is asked for keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Agent {
    /// The one of the environment: `SSH_AUTH_SOCK`.
    #[default]
    Environment,
    /// None.
    None,
    /// The one behind this socket.
    Socket(PathBuf),
}

/// How a destination is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// By TCP.
    #[default]
    None,
    /// Through these hosts, the nearest first.
    Jump(Vec<Target>),
    /// Through this command's standard input and output; a line for the shell, with tokens.
    Command(String),
}

/// `StrictHostKeyChecking`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Somebody is asked about unknown keys, if there is anybody.
    #[default]
    Ask,
    /// Unknown keys are refused.
    Yes,
    /// Unknown keys are taken and recorded.
    AcceptNew,
}

/// `UpdateHostKeys`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpdateHostKeys {
    /// A known host's new keys are added once it has proven to have them, and removed once it has them no more.
    #[default]
    Yes,
    /// The same after a question. As with `ssh HOST COMMAND`, none is asked while commands run: it is not done.
    Ask,
    /// It is not done.
    No,
}

/// `AddressFamily`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// Whichever answers first.
    #[default]
    Any,
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl HostConfig {
    /// Puts what it says in the place of the defaults; what the target itself says stays. Flags come after it.
    ///
    /// The way through other hosts is left out: they have a configuration of their own. [`SshConfig::options`]
    /// adds it.
    pub fn apply(self, options: &mut ConnectOptions) {
        options.host_name = self.host_name.filter(|name| *name != options.target.host);
        options.target.port = options.target.port.or(self.port);
        options.user = self.user.or(options.user.take());
        options.configured_identities = self.identity_files;
        options.certificate_files = self.certificate_files;
        options.identities_only = self.identities_only;
        match self.agent {
            Agent::Environment => {}
            Agent::None => options.agent_socket = None,
            Agent::Socket(path) => options.agent_socket = Some(path),
        }
        if let Some(files) = self.known_hosts {
            options.known_hosts = files;
        }
        if let Some(files) = self.global_known_hosts {
            options.global_known_hosts = files;
        }
        options.configuration = self.origin;
        options.authentication = self.authentication;
        options.host_key_alias = self.host_key_alias;
        options.connect_timeout = self.connect_timeout.unwrap_or(options.connect_timeout);
        options.keep_alive = self.keep_alive.unwrap_or(options.keep_alive).min(LONGEST_KEEP_ALIVE);
        options.rekey_limit = self.rekey_limit;
        options.address_family = self.family;
        options.bind_address = self.bind_address;
        options.recording = Recording {
            hash_names: self.hash_known_hosts,
            follow_changes: self.update_host_keys == UpdateHostKeys::Yes,
            with_address: self.check_host_ip,
        };
        options.algorithms = Arc::new(self.algorithms);
        options.required_rsa_size = self.required_rsa_size.unwrap_or(options.required_rsa_size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_line_is_noticed_before_a_silent_host_is_given_up() {
        for (configured, expected) in
            [(None, 15), (Some(7), 7), (Some(25), 25), (Some(30), 25), (Some(3600), 25)]
        {
            let mut options = ConnectOptions::new("web1".parse().unwrap());
            let keep_alive = configured.map(Duration::from_secs);
            HostConfig { keep_alive, ..HostConfig::default() }.apply(&mut options);
            assert_eq!(options.keep_alive.as_secs(), expected, "{configured:?}");
        }
    }
}
