//! Setting up a connection, step by step, each with a deadline.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::SshId;
use russh::client::{self, Config, Handle};
use russh::keys::PublicKey;
use russh::keys::agent::AgentSessionBinding;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::algorithms::{AlgorithmRules, NoneLeft};
use crate::auth::Login;
use crate::client::{Client, ClientError, Shared, describe};
use crate::count::{CountedStream, Counter, Cutter, Stream};
use crate::error::{ConnectError, Step};
use crate::hops::{Hops, Reached};
use crate::host_key::{HostKeyCheck, UnknownKey, check_signature};
use crate::host_key_update::HostKeyUpdate;
use crate::identity::Identities;
use crate::keyring::Keyring;
use crate::observer::{Observation, Observer};
use crate::printable::printable;
use crate::rekey::RekeyLimit;
use crate::route::{Route, Way};
use crate::session::Session;
use crate::ssh_config::tokens::{Tokens, local_host, local_user};
use crate::ssh_config::{AddressFamily, Authentication, Method, Origin};
use crate::target::Target;

/// What a command may have sent that has not been taken yet. Sixteen MiB fill a fast line over a long distance.
const WINDOW: u32 = 16 << 20;
/// Messages per channel between russh's task and ours, of up to 32 KiB each.
const MESSAGES_PER_CHANNEL: usize = 32;
/// As in OpenSSH.
const REQUIRED_RSA_SIZE: u32 = 1024;
/// Unanswered keep-alives before the server counts as gone.
const KEEP_ALIVES: usize = 3;
/// How many times a server that is too busy is tried again. `ufw limit` refuses an address its sixth connection within
/// 30 s: the first one, these, and the fresh one that proves a change of the firewall stay below.
const RETRIES: u32 = 3;
/// How long such a server is left alone, the first time; then three times as long each time, so that one that drops
/// some of a crowd, as most do, has seen it off.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const GLOBAL_KNOWN_HOSTS: [&str; 2] = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
/// What sshd says in place of its banner to whom it does not let in: too many at once, or too many failures.
const TURNED_AWAY: [&str; 2] = ["Exceeded MaxStartups", "Not allowed at this time"];

/// How to connect, and to what.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// User, host and port as given; messages name the host by it.
    pub target: Target,
    /// The name or address to connect to in place of the target's host. The host key is looked for by it too.
    pub host_name: Option<String>,
    /// The user where the target names none.
    pub user: Option<String>,
    /// Private key files to offer first, named for this run: one that is missing is worth a word.
    pub identity_files: Vec<PathBuf>,
    /// Private key files to offer then, passed over where they are missing. None if nothing is configured: the
    /// usual ones in `~/.ssh` are offered then, after the agent's, unless `identity_files` names others.
    pub configured_identities: Option<Vec<PathBuf>>,
    /// Certificates, to be offered with the keys they are for. A key file's own, `KEY-cert.pub`, needs no naming.
    pub certificate_files: Vec<PathBuf>,
    /// Offer keys of the agent only if a key file or certificate above is the same.
    pub identities_only: bool,
    /// The ssh-agent's socket; none to use no agent.
    pub agent_socket: Option<PathBuf>,
    /// How this side may prove who it is.
    pub authentication: Authentication,
    /// Whom to ask for passphrases and passwords, and what is known of them. Shared by all connections of a run.
    pub keyring: Keyring,
    /// The user's files with known host keys. New ones are added to the first.
    pub known_hosts: Vec<PathBuf>,
    /// The machine's files with known host keys.
    pub global_known_hosts: Vec<PathBuf>,
    /// The name that the host key is on record for, in place of host and port.
    pub host_key_alias: Option<String>,
    /// How the user's files are written.
    pub recording: Recording,
    /// What to do with a host key that is in none of them.
    pub unknown_key: UnknownKey,
    /// Which key the host took is put on record, if the keyring has one.
    pub learns_key: bool,
    /// Which algorithms may be used.
    pub algorithms: Arc<AlgorithmRules>,
    /// The fewest bits that an RSA key may have.
    pub required_rsa_size: u32,
    /// How long each step may take.
    pub connect_timeout: Duration,
    /// How long the line may be quiet before the server is asked whether it is still there. The connection
    /// counts as lost after four times as long without a sign of life.
    pub keep_alive: Duration,
    /// When this side exchanges keys anew.
    pub rekey_limit: RekeyLimit,
    /// Connect to this address instead of looking the host's name up. The name still decides about the host key.
    pub address: Option<IpAddr>,
    /// Which kind of address is connected to.
    pub address_family: AddressFamily,
    /// The local name or address to connect from.
    pub bind_address: Option<String>,
    /// What leads there.
    pub route: Route,
    /// How many times a server that hangs up before the login, being too busy, is tried again. Not longer than a
    /// step may take.
    pub retries: u32,
    /// What is shared with other connections.
    pub hops: Hops,
    /// Who has read the configuration that the rest is from; of no other consequence.
    pub configuration: Origin,
    /// Who is told what happens on the way. Hosts on the way have observers of their own.
    pub observer: Observer,
}

/// How the user's files with known host keys are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recording {
    /// Names of hosts are hashed in lines that are added.
    pub hash_names: bool,
    /// The files follow a known host that changes its keys.
    pub follow_changes: bool,
    /// A host's address is on record beside its name, and follows too.
    pub with_address: bool,
}

impl ConnectOptions {
    /// The defaults for a target, from the environment: `USER`, `SSH_AUTH_SOCK`, and the usual files. No
    /// configuration is read: that is for [`SshConfig::options`](crate::ssh_config::SshConfig::options).
    pub fn new(target: Target) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = std::env::home_dir();
        let of_user = |name| home.as_ref().map(|home| home.join(".ssh").join(name));
        Self {
            target,
            host_name: None,
            user: Some(local_user()).filter(|user| !user.is_empty()),
            identity_files: Vec::new(),
            configured_identities: None,
            certificate_files: Vec::new(),
            identities_only: false,
            agent_socket: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            authentication: Authentication::default(),
            keyring: Keyring::default(),
            known_hosts: ["known_hosts", "known_hosts2"].into_iter().filter_map(of_user).collect(),
            global_known_hosts: GLOBAL_KNOWN_HOSTS.map(PathBuf::from).to_vec(),
            host_key_alias: None,
            recording: Recording::default(),
            unknown_key: UnknownKey::Refuse,
            learns_key: true,
            algorithms: Arc::default(),
            required_rsa_size: REQUIRED_RSA_SIZE,
            connect_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(15),
            rekey_limit: RekeyLimit::default(),
            address: None,
            address_family: AddressFamily::Any,
            bind_address: None,
            route: Route::Direct,
            retries: RETRIES,
            hops: Hops::default(),
            configuration: Origin::default(),
            observer: Observer::default(),
        }
    }

    /// What is connected to, by name.
    pub(crate) fn host_name(&self) -> &str {
        self.host_name.as_deref().unwrap_or(&self.target.host)
    }

    /// The host as given, and what leads there, for messages.
    pub(crate) fn place(&self) -> String {
        let host = &self.target.host;
        match &self.route {
            Route::Direct => host.clone(),
            Route::Through(hop) => format!("{host} through {}", hop.target.host),
            Route::Command(_) => format!("{host} through its ProxyCommand"),
        }
    }

    /// Why a person cannot be asked to help with the login. None if one can.
    pub(crate) fn why_silent(&self) -> Option<&'static str> {
        if self.authentication.batch {
            return Some("BatchMode lets nobody be asked for it");
        }
        if !self.authentication.may_ask() {
            return Some("NumberOfPasswordPrompts lets nobody be asked for it");
        }
        (!self.keyring.can_ask()).then_some("nobody can be asked for it here")
    }

    pub(crate) fn can_ask(&self) -> bool {
        self.why_silent().is_none()
    }

    /// Whether a login without any key may succeed.
    fn can_type(&self) -> bool {
        let typed = [Method::Password, Method::KeyboardInteractive];
        self.can_ask() && typed.into_iter().any(|method| self.authentication.allows(method))
    }

    /// Why a person was not asked for a password that a server with these methods would take.
    pub(crate) fn why_not_asked(&self, methods: &[String]) -> Option<String> {
        let typed = [Method::Password, Method::KeyboardInteractive];
        let would = typed.into_iter().find(|method| methods.iter().any(|name| name == method.name()))?;
        let why = match self.why_silent() {
            Some(why) => why,
            None if typed.iter().any(|method| self.authentication.allows(*method)) => return None,
            None => "the ssh configuration turns that off",
        };
        Some(format!("the server would also take a {}, but {why}", would.noun()))
    }

    pub(crate) fn tokens(&self) -> Tokens {
        let typed = self.target.host.clone();
        Tokens {
            home: std::env::home_dir().unwrap_or_default(),
            host_name: self
                .address
                .map_or_else(|| self.host_name().to_owned(), |address| address.to_string()),
            port: self.target.port(),
            remote_user: self.target.user.clone().or_else(|| self.user.clone()).unwrap_or_default(),
            local_user: local_user(),
            local_host: local_host(),
            alias: self.host_key_alias.clone().unwrap_or_else(|| typed.clone()),
            typed,
        }
    }
}

/// Connects and logs in.
///
/// Nothing is sent before there is a key to log in with, or a person to ask, and nothing but the key exchange before the host
/// key has been recognised. Hosts on the way are connected to first, once for all that share `options.hops`.
pub async fn connect(options: ConnectOptions) -> Result<Session, ConnectError> {
    let host = options.target.host.clone();
    let user = options.target.user.clone().or_else(|| options.user.clone());
    let user = user.ok_or_else(|| ConnectError::NoUser { host: host.clone() })?;
    let identities = Identities::gather(&options, &user).await;
    options.observer.tell(|| identities.observed());
    if identities.offered.is_empty() && !options.can_type() {
        return Err(ConnectError::NoIdentity { user, host, skipped: identities.skipped });
    }
    let hop = match &options.route {
        Route::Through(hop) => Some(options.hops.reach(hop).await?),
        Route::Direct | Route::Command(_) => None,
    };
    let (mut pauses, mut kept_waiting) = (Pauses::new(&options), 0);
    loop {
        let turn = options.hops.turn(&options).await;
        let mut asked = false;
        match log_in(&options, &user, &identities, hop.as_ref(), &mut asked).await {
            Ok(line) => return Ok(Session::new(line, options.connect_timeout, hop)),
            // The server did not wait for as long as the person took. What was typed is known now.
            Err(error) if asked && kept_waiting < 1 && error.is_lost_login() => {
                tracing::debug!(host, %error, "kept waiting");
                kept_waiting += 1;
            }
            Err(error) => {
                let Some(pause) = pauses.next(&error) else { return Err(error) };
                drop(turn);
                tracing::debug!(host, %error, ?pause, "turned away");
                options.observer.tell(|| Observation::TurnedAway { why: error.to_string(), pause });
                sleep(pause).await;
            }
        }
    }
}

/// How long to wait before each new try at a server that is too busy.
struct Pauses {
    left: u32,
    next: Duration,
    /// When all tries must be over; not known before the first has failed.
    end: Option<Instant>,
    patience: Duration,
}

impl Pauses {
    fn new(options: &ConnectOptions) -> Self {
        Self { left: options.retries, next: FIRST_PAUSE, end: None, patience: options.connect_timeout }
    }

    /// None if there is no use in trying again.
    fn next(&mut self, error: &ConnectError) -> Option<Duration> {
        self.left = error.is_early_drop().then_some(self.left)?.checked_sub(1)?;
        // Up to half as much more or less: those turned away together do not come back together.
        let pause = self.next.mul_f64(0.5 + f64::from(random()) / f64::from(u32::MAX));
        self.next *= 3;
        let end = *self.end.get_or_insert_with(|| Instant::now() + self.patience);
        (Instant::now() + pause < end).then_some(pause)
    }
}

/// A number that need not be hard to guess.
pub(crate) fn random() -> u32 {
    let bytes = RandomState::new().build_hasher().finish().to_le_bytes();
    let [a, b, c, d, ..] = bytes;
    u32::from_le_bytes([a, b, c, d])
}

/// Whether a person was `asked` something meanwhile is known at the end, whatever that is.
async fn log_in(
    options: &ConnectOptions,
    user: &str,
    identities: &Identities,
    hop: Option<&Reached>,
    asked: &mut bool,
) -> Result<Line, ConnectError> {
    let Way { stream, place, address, words } = Way::find(options, hop).await?;
    tracing::debug!(place, "connected");
    options.observer.tell(|| Observation::Connected { address });
    let line = async {
        let mut line = agree(options, stream, &place, address).await?;
        let login = Login::new(&mut line, options, user, &place);
        let taken = login.run(identities).await;
        *asked = line.shared.has_asked();
        let taken = taken?;
        if let (Some(last_keys), Some(taken)) = (options.keyring.last_keys(), taken)
            && options.learns_key
        {
            last_keys.learn(&identities.known, taken).await;
        }
        Ok::<_, ConnectError>(line)
    };
    let line = match (line.await, words) {
        (Err(error), Some(words)) if error.is_of_the_way() => {
            let host = options.target.host.clone();
            let (words, source) = (words.last_line().await, Box::new(error));
            return Err(ConnectError::ProxyCommand { host, words, source });
        }
        (line, _) => line?,
    };
    line.counter.end_login();
    let stats = line.counter.stats();
    tracing::debug!(place, user, ?stats, "logged in");
    options.observer.tell(|| Observation::LoggedIn { stats });
    Ok(line)
}

/// A connection whose server is known, before or after the login.
pub(crate) struct Line {
    pub(crate) handle: Handle<Client>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counter: Arc<Counter>,
    pub(crate) cutter: Cutter,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) update: Option<Update>,
}

/// What is to follow the server's keys, and the list of them once it comes.
pub(crate) type Update = (HostKeyUpdate, oneshot::Receiver<Vec<PublicKey>>);

async fn agree(
    options: &ConnectOptions,
    stream: Box<dyn Stream>,
    place: &str,
    address: Option<SocketAddr>,
) -> Result<Line, ConnectError> {
    let check = HostKeyCheck::new(options, address)?;
    let config = Arc::new(Config {
        client_id: SshId::Standard(concat!("SSH-2.0-stdbctl_", env!("CARGO_PKG_VERSION")).into()),
        preferred: check.preferred().map_err(|none| none_left(options, none))?,
        window_size: WINDOW,
        channel_buffer_size: MESSAGES_PER_CHANNEL,
        limits: options.rekey_limit.limits(),
        keepalive_interval: Some(options.keep_alive),
        keepalive_max: KEEP_ALIVES,
        ..Config::default()
    });
    let longest_stall = options.keep_alive.saturating_mul(4);
    let (stream, counter, cutter) = CountedStream::new(stream, longest_stall, options.observer.clone());
    let shared = Arc::new(Shared::default());
    let (announce, announced) = oneshot::channel();
    let update = check.update();
    let announce = update.is_some().then_some(announce);
    let observer = options.observer.clone();
    let client = Client { check, shown: None, shared: Arc::clone(&shared), observer, announce };
    let agreeing = client::connect_stream(config, stream, client);
    let failure = match shared.within(options.connect_timeout, agreeing).await {
        Ok(Ok(handle)) => {
            let signature = handle.agent_session_binding().map_or(&[][..], AgentSessionBinding::signature);
            check_signature(&options.target.host, shared.agreed(), signature)?;
            let update = update.map(|update| (update, announced));
            return Ok(Line { handle, shared, counter, cutter, address, update });
        }
        Ok(Err(ClientError::HostKey(error))) => return Err(error.into()),
        Ok(Err(ClientError::Ssh(error))) => Some(error),
        // russh reads of channels only after the login.
        Ok(Err(ClientError::Uninvited)) => Some(russh::Error::Inconsistent),
        Err(_) => None,
    };
    Err(explain(failure, &counter, &shared, place, options.connect_timeout))
}

fn none_left(options: &ConnectOptions, NoneLeft(setting): NoneLeft) -> ConnectError {
    ConnectError::NoAlgorithm { host: options.target.host.clone(), setting }
}

/// Why the two sides did not come to terms: russh's error alone does not tell, the server's first words do.
fn explain(
    failure: Option<russh::Error>,
    counter: &Counter,
    shared: &Shared,
    place: &str,
    patience: Duration,
) -> ConnectError {
    let address = place.to_owned();
    let seconds = patience.as_secs();
    let opening = counter.opening();
    if opening.is_empty() {
        return ConnectError::Silent { address, waited: failure.is_none().then_some(seconds) };
    }
    let speaks_ssh = |line: &[u8]| line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-");
    if !opening.split(|byte| *byte == b'\n').any(speaks_ssh) {
        let said = printable(opening);
        return if TURNED_AWAY.iter().any(|words| said.starts_with(words)) {
            ConnectError::TurnedAway { address, said }
        } else {
            ConnectError::NotSsh { address, said }
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// From how many connections of one address on `ufw limit` refuses them.
    const UFW_REFUSES: usize = 6;
    const UFW_COUNTS: Duration = Duration::from_secs(30);

    #[test]
    fn a_host_that_limits_connections_is_never_tried_so_often() {
        let target: Target = "ada@web1".parse().unwrap();
        let busy = ConnectError::Silent { address: "web1".to_owned(), waited: None };
        for _ in 0..100 {
            let mut options = ConnectOptions::new(target.clone());
            options.connect_timeout = Duration::from_secs(3600);
            let mut pauses = Pauses::new(&options);
            let mut tries = vec![Duration::ZERO];
            let mut now = Duration::ZERO;
            while let Some(pause) = pauses.next(&busy) {
                now += pause;
                tries.push(now);
            }
            assert!(tries.len() > 2, "it is tried again");
            // The one that proves that new connections get in.
            tries.push(now);
            let close = |tries: &[Duration]| tries[UFW_REFUSES - 1] < tries[0] + UFW_COUNTS;
            assert!(!tries.windows(UFW_REFUSES).any(close), "{tries:?}");
        }
    }
}
