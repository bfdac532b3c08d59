//! Recognising the server: what its key or certificate must be, and what to do with one not seen before.

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

use crate::algorithms::{AlgorithmRules, HostKeys, NoneLeft};
use crate::certificate::{CertificateFault, check_certificate};
use crate::client::Shared;
use crate::connect::{ConnectOptions, Recording};
use crate::error::ErrorKind;
use crate::host_key_update::HostKeyUpdate;
use crate::known_hosts::{KnownHosts, Place, Verdict, fingerprint, spelled};
use crate::known_hosts_file::{PATIENCE, remember};
use crate::known_hosts_update::Names;
use crate::observer::{Recognised, Trusted};
use crate::printable::printable;
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

/// Why the server's key was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// It is on record nowhere.
    #[error("the host key of {} is not known: {} {}", .0.host, .0.key_type, .0.fingerprint)]
    Unknown(Box<HostKeyPrompt>),
    /// Another key is on record.
    #[error("the host key of {host} has changed: it is now {offered}, but line {line} of {} has {recorded}", .file.display())]
    Changed {
        /// The host as `known_hosts` spells it.
        host: String,
        /// The fingerprint of the key the server has shown.
        offered: String,
        /// The fingerprint of the key on record.
        recorded: String,
        /// The file that has it.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
    },
    /// It is marked as revoked.
    #[error("the host key of {host}, {offered}, is revoked by line {line} of {}", .file.display())]
    Revoked {
        /// The host as `known_hosts` spells it.
        host: String,
        /// The fingerprint of the revoked key: the host's, or that of the authority behind its certificate.
        offered: String,
        /// The file that says so.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
    },
    /// It is a certificate that is not good for this host.
    #[error("the certificate of {host} is not accepted")]
    Certificate {
        /// The host as given.
        host: String,
        /// What is wrong with it.
        #[source]
        source: CertificateFault,
    },
    /// It is of a type that was not agreed on.
    #[error("{host} has shown a host key of a type that was not agreed on: {key_type}")]
    OtherType {
        /// The host as given.
        host: String,
        /// The type that was shown.
        key_type: String,
    },
    /// It has signed with another algorithm than was agreed on: an RSA key with SHA-1, for example.
    #[error("{host} was to sign with {agreed}, and has signed with {used}")]
    OtherSignature {
        /// The host as given.
        host: String,
        /// The algorithm that both sides have agreed on.
        agreed: String,
        /// What the signature says it was made with.
        used: String,
    },
    /// It is an RSA key of so few bits that it could be broken.
    #[error("the host key of {host} is an RSA key of {bits} bits; RequiredRSASize wants {required}")]
    TooShort {
        /// The host as given.
        host: String,
        /// How many it has.
        bits: u32,
        /// How many it must have.
        required: u32,
    },
    /// A file with known keys is there but cannot be read.
    #[error("cannot read {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The accepted key could not be put on record.
    #[error("cannot add the host key to {}", .file.display())]
    NotSaved {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HostKeyError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown(_) => ErrorKind::HostKeyUnknown,
            Self::Changed { .. } => ErrorKind::HostKeyChanged,
            Self::Revoked { .. } => ErrorKind::HostKeyRevoked,
            Self::Certificate { .. } => ErrorKind::HostKeyCertificate,
            Self::OtherType { .. } | Self::OtherSignature { .. } | Self::TooShort { .. } => {
                ErrorKind::KeyExchange
            }
            Self::Unreadable { .. } | Self::NotSaved { .. } => ErrorKind::KnownHosts,
        }
    }

    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown(prompt) => unknown_hints(prompt),
            Self::Changed { host, file, .. } => vec![
                "somebody may be in between, or the server was set up anew".to_owned(),
                format!("if it was: `ssh-keygen -R '{host}' -f '{}'`, then connect again", file.display()),
            ],
            Self::Revoked { .. } => {
                vec![
                    "somebody may be using a stolen key; connect only after the host has got a new one"
                        .to_owned(),
                ]
            }
            Self::Certificate { .. } => Vec::new(),
            Self::OtherType { .. } | Self::OtherSignature { .. } => {
                vec![
                    "no honest server does that: find out what answers there before you try again".to_owned(),
                ]
            }
            Self::TooShort { .. } => {
                vec!["give the host a new key: `ssh-keygen -A` makes those it lacks".to_owned()]
            }
            Self::Unreadable { .. } => {
                vec![
                    "no host can be told from an impostor without it: make it readable or name another"
                        .to_owned(),
                ]
            }
            Self::NotSaved { .. } => {
                vec!["make the file writable, or name another with --known-hosts".to_owned()]
            }
        }
    }
}

fn unknown_hints(prompt: &HostKeyPrompt) -> Vec<String> {
    let HostKeyPrompt { host, port, key_type, fingerprint, .. } = prompt;
    let name = key_type.split('-').find(|part| !["ssh", "sha2"].contains(part)).unwrap_or("ed25519");
    let port = if *port == DEFAULT_PORT { String::new() } else { format!("-p {port} ") };
    vec![
        format!(
            "compare {fingerprint} with what the host's own console shows: `ssh-keygen -lf /etc/ssh/ssh_host_{name}_key.pub`"
        ),
        format!("if they are the same, accept it with --accept-new, or log in once with `ssh {port}{host}`"),
    ]
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

/// Whether a server has signed with what it has agreed to sign with: russh takes a signature by any algorithm that
/// the key could be used with, SHA-1 included.
pub(crate) fn check_signature(
    host: &str,
    agreed: Option<&Algorithm>,
    signature: &[u8],
) -> Result<(), HostKeyError> {
    let agreed = agreed.map(ToString::to_string).unwrap_or_default();
    // The name of what was used comes first, behind its length.
    let used = signature
        .split_first_chunk()
        .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?));
    if used.is_some_and(|used| used == agreed.as_bytes()) {
        return Ok(());
    }
    let used = printable(used.unwrap_or_default());
    Err(HostKeyError::OtherSignature { host: host.to_owned(), agreed, used })
}

/// The type of the key that a server has shown, in a certificate or not.
pub(crate) fn type_of(shown: &PublicKeyOrCertificate) -> Algorithm {
    let certificate = shown.certificate();
    certificate
        .map_or_else(|| shown.public_key().algorithm(), |certificate| certificate.public_key().algorithm())
}

/// Whether a key is of the type that an algorithm is for: an RSA key signs with any hash.
fn is_of_type(algorithm: &Algorithm, key: &Algorithm) -> bool {
    algorithm == key || matches!((algorithm, key), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::AlgorithmList;
    use russh::kex::{
        EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT, EXTENSION_SUPPORT_AS_CLIENT, MLKEM768X25519_SHA256,
    };
    use russh::keys::{HashAlg, PublicKey};
    use tempfile::TempDir;

    fn options_with(known_hosts: &str) -> (TempDir, ConnectOptions) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        std::fs::write(&file, known_hosts).unwrap();
        let mut options = ConnectOptions::new("example.com".parse().unwrap());
        (options.known_hosts, options.global_known_hosts) = (vec![file], Vec::new());
        (directory, options)
    }

    fn check_with(known_hosts: &str) -> HostKeyCheck {
        HostKeyCheck::new(&options_with(known_hosts).1, None).unwrap()
    }

    fn shown(key: &str) -> PublicKeyOrCertificate {
        PublicKey::from_openssh(key).unwrap().into()
    }

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

    #[test]
    fn strict_key_exchange_stays_on_and_sha1_is_off() {
        let preferred = check_with("").preferred().unwrap();
        assert!(preferred.kex.contains(&EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT));
        assert!(preferred.kex.contains(&EXTENSION_SUPPORT_AS_CLIENT));
        assert_eq!(preferred.kex.first(), Some(&MLKEM768X25519_SHA256));
        assert_eq!(preferred.key.first(), Some(&Algorithm::Ed25519));
        assert!(!preferred.key.contains(&Algorithm::Rsa { hash: None }));
        assert!(preferred.host_key_certificates.is_empty());
    }

    #[test]
    fn key_types_on_record_come_first() {
        let first =
            |known_hosts: &str| check_with(known_hosts).preferred().unwrap().key.first().unwrap().to_string();
        assert_eq!(first(&format!("example.com {ECDSA}\n")), "ecdsa-sha2-nistp256");
        assert_eq!(first(&format!("other.example {ECDSA}\n")), "ssh-ed25519");
    }

    #[tokio::test]
    async fn a_type_that_was_not_asked_for_is_refused_and_not_put_on_record() {
        for known_hosts in [String::new(), format!("example.com {ECDSA}\n")] {
            let (_directory, mut options) = options_with(&known_hosts);
            options.unknown_key = UnknownKey::AcceptNew;
            let host_key = Some(AlgorithmList::new("ssh-ed25519,ecdsa-sha2-nistp256-cert-v01@openssh.com"));
            options.algorithms = Arc::new(AlgorithmRules { host_key, ..AlgorithmRules::default() });
            let check = HostKeyCheck::new(&options, None).unwrap();
            let error = check.check(&shown(ECDSA), &Shared::default()).await.unwrap_err();
            assert!(matches!(error, HostKeyError::OtherType { .. }), "{error}");
            assert_eq!(std::fs::read_to_string(&options.known_hosts[0]).unwrap(), known_hosts);
        }
    }

    #[test]
    fn what_is_shown_is_of_the_type_that_was_agreed_on() {
        let check = check_with("");
        let rsa = |hash| Algorithm::Rsa { hash };
        check.check_agreed(&Algorithm::Ed25519, &type_of(&shown(ED25519))).unwrap();
        check.check_agreed(&rsa(Some(HashAlg::Sha512)), &rsa(None)).unwrap();
        for agreed in [rsa(Some(HashAlg::Sha256)), type_of(&shown(ECDSA))] {
            let error = check.check_agreed(&agreed, &type_of(&shown(ED25519))).unwrap_err();
            assert!(error.to_string().contains("ssh-ed25519"), "{error}");
        }
    }

    #[tokio::test]
    async fn another_key_on_record_for_the_address_is_a_change_where_that_is_checked() {
        for (known_hosts, with_address, is_changed) in [
            (format!("example.com {ED25519}\n192.0.2.7 {ECDSA}\n"), true, true),
            (format!("example.com {ED25519}\n192.0.2.7 {ECDSA}\n"), false, false),
            (format!("example.com {ED25519}\n192.0.2.7 {ED25519}\n"), true, false),
            (format!("example.com {ED25519}\n"), true, false),
            (format!("192.0.2.7 {ECDSA}\n"), true, true),
        ] {
            let (_directory, mut options) = options_with(&known_hosts);
            options.unknown_key = UnknownKey::AcceptNew;
            options.recording.with_address = with_address;
            let check = HostKeyCheck::new(&options, Some("192.0.2.7:22".parse().unwrap())).unwrap();
            let checked = check.check(&shown(ED25519), &Shared::default()).await;
            assert_eq!(checked.is_err(), is_changed, "{known_hosts}: {checked:?}");
            if let Err(error) = checked {
                assert!(error.hints()[1].contains("ssh-keygen -R '192.0.2.7' -f"), "{error:?}");
                assert_eq!(std::fs::read_to_string(&options.known_hosts[0]).unwrap(), known_hosts);
            }
        }
    }

    #[tokio::test]
    async fn others_go_on_while_a_file_is_waited_for() {
        let (_directory, mut options) = options_with("");
        options.unknown_key = UnknownKey::AcceptNew;
        let check = HostKeyCheck::new(&options, None).unwrap();
        let theirs = std::fs::File::open(&options.known_hosts[0]).unwrap();
        theirs.lock().unwrap();
        let (shown, shared) = (shown(ED25519), Shared::default());
        // Both on this thread, and the check first.
        tokio::select! {
            biased;
            checked = check.check(&shown, &shared) => panic!("nobody else was let in: {checked:?}"),
            () = async { theirs.unlock().unwrap() } => {}
        }
    }

    #[test]
    fn certificates_are_asked_for_only_where_an_authority_is_trusted() {
        assert!(
            !check_with(&format!("@cert-authority *.com {ECDSA}\n"))
                .preferred()
                .unwrap()
                .host_key_certificates
                .is_empty()
        );
        assert!(
            check_with(&format!("@cert-authority *.org {ECDSA}\n"))
                .preferred()
                .unwrap()
                .host_key_certificates
                .is_empty()
        );
    }
}
