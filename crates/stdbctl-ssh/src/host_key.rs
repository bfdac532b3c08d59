//! Recognising the server: what its key or certificate must be, and what to do with one not seen before.

mod agreement;
mod error;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::Preferred;
use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};
use russh::keys::{Algorithm, Certificate, PublicKeyOrCertificate};
use tokio::task::spawn_blocking;

use self::agreement::is_of_type;
pub(crate) use self::agreement::{check_signature, type_of};
pub use self::error::HostKeyError;
use crate::algorithms::{AlgorithmRules, HostKeys, NoneLeft};
use crate::certificate::{CertificateFault, check_certificate};
use crate::client::Shared;
use crate::connect::{ConnectOptions, Recording};
use crate::host_key_update::HostKeyUpdate;
use crate::known_hosts::{KnownHosts, Place, Verdict, fingerprint, spelled};
use crate::known_hosts_file::{PATIENCE, remember};
use crate::known_hosts_update::Names;
use crate::observer::{Recognised, Trusted};
use crate::route::Route;
use crate::target::DEFAULT_PORT;

/// A host key that no file has on record, as it is shown to whoever decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyPrompt {
    /// The host as given.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The address that was connected to; none if something else leads there.
    pub address: Option<SocketAddr>,
    /// `ssh-ed25519`, for example.
    pub key_type: String,
    /// The key's fingerprint, `SHA256:...`.
    pub fingerprint: String,
}

/// Decides about an unknown host key; called on a thread where it may block.
pub type AskAboutKey = Arc<dyn Fn(&HostKeyPrompt) -> bool + Send + Sync>;

/// What to do with a host key that is on record nowhere.
#[derive(Clone, Default)]
pub enum UnknownKey {
    /// Refuse to connect.
    #[default]
    Refuse,
    /// Put it on record and go on.
    AcceptNew,
    /// Ask; put it on record if the answer is yes.
    Ask(AskAboutKey),
}

impl fmt::Debug for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "Refuse",
            Self::AcceptNew => "AcceptNew",
            Self::Ask(_) => "Ask",
        })
    }
}

/// On whose word a host was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The very key is on record for the very host in a file of the user's, or the user has just said so.
    OfUser,
    /// Something else vouches for it, or nobody does.
    Other,
}

/// Characters that would mean something else in a line of `known_hosts`.
const NOT_IN_NAMES: &str = "@?*#[]|'\"\\,";

/// Everything that decides about one host's key.
pub(crate) struct HostKeyCheck {
    /// The name that the key is on record for, and its port.
    host: String,
    port: u16,
    /// The host as given, its port and its address, for whoever is asked.
    given: (String, u16, Option<SocketAddr>),
    known: KnownHosts,
    /// Where an accepted key goes.
    file: Option<PathBuf>,
    unknown: UnknownKey,
    algorithms: Arc<AlgorithmRules>,
    required_rsa_size: u32,
    recording: Recording,
    /// The user's files and the machine's.
    files: (Vec<PathBuf>, Vec<PathBuf>),
    /// The host's address as it is on record, where it is.
    address: Option<String>,
}

impl HostKeyCheck {
    pub(crate) fn new(options: &ConnectOptions, address: Option<SocketAddr>) -> Result<Self, HostKeyError> {
        let files = [options.known_hosts.as_slice(), &options.global_known_hosts].concat();
        let known =
            KnownHosts::read(&files).map_err(|(file, source)| HostKeyError::Unreadable { file, source })?;
        let given = (options.target.host.clone(), options.target.port(), address);
        // As with OpenSSH: an alias stands for host and port.
        let (host, port) = match &options.host_key_alias {
            Some(alias) => (alias.clone(), DEFAULT_PORT),
            None => (options.host_name().to_owned(), given.1),
        };
        let file = options.known_hosts.first().cloned();
        Ok(Self {
            host,
            port,
            given,
            known,
            file,
            unknown: options.unknown_key.clone(),
            algorithms: Arc::clone(&options.algorithms),
            required_rsa_size: options.required_rsa_size,
            recording: options.recording,
            files: (options.known_hosts.clone(), options.global_known_hosts.clone()),
            address: address_on_record(options, address),
        })
    }

    /// What is offered to the server. The key types on record for the host come first: a server that shows another
    /// of its keys would look like a new host.
    ///
    /// # Errors
    /// If the configuration leaves nothing to offer.
    pub(crate) fn preferred(&self) -> Result<Preferred, NoneLeft> {
        let recorded = self.known.key_types(&self.host, self.port);
        let is_recorded = |algorithm: &Algorithm| recorded.iter().any(|known| is_of_type(algorithm, known));
        let HostKeys { plain, certified, is_ordered } = self.algorithms.host_keys()?;
        let known_first = |algorithms: Vec<Algorithm>| {
            let (mut first, rest): (Vec<_>, Vec<_>) =
                algorithms.into_iter().partition(|algorithm| is_ordered || is_recorded(algorithm));
            first.extend(rest);
            first
        };
        let trusts_authority = !self.known.authorities(&self.host, self.port).is_empty();
        let wants_certificates = trusts_authority || plain.is_empty();
        let host_key_certificates = if wants_certificates { known_first(certified) } else { Vec::new() };
        Ok(Preferred {
            key: known_first(plain).into(),
            host_key_certificates: host_key_certificates.into(),
            ..self.algorithms.offered()?
        })
    }

    /// Whether the server is who it should be.
    pub(crate) async fn check(
        &self,
        shown: &PublicKeyOrCertificate,
        shared: &Shared,
    ) -> Result<Trust, HostKeyError> {
        self.check_type(shown)?;
        let Some(certificate) = shown.certificate() else {
            let key = shown.public_key();
            self.check_size(key.key_data())?;
            return self.check_key(key.key_data(), shared).await;
        };
        self.check_size(certificate.public_key())?;
        for key in [certificate.public_key(), certificate.signature_key()] {
            if let Some(place) = self.known.revoked(&self.host, self.port, key) {
                return Err(self.revoked(key, place));
            }
        }
        let Err(fault) = self.check_vouched(certificate) else { return Ok(Trust::Other) };
        // As with OpenSSH: a certificate that is good for nothing takes nothing from the key in it.
        match self.known.check(&self.host, self.port, certificate.public_key()) {
            Verdict::Known => {
                let key = certificate.public_key();
                self.check_address(key).map(|()| self.trust(key))
            }
            Verdict::Changed(place) => Err(self.changed(certificate.public_key(), place)),
            _ => Err(self.bad_certificate(fault)),
        }
    }

    /// russh takes whatever the server shows: whether its type is one of those that were asked for is seen here.
    fn check_type(&self, shown: &PublicKeyOrCertificate) -> Result<(), HostKeyError> {
        let algorithm = type_of(shown);
        let is_listed = self.algorithms.host_keys().is_ok_and(|HostKeys { plain, certified, .. }| {
            let listed = if shown.certificate().is_some() { certified } else { plain };
            listed.iter().any(|listed| is_of_type(listed, &algorithm))
        });
        if is_listed { Ok(()) } else { Err(self.other_type(&algorithm)) }
    }

    /// Whether the key that was shown is of the type that the two sides have agreed on.
    pub(crate) fn check_agreed(&self, agreed: &Algorithm, shown: &Algorithm) -> Result<(), HostKeyError> {
        if is_of_type(agreed, shown) { Ok(()) } else { Err(self.other_type(shown)) }
    }

    fn other_type(&self, shown: &Algorithm) -> HostKeyError {
        HostKeyError::OtherType { host: self.given.0.clone(), key_type: shown.to_string() }
    }

    /// As with OpenSSH where `CheckHostIP` is on: another key on record for the address is a change too.
    fn check_address(&self, key: &KeyData) -> Result<(), HostKeyError> {
        let Some(address) = &self.address else { return Ok(()) };
        match self.known.compare(address, key) {
            Verdict::Changed(place) => Err(changed(address.clone(), key, place)),
            _ => Ok(()),
        }
    }

    /// Why what has passed [`HostKeyCheck::check`] is trusted.
    pub(crate) fn recognised(&self, shown: &PublicKeyOrCertificate) -> Recognised {
        let certificate = shown.certificate();
        let key =
            certificate.map_or_else(|| shown.public_key().key_data().clone(), |c| c.public_key().clone());
        let vouched = certificate.filter(|certificate| self.check_vouched(certificate).is_ok());
        let vouched = vouched.map(Certificate::signature_key);
        let trusted = match (vouched, self.known.recorded(&self.host, self.port, &key)) {
            (Some(authority), _) => self.known.authority(&self.host, self.port, authority).map(|place| {
                Trusted::Vouched { authority: place.fingerprint, file: place.file, line: place.line }
            }),
            (None, place) => place.map(|Place { file, line, .. }| Trusted::Recorded { file, line }),
        };
        Recognised {
            key_type: key.algorithm().to_string(),
            fingerprint: fingerprint(&key),
            by_certificate: certificate.is_some(),
            trusted: trusted.unwrap_or_else(|| Trusted::Accepted { file: self.file.clone() }),
        }
    }

    fn check_size(&self, key: &KeyData) -> Result<(), HostKeyError> {
        match key.rsa().map(RsaPublicKey::key_size) {
            Some(bits) if bits < self.required_rsa_size => Err(HostKeyError::TooShort {
                host: self.given.0.clone(),
                bits,
                required: self.required_rsa_size,
            }),
            _ => Ok(()),
        }
    }

    /// Whether an authority that is trusted vouches for this host, now.
    fn check_vouched(&self, certificate: &Certificate) -> Result<(), CertificateFault> {
        let authority = certificate.signature_key();
        if !self.known.authorities(&self.host, self.port).contains(&authority) {
            return Err(CertificateFault::UnknownAuthority { authority: fingerprint(authority) });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        check_certificate(certificate, &self.host, now)?;
        let signed_with = certificate.signature().algorithm().to_string();
        match &self.algorithms.ca_signature {
            Some(list) if !list.allows(&signed_with) => {
                Err(CertificateFault::SignatureAlgorithm { algorithm: signed_with })
            }
            _ => Ok(()),
        }
    }

    async fn check_key(&self, key: &KeyData, shared: &Shared) -> Result<Trust, HostKeyError> {
        match self.known.check(&self.host, self.port, key) {
            Verdict::Known => self.check_address(key).map(|()| self.trust(key)),
            Verdict::Changed(place) => Err(self.changed(key, place)),
            Verdict::Revoked(place) => Err(self.revoked(key, place)),
            Verdict::Unknown => {
                self.check_address(key)?;
                self.decide(key, shared).await
            }
        }
    }

    async fn decide(&self, key: &KeyData, shared: &Shared) -> Result<Trust, HostKeyError> {
        let prompt = Box::new(HostKeyPrompt {
            host: self.given.0.clone(),
            port: self.given.1,
            address: self.given.2,
            key_type: key.algorithm().to_string(),
            fingerprint: fingerprint(key),
        });
        let accepted = match &self.unknown {
            UnknownKey::Refuse => false,
            UnknownKey::AcceptNew => true,
            UnknownKey::Ask(ask) => {
                let (ask, prompt) = (Arc::clone(ask), prompt.clone());
                shared.asking(spawn_blocking(move || ask(&prompt))).await.unwrap_or(false)
            }
        };
        if !accepted {
            return Err(HostKeyError::Unknown(prompt));
        }
        let trust = match &self.unknown {
            UnknownKey::Ask(_) => Trust::OfUser,
            UnknownKey::Refuse | UnknownKey::AcceptNew => Trust::Other,
        };
        self.remember(key).await.map(|()| trust)
    }

    /// Puts a key on record. On a thread of its own: others may have the file's lock.
    async fn remember(&self, key: &KeyData) -> Result<(), HostKeyError> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let (name, key, is_hashed) = (spelled(&self.host, self.port), key.clone(), self.recording.hash_names);
        let to = file.clone();
        let remembered = spawn_blocking(move || remember(&to, &name, &key, is_hashed, PATIENCE)).await;
        let remembered = remembered.map_err(io::Error::other).flatten();
        remembered.map_err(|source| HostKeyError::NotSaved { file, source })
    }

    /// As whose a key on record counts: not the user's where the machine's files have it, or only the name without
    /// its port.
    fn trust(&self, key: &KeyData) -> Trust {
        let is_users = |name: &str| match self.known.file_with(name, key) {
            Some(file) => !self.files.1.iter().any(|global| global == file),
            None => false,
        };
        let is_of_machine = |name: &String| self.known.file_with(name, key).is_some() && !is_users(name);
        if is_users(&spelled(&self.host, self.port)) && !self.address.as_ref().is_some_and(is_of_machine) {
            Trust::OfUser
        } else {
            Trust::Other
        }
    }

    /// How the user's files are to follow the host, if they are.
    pub(crate) fn update(&self) -> Option<HostKeyUpdate> {
        let is_plain = !self.host.contains(|c: char| NOT_IN_NAMES.contains(c) || c.is_whitespace());
        (self.recording.follow_changes && is_plain && !self.files.0.is_empty()).then(|| HostKeyUpdate {
            names: Names { host: spelled(&self.host, self.port), address: self.address.clone() },
            files: self.files.0.clone(),
            hash_names: self.recording.hash_names,
            algorithms: Arc::clone(&self.algorithms),
            required_rsa_size: self.required_rsa_size,
        })
    }

    fn changed(&self, key: &KeyData, place: Place) -> HostKeyError {
        changed(spelled(&self.host, self.port), key, place)
    }

    fn revoked(&self, key: &KeyData, place: Place) -> HostKeyError {
        HostKeyError::Revoked {
            host: spelled(&self.host, self.port),
            offered: fingerprint(key),
            file: place.file,
            line: place.line,
        }
    }

    fn bad_certificate(&self, source: CertificateFault) -> HostKeyError {
        HostKeyError::Certificate { host: self.host.clone(), source }
    }
}

/// The host's address as it is on record where `CheckHostIP` is on: as with OpenSSH, never this machine's own, nor
/// one that stands for something else that leads there.
fn address_on_record(options: &ConnectOptions, address: Option<SocketAddr>) -> Option<String> {
    let address =
        address.filter(|_| options.recording.with_address && matches!(options.route, Route::Direct))?;
    let ip = address.ip().to_string();
    (!address.ip().is_loopback() && ip != options.host_name()).then(|| spelled(&ip, address.port()))
}

fn changed(host: String, key: &KeyData, Place { file, line, fingerprint: recorded }: Place) -> HostKeyError {
    HostKeyError::Changed { host, offered: fingerprint(key), recorded, file, line }
}

#[cfg(test)]
#[path = "host_key_tests.rs"]
mod tests;
