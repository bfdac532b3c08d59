//! Setting up a connection, step by step, each with a deadline.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::SshId;
use russh::client::{self, Config, Handle};
use tokio::net::TcpStream;

use crate::auth::Login;
use crate::client::{Client, ClientError, Shared, describe};
use crate::count::{CountedStream, Counter, Cutter};
use crate::error::{ConnectError, Step};
use crate::host_key::{HostKeyCheck, UnknownKey};
use crate::identity::Identities;
use crate::printable::printable;
use crate::session::Session;
use crate::target::Target;
use crate::tcp::dial;

/// What a command may have sent that has not been taken yet. Sixteen MiB fill a fast line over a long distance.
const WINDOW: u32 = 16 << 20;
/// Messages per channel between russh's task and ours, of up to 32 KiB each.
const MESSAGES_PER_CHANNEL: usize = 32;
/// Unanswered keep-alives before the server counts as gone.
const KEEP_ALIVES: usize = 3;

/// How to connect, and to what.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// User, host and port. Without a user: `user` below.
    pub target: Target,
    /// The user where the target names none.
    pub user: Option<String>,
    /// Private key files to offer first; if empty, the usual ones in `~/.ssh`, after the agent's.
    pub identity_files: Vec<PathBuf>,
    /// The ssh-agent's socket; none to use no agent.
    pub agent_socket: Option<PathBuf>,
    /// Files with known host keys. New ones are added to the first.
    pub known_hosts: Vec<PathBuf>,
    /// What to do with a host key that is in none of them.
    pub unknown_key: UnknownKey,
    /// How long each step may take.
    pub connect_timeout: Duration,
    /// How long the line may be quiet before the server is asked whether it is still there. The connection
    /// counts as lost after four times as long without a sign of life.
    pub keep_alive: Duration,
    /// Connect to this address instead of looking the host's name up. The name still decides about the host key.
    pub address: Option<IpAddr>,
}

impl ConnectOptions {
    /// The defaults for a target, from the environment: `USER`, `SSH_AUTH_SOCK`, and the usual files.
    pub fn new(target: Target) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let user = variable("USER").or_else(|| variable("LOGNAME"));
        let mut known_hosts = vec![PathBuf::from("/etc/ssh/ssh_known_hosts")];
        if let Some(home) = std::env::home_dir() {
            known_hosts.insert(0, home.join(".ssh/known_hosts"));
        }
        Self {
            target,
            user: user.and_then(|user| user.into_string().ok()),
            identity_files: Vec::new(),
            agent_socket: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            known_hosts,
            unknown_key: UnknownKey::Refuse,
            connect_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(15),
            address: None,
        }
    }
}

/// Connects and logs in.
///
/// Nothing is sent before a key to log in with has been found, and nothing but the key exchange before the host
/// key has been recognised.
pub async fn connect(options: ConnectOptions) -> Result<Session, ConnectError> {
    let host = options.target.host.clone();
    let user = options.target.user.clone().or_else(|| options.user.clone());
    let user = user.ok_or_else(|| ConnectError::NoUser { host: host.clone() })?;
    let identities = Identities::gather(&options.identity_files, options.agent_socket.as_deref()).await;
    if identities.offered.is_empty() {
        return Err(ConnectError::NoIdentity { user, host, skipped: identities.skipped });
    }
    let patience = options.connect_timeout;
    let (stream, peer) = dial(&options.target, options.address, patience).await?;
    tracing::debug!(%peer, host, "connected");
    let mut line = agree(&options, stream, peer).await?;
    let login = Login {
        handle: &mut line.handle,
        shared: Arc::clone(&line.shared),
        agent: options.agent_socket.as_deref(),
        user: &user,
        host: &host,
        address: peer.to_string(),
        patience,
    };
    login.run(identities).await?;
    tracing::debug!(%peer, user, stats = ?line.counter.stats(), "logged in");
    Ok(Session::new(line, peer, patience))
}

/// A connection whose server is known, before or after the login.
pub(crate) struct Line {
    pub(crate) handle: Handle<Client>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counter: Arc<Counter>,
    pub(crate) cutter: Cutter,
}

async fn agree(options: &ConnectOptions, stream: TcpStream, peer: SocketAddr) -> Result<Line, ConnectError> {
    let target = &options.target;
    let check = HostKeyCheck::new(
        &target.host,
        target.port(),
        peer,
        &options.known_hosts,
        options.unknown_key.clone(),
    )?;
    let config = Arc::new(Config {
        client_id: SshId::Standard(concat!("SSH-2.0-stdbctl_", env!("CARGO_PKG_VERSION")).into()),
        preferred: check.preferred(),
        window_size: WINDOW,
        channel_buffer_size: MESSAGES_PER_CHANNEL,
        keepalive_interval: Some(options.keep_alive),
        keepalive_max: KEEP_ALIVES,
        ..Config::default()
    });
    let longest_stall = options.keep_alive.saturating_mul(4);
    let (stream, counter, cutter) = CountedStream::new(stream, longest_stall);
    let shared = Arc::new(Shared::default());
    let client = Client { check, shared: Arc::clone(&shared) };
    let agreeing = client::connect_stream(config, stream, client);
    let failure = match shared.within(options.connect_timeout, agreeing).await {
        Ok(Ok(handle)) => return Ok(Line { handle, shared, counter, cutter }),
        Ok(Err(ClientError::HostKey(error))) => return Err(error.into()),
        Ok(Err(ClientError::Ssh(error))) => Some(error),
        Err(_) => None,
    };
    Err(explain(failure, &counter, &shared, peer, options.connect_timeout))
}

/// Why the two sides did not come to terms: russh's error alone does not tell, the server's first words do.
fn explain(
    failure: Option<russh::Error>,
    counter: &Counter,
    shared: &Shared,
    peer: SocketAddr,
    patience: Duration,
) -> ConnectError {
    let address = peer.to_string();
    let seconds = patience.as_secs();
    let opening = counter.opening();
    if opening.is_empty() {
        return ConnectError::Silent { address, waited: failure.is_none().then_some(seconds) };
    }
    let speaks_ssh = |line: &[u8]| line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-");
    if !opening.split(|byte| *byte == b'\n').any(speaks_ssh) {
        return ConnectError::NotSsh { address, said: printable(opening) };
    }
    match failure {
        None => ConnectError::Timeout { step: Step::KeyExchange, address, seconds },
        Some(russh::Error::IO(_) | russh::Error::Disconnect | russh::Error::HUP)
            if shared.ended().is_some() =>
        {
            ConnectError::Lost { step: Step::KeyExchange, address, reason: shared.reason() }
        }
        Some(error @ (russh::Error::IO(_) | russh::Error::Disconnect | russh::Error::HUP)) => {
            ConnectError::Lost { step: Step::KeyExchange, address, reason: describe(&error) }
        }
        Some(error) => ConnectError::KeyExchange { address, source: error.into() },
    }
}
