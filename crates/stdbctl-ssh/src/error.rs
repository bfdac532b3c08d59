//! Why a connection or a command failed, in words that lead to the cause.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::algorithms::known_to_stdbctl;
use crate::forward::ForwardError;
use crate::host_key::HostKeyError;

/// What an `ssh` that leads somewhere says of a server that hung up on it.
const CUT_OFF: [&str; 2] = ["Connection closed by", "Connection reset by"];

/// A cause whose type is nobody's business outside this crate.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Where in the setting up of a connection something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Looking the name up.
    Resolve,
    /// TCP's handshake.
    Tcp,
    /// Waiting for the server to say that it is an SSH server.
    Banner,
    /// Agreeing on keys.
    KeyExchange,
    /// Recognising the server.
    HostKey,
    /// Being recognised by the server.
    Authentication,
    /// Opening a channel for a command.
    Channel,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name lookup",
            Self::Tcp => "the TCP connection",
            Self::Banner => "the SSH banner",
            Self::KeyExchange => "the key exchange",
            Self::HostKey => "the host key check",
            Self::Authentication => "authentication",
            Self::Channel => "opening a channel",
        })
    }
}

/// What a person typed to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Typed {
    /// The user's password.
    Password,
    /// Something else that the server wanted to know.
    Answers,
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "the password",
            Self::Answers => "the answers",
        })
    }
}

/// What kind of failure a [`ConnectError`] is, for exit codes and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The name has no address.
    Resolve,
    /// Nobody answers there.
    Tcp,
    /// The port answers and says nothing.
    Silent,
    /// Something answers that is not an SSH server.
    NotSsh,
    /// The two sides found no common ground, or the exchange failed.
    KeyExchange,
    /// The host's key is not on record.
    HostKeyUnknown,
    /// Another key is on record.
    HostKeyChanged,
    /// The key is marked as revoked.
    HostKeyRevoked,
    /// The host's certificate is not good for it.
    HostKeyCertificate,
    /// A `known_hosts` file could not be read or written.
    KnownHosts,
    /// The server took none of the keys.
    AuthRefused,
    /// There was no user or key to log in with.
    NoIdentity,
    /// A step took too long.
    Timeout,
    /// The connection broke.
    Lost,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// The name as given.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address of the host took the connection.
    #[error("cannot reach {address}")]
    Tcp {
        /// The addresses tried.
        address: String,
        /// Why the last one failed.
        #[source]
        source: io::Error,
    },
    /// The port took the connection and then said nothing.
    #[error("{address} answers but says nothing: no SSH banner {}", .waited.map_or_else(|| "before it hung up".to_owned(), |seconds| format!("within {seconds} s")))]
    Silent {
        /// Address and port.
        address: String,
        /// How long it was waited for, in seconds; none if the other side closed the connection.
        waited: Option<u64>,
    },
    /// The port says something that is not SSH.
    #[error("{address} is not an SSH server: it says {said:?}")]
    NotSsh {
        /// Address and port.
        address: String,
        /// Its first words, fit for a terminal.
        said: String,
    },
    /// The server says that it lets nobody in at the moment.
    #[error("{address} takes no login now: it says {said:?}")]
    TurnedAway {
        /// The host, and its address if known.
        address: String,
        /// Its words, fit for a terminal.
        said: String,
    },
    /// A host on the way could not be connected to.
    #[error("through {hop}")]
    Hop {
        /// That host, as configured.
        hop: String,
        /// Why not. Shared by all that wanted to go through it.
        #[source]
        source: Arc<ConnectError>,
    },
    /// The last host on the way did not connect to where it was asked to.
    #[error("through {hop}")]
    Forward {
        /// That host, as configured.
        hop: String,
        /// Why not.
        #[source]
        source: ForwardError,
    },
    /// The command that should lead to the host could not be started.
    #[error("cannot start the ProxyCommand of {host}")]
    ProxyNotStarted {
        /// The host as given.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The command that should lead to the host did not.
    #[error("the ProxyCommand of {host} failed{}", .words.as_ref().map_or_else(String::new, |words| format!(", saying {words:?}")))]
    ProxyCommand {
        /// The host as given.
        host: String,
        /// The last line it wrote to standard error, fit for a terminal.
        words: Option<String>,
        /// What that looked like from here.
        #[source]
        source: Box<ConnectError>,
    },
    /// The exchange of keys failed.
    #[error("the key exchange with {address} failed")]
    KeyExchange {
        /// Address and port.
        address: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The configuration leaves nothing of what this side could offer.
    #[error("`{setting}` of the SSH configuration of {host} lists nothing that stdbctl can do")]
    NoAlgorithm {
        /// The host as given.
        host: String,
        /// The setting's keyword.
        setting: &'static str,
    },
    /// The server's key was refused by this side.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The server took none of the keys, nor what a person typed.
    #[error("{user}@{host} refused {}", refused(.tried, *.typed))]
    AuthRefused {
        /// The user that tried to log in.
        user: String,
        /// The host as given.
        host: String,
        /// The keys the server refused, in order.
        tried: Vec<String>,
        /// What a person typed and the server refused.
        typed: Option<Typed>,
        /// The keys that were not offered, and why.
        skipped: Vec<String>,
        /// What the server would take, by its own words.
        methods: Vec<String>,
        /// The server took one proof but wants a second one.
        partial: bool,
    },
    /// There was no key to offer.
    #[error("there is no key to log in to {host} as {user}")]
    NoIdentity {
        /// The user that wanted to log in.
        user: String,
        /// The host as given.
        host: String,
        /// Where keys were looked for, and why none could be used.
        skipped: Vec<String>,
    },
    /// Neither the target nor the environment names a user.
    #[error("no user to log in to {host} as")]
    NoUser {
        /// The host as given.
        host: String,
    },
    /// A step took too long.
    #[error("{step} with {address} took more than {seconds} s")]
    Timeout {
        /// Which one.
        step: Step,
        /// Address and port.
        address: String,
        /// The limit.
        seconds: u64,
    },
    /// The connection broke.
    #[error("the connection to {address} was lost during {step}: {reason}")]
    Lost {
        /// When.
        step: Step,
        /// Address and port.
        address: String,
        /// What is known about it, fit for a terminal.
        reason: String,
    },
}

fn refused(tried: &[String], typed: Option<Typed>) -> String {
    let keys = match tried {
        [] => None,
        [one] => Some(format!("the key {one}")),
        more => Some(format!("all {} keys: {}", more.len(), more.join(", "))),
    };
    match (typed, keys) {
        (None, None) => "the login".to_owned(),
        (None, Some(keys)) => keys,
        (Some(typed), None) => typed.to_string(),
        (Some(typed), Some(keys)) => format!("{typed}, and {keys}"),
    }
}

impl ConnectError {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Resolve { .. } => ErrorKind::Resolve,
            Self::Silent { .. } | Self::TurnedAway { .. } => ErrorKind::Silent,
            Self::Hop { source, .. } => source.kind(),
            Self::ProxyCommand { source, .. } => source.kind(),
            Self::Tcp { .. } | Self::Forward { .. } | Self::ProxyNotStarted { .. } => ErrorKind::Tcp,
            Self::NotSsh { .. } => ErrorKind::NotSsh,
            Self::KeyExchange { .. } | Self::NoAlgorithm { .. } => ErrorKind::KeyExchange,
            Self::HostKey(error) => error.kind(),
            Self::AuthRefused { .. } => ErrorKind::AuthRefused,
            Self::NoIdentity { .. } | Self::NoUser { .. } => ErrorKind::NoIdentity,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Lost { .. } => ErrorKind::Lost,
        }
    }

    /// At which step it failed.
    pub fn step(&self) -> Step {
        match self {
            Self::Resolve { .. } => Step::Resolve,
            Self::Tcp { .. } | Self::Forward { .. } | Self::ProxyNotStarted { .. } => Step::Tcp,
            Self::Silent { .. } | Self::NotSsh { .. } | Self::TurnedAway { .. } => Step::Banner,
            Self::Hop { source, .. } => source.step(),
            Self::ProxyCommand { source, .. } => source.step(),
            Self::KeyExchange { .. } | Self::NoAlgorithm { .. } => Step::KeyExchange,
            Self::HostKey(_) => Step::HostKey,
            Self::AuthRefused { .. } | Self::NoIdentity { .. } | Self::NoUser { .. } => Step::Authentication,
            Self::Timeout { step, .. } | Self::Lost { step, .. } => *step,
        }
    }

    /// Whether the server hung up before the login, as one does that is too busy.
    pub(crate) fn is_early_drop(&self) -> bool {
        match self {
            Self::Silent { waited: None, .. } | Self::Lost { step: Step::KeyExchange, .. } => true,
            Self::TurnedAway { said, .. } => said.contains("MaxStartups"),
            // One that complains of anything else, a refused login of its own before all, would only do so again.
            Self::ProxyCommand { words, source, .. } => {
                let is_of_a_server = |words: &String| CUT_OFF.iter().any(|cut| words.contains(cut));
                words.as_ref().is_none_or(is_of_a_server) && source.is_early_drop()
            }
            _ => false,
        }
    }

    /// Whether the connection broke during the login.
    pub(crate) fn is_lost_login(&self) -> bool {
        self.kind() == ErrorKind::Lost && self.step() == Step::Authentication
    }

    /// Whether what leads to the host is at fault, rather than the host.
    pub(crate) fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::NotSsh { .. } | Self::Lost { .. } | Self::Timeout { .. })
    }

    /// What to try, one line each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Resolve { host, .. } => {
                vec![format!("check the spelling of {host}, give an address, or a HostName in ~/.ssh/config")]
            }
            Self::Tcp { .. } => vec![
                "check the address and port, that the server is up, and that a firewall lets you in"
                    .to_owned(),
            ],
            Self::Silent { .. } => {
                vec![
                    "is sshd listening there? it says nothing too when it has too many logins in progress"
                        .to_owned(),
                ]
            }
            Self::NotSsh { .. } => vec!["is this the right port?".to_owned()],
            Self::TurnedAway { said, .. } if said.contains("MaxStartups") => vec![
                "others are logging in there too: try again, or raise MaxStartups in its sshd_config"
                    .to_owned(),
            ],
            Self::TurnedAway { .. } => vec![
                "too many failures came from this address (PerSourcePenalties): wait some minutes".to_owned(),
            ],
            Self::Hop { source, .. } => source.hints(),
            Self::Forward { hop, source: ForwardError::Unreachable { .. } } => {
                vec![format!("is the host up, and its sshd at that port? does a firewall let {hop} in?")]
            }
            Self::Forward { source, .. } => source.hints(),
            Self::ProxyNotStarted { .. } | Self::ProxyCommand { .. } => {
                vec!["try the command by hand; it stands in ~/.ssh/config".to_owned()]
            }
            Self::HostKey(error) => error.hints(),
            Self::AuthRefused { user, typed, skipped, methods, partial, .. } => {
                refused_hints(user, *typed, skipped, methods, *partial)
            }
            Self::NoIdentity { skipped, .. } => {
                let mut hints = skipped.clone();
                hints.push("name a key with --identity, or load one with ssh-add".to_owned());
                hints
            }
            Self::NoUser { .. } => vec!["write the host as USER@HOST".to_owned()],
            Self::Timeout { .. } => vec!["allow more with --timeout if the network is slow".to_owned()],
            Self::NoAlgorithm { host, setting } => vec![format!(
                "`ssh -G {host}` shows the list; let one of these in: {}",
                known_to_stdbctl(setting).join(", ")
            )],
            Self::KeyExchange { .. } | Self::Lost { .. } => Vec::new(),
        }
    }
}

fn refused_hints(
    user: &str,
    typed: Option<Typed>,
    skipped: &[String],
    methods: &[String],
    partial: bool,
) -> Vec<String> {
    let mut hints = skipped.to_vec();
    if partial {
        hints.push(format!("the server took one proof but wants a second one: {}", methods.join(" or ")));
    }
    if let Some(typed) = typed {
        hints.push(format!(
            "run again to type {typed} anew: it was tried once, which locks no account; is {user} the right user?"
        ));
    } else if methods.iter().any(|method| method == "publickey") {
        hints.push(format!(
            "is one of these keys in the authorized_keys of {user} on the host? is {user} the right user?"
        ));
    }
    let takes_keys = methods.iter().any(|method| method == "publickey");
    if !partial && methods.len() > usize::from(takes_keys) {
        let only = if takes_keys { "" } else { " no keys, only" };
        hints.push(format!("the server takes{only}: {}", methods.join(", ")));
    }
    hints
}

/// Why a command could not be run, or its ending not be learnt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The command cannot be sent.
    #[error("the command contains a NUL byte")]
    Nul,
    /// The server did not open a channel for it.
    #[error("the server opened no session for the command: {0}")]
    Channel(String),
    /// The server opened a channel and refused to run anything in it.
    #[error("the server refused to run a command")]
    Refused,
    /// The connection was lost before the command was sent.
    #[error("the connection is gone: {0}")]
    Gone(String),
    /// What should go to its standard input could not be read. The command was cut off from its input.
    #[error("cannot read what the command should be given")]
    Stdin(#[source] io::Error),
    /// The step took too long.
    #[error("{step} took more than {seconds} s")]
    Timeout {
        /// Which one.
        step: Step,
        /// The limit.
        seconds: u64,
    },
}

/// A private key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the key {}", .file.display())]
pub(crate) struct UnusableKey {
    pub(crate) file: PathBuf,
    #[source]
    pub(crate) source: Cause,
}

impl UnusableKey {
    /// There is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        let source = self.source.downcast_ref::<io::Error>();
        source.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}
