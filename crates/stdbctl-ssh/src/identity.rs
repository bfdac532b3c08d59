//! The operator's keys: which there are, and in which order they are offered.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey};

use crate::agent::{AgentKey, list_keys};
use crate::certificate::doubt_certificate;
use crate::connect::ConnectOptions;
use crate::key_file::{KeyFile, is_open, with_suffix};
use crate::last_keys::{Known, mark_of_file, mark_of_key};
use crate::observer::Observation;
use crate::printable::printable;
use crate::ssh_config::Method;

/// Servers hang up after six tries (`MaxAuthTries`), and each costs a round trip. The sixth is for a password.
pub(crate) const MOST_OFFERED: usize = 5;
const DEFAULT_FILES: [&str; 5] = ["id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"];

/// What signs with a key.
#[derive(Debug, Clone)]
pub(crate) enum Signing {
    File(Arc<PrivateKey>),
    /// A file with a passphrase.
    Locked(PathBuf),
    /// The agent, which holds the bare key.
    Agent,
    /// The agent, which holds the certificate.
    AgentByCertificate,
}

/// A key that can be offered.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) key: PublicKey,
    /// What is offered in place of the bare key.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) signing: Signing,
    /// For messages: where it is from, its type and fingerprint.
    pub(crate) name: String,
    /// Why the server will hardly take it.
    pub(crate) doubt: Option<String>,
}

/// What is offered when its turn comes.
#[derive(Debug, Clone)]
pub(crate) enum Offer {
    Key(Box<Identity>),
    /// A file with a passphrase, without which nobody can tell which key is in it.
    Sealed(PathBuf),
}

/// Every key that can be offered, in order, and what was passed over.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    pub(crate) offered: Vec<Offer>,
    pub(crate) skipped: Vec<String>,
    /// What was on record of the host.
    pub(crate) known: Known,
}

impl Identity {
    /// A key of a file that was unlocked.
    pub(crate) fn of_file(key: Arc<PrivateKey>, file: &Path) -> Self {
        let public = key.public_key().clone();
        let name = name(&file.display().to_string(), "", &public);
        Self { key: public, certificate: None, signing: Signing::File(key), name, doubt: None }
    }

    /// Why it may not be offered where RSA keys must have so many bits.
    pub(crate) fn too_short(&self, required: u32) -> Option<String> {
        let bits = self.key.key_data().rsa()?.key_size();
        (bits < required).then(|| {
            let name = &self.name;
            format!(
                "{name} has {bits} bits, RequiredRSASize wants {required}; make another with `ssh-keygen -t ed25519`"
            )
        })
    }
}

impl Offer {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Key(identity) => identity.name.clone(),
            Self::Sealed(file) => file.display().to_string(),
        }
    }

    pub(crate) fn doubt(&self) -> Option<String> {
        match self {
            Self::Key(identity) => identity.doubt.clone(),
            Self::Sealed(_) => None,
        }
    }

    /// What it is put on record as.
    pub(crate) fn mark(&self) -> String {
        match self {
            Self::Key(identity) => mark_of_key(&identity.key, identity.certificate.is_some()),
            Self::Sealed(file) => mark_of_file(file),
        }
    }
}

/// A certificate, and where it is from.
struct Certified {
    certificate: Certificate,
    from: String,
}

/// What is known while keys are gathered.
struct Gathering<'g> {
    identities: Identities,
    options: &'g ConnectOptions,
    user: &'g str,
    now: u64,
    held: Vec<AgentKey>,
    /// Those that were named for any key.
    certificates: Vec<Certified>,
}

impl Identities {
    /// Keys named by the operator come first, then those of the configuration and the agent, in OpenSSH's order.
    /// Where nobody names any, the usual files are as if configured.
    pub(crate) async fn gather(options: &ConnectOptions, user: &str) -> Self {
        if !options.authentication.allows(Method::PublicKey) {
            return Self::default();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut skipped = Vec::new();
        let held = match options.agent_socket.as_deref() {
            Some(socket) => list_keys(socket).await.unwrap_or_else(|error| {
                skipped.push(format!("the ssh-agent at {} cannot be used: {error}", socket.display()));
                Vec::new()
            }),
            None => Vec::new(),
        };
        let identities = Self { skipped, ..Self::default() };
        let mut gathering = Gathering { identities, options, user, now, held, certificates: Vec::new() };
        gathering.read_certificates(&options.certificate_files);
        gathering.offer_all(options);
        let mut identities = gathering.identities;
        if let Some(last_keys) = options.keyring.last_keys() {
            identities.known = last_keys.look(options, user, &mut identities.offered);
        }
        identities.limit();
        identities
    }

    /// For whoever looks on.
    pub(crate) fn observed(&self) -> Observation {
        let offered = self.offered.iter().map(Offer::name).collect();
        Observation::Identities { offered, skipped: self.skipped.clone() }
    }

    fn limit(&mut self) {
        for offer in self.offered.drain(MOST_OFFERED.min(self.offered.len())..) {
            self.skipped
                .push(format!("{} was not offered: it comes after {MOST_OFFERED} others", offer.name()));
        }
    }
}

impl Gathering<'_> {
    fn read_certificates(&mut self, files: &[PathBuf]) {
        for file in files {
            match read_certificate(file) {
                Ok(Some(certificate)) => {
                    self.certificates.push(Certified { certificate, from: file.display().to_string() });
                }
                Ok(None) => {}
                Err(why) => self.identities.skipped.push(why),
            }
        }
    }

    fn offer_all(&mut self, options: &ConnectOptions) {
        let ConnectOptions { identity_files, configured_identities, identities_only, .. } = options;
        for file in identity_files {
            self.offer_file(file, true);
        }
        self.sort(0, self.identities.offered.len());
        let start = self.identities.offered.len();
        let usual = || {
            if !identity_files.is_empty() {
                return Vec::new();
            }
            let directory = std::env::home_dir().unwrap_or_default().join(".ssh");
            DEFAULT_FILES.map(|name| directory.join(name)).to_vec()
        };
        for file in configured_identities.clone().unwrap_or_else(usual) {
            self.offer_file(&file, false);
        }
        let of_files = self.identities.offered.len();
        self.offer_agent(*identities_only);
        self.sort(start, of_files);
    }

    /// OpenSSH's order from `start` on: certificates that were named, keys of the agent's that are those `of_files`,
    /// in its order, its other ones, and keys that are only in files.
    fn sort(&mut self, start: usize, of_files: usize) {
        let place = |(index, offer): &(usize, Offer)| {
            let Offer::Key(identity) = offer else { return (3, 0) };
            let is_named = |named: &Certified| identity.certificate.as_ref() == Some(&named.certificate);
            let is_held = |held: &AgentKey| held.key.key_data() == identity.key.key_data();
            if let Some(place) = self.certificates.iter().position(is_named) {
                return (0, place);
            }
            match self.held.iter().position(is_held) {
                Some(place) if start + index < of_files => (1, place),
                Some(place) => (2, place),
                None => (3, 0),
            }
        };
        let mut sorted: Vec<_> = self.identities.offered.split_off(start).into_iter().enumerate().collect();
        sorted.sort_by_key(place);
        self.identities.offered.extend(sorted.into_iter().map(|(_, offer)| offer));
    }

    /// All that the agent holds, or only what goes with a certificate that was named.
    fn offer_agent(&mut self, only_certified: bool) {
        for AgentKey { key, certificate, comment } in self.held.clone() {
            let from = format!("{comment} (agent)");
            if certificate.is_none() {
                self.offer_certificates(&key, &Signing::Agent, &[]);
            }
            if !only_certified {
                let signing =
                    if certificate.is_some() { Signing::AgentByCertificate } else { Signing::Agent };
                self.offer(&key, certificate, signing, &from);
            }
        }
    }

    /// A key file. One that is not there is passed over, unless it was `named` for this run.
    fn offer_file(&mut self, file: &Path, named: bool) {
        let shown = file.display().to_string();
        let beside = certificate_beside(file);
        let read = match KeyFile::read(file) {
            // Whoever keeps keys in the agent alone has the public half to name them by.
            Err(error) if error.is_missing() => match KeyFile::read(&with_suffix(file, ".pub")) {
                Ok(public) => Ok(public),
                Err(_) if !named => return,
                Err(_) => Err(error),
            },
            read => read,
        };
        match read {
            Ok(KeyFile::Private(key)) if is_open(file) && !self.is_held(key.public_key()) => {
                self.pass_over_open(file);
            }
            Ok(KeyFile::Private(key)) => {
                let (public, signing) = (key.public_key().clone(), Signing::File(key));
                self.offer_key(&public, &signing, &beside, &shown);
            }
            Ok(KeyFile::Public(key) | KeyFile::Fido(key) | KeyFile::Locked { public: Some(key), .. })
                if self.is_held(&key) =>
            {
                self.offer_held(&key, &beside, &format!("{shown} (agent)"));
            }
            Ok(KeyFile::Locked { .. }) if is_open(file) => self.pass_over_open(file),
            Ok(KeyFile::Locked { public, is_supported }) => {
                self.offer_locked(file, public, is_supported, &beside);
            }
            Ok(KeyFile::Fido(_)) => self.pass_over(file, "is for a FIDO device, and not in the agent"),
            Ok(KeyFile::Public(_)) => self.pass_over(file, "is not in the agent"),
            Err(error) => {
                let cause = printable(error.source.to_string());
                self.identities.skipped.push(format!("{error}: {cause}"));
            }
        }
    }

    /// A key file with a passphrase, if that can be asked for.
    fn offer_locked(
        &mut self,
        file: &Path,
        public: Option<PublicKey>,
        is_supported: bool,
        beside: &[PathBuf],
    ) {
        match (self.options.why_silent(), public) {
            (Some(why), _) => self.pass_over(file, &format!("has a passphrase, and {why}")),
            (None, _) if !is_supported => {
                self.pass_over(file, "is encrypted in an old way; `ssh-keygen -p -f` writes it anew");
            }
            (None, Some(key)) => {
                let signing = Signing::Locked(file.to_owned());
                self.offer_key(&key, &signing, beside, &file.display().to_string());
            }
            (None, None) => {
                let is_same = |offer: &Offer| matches!(offer, Offer::Sealed(other) if other == file);
                if !self.identities.offered.iter().any(is_same) {
                    self.identities.offered.push(Offer::Sealed(file.to_owned()));
                }
            }
        }
    }

    fn pass_over(&mut self, file: &Path, why: &str) {
        let private = file.with_extension("");
        let private = if file.extension().is_some_and(|e| e == "pub") { &private } else { file };
        let (shown, private) = (file.display(), private.display());
        self.identities.skipped.push(format!("{shown} {why}; load it with `ssh-add '{private}'`"));
    }

    fn pass_over_open(&mut self, file: &Path) {
        let shown = file.display();
        let why =
            format!("{shown} can be read by others, so it is not used; close it with `chmod 600 '{shown}'`");
        self.identities.skipped.push(why);
    }

    fn offer_key(&mut self, key: &PublicKey, signing: &Signing, beside: &[PathBuf], from: &str) {
        self.offer_certificates(key, signing, beside);
        self.offer(key, None, signing.clone(), from);
    }

    fn is_held(&self, key: &PublicKey) -> bool {
        self.held.iter().any(|held| held.key.key_data() == key.key_data())
    }

    /// A key of the agent's that a file names, with all certificates for it, the agent's included.
    fn offer_held(&mut self, key: &PublicKey, beside: &[PathBuf], from: &str) {
        let of_key = |held: &&AgentKey| held.key.key_data() == key.key_data();
        let held: Vec<_> = self.held.iter().filter(of_key).cloned().collect();
        let is_bare = held.iter().any(|held| held.certificate.is_none());
        if is_bare {
            self.offer_certificates(key, &Signing::Agent, beside);
        }
        for certificate in held.into_iter().filter_map(|held| held.certificate) {
            self.offer(key, Some(certificate), Signing::AgentByCertificate, from);
        }
        if is_bare {
            self.offer(key, None, Signing::Agent, from);
        }
    }

    /// Certificates for a key: those beside its file, and those that were named.
    fn offer_certificates(&mut self, key: &PublicKey, signing: &Signing, beside: &[PathBuf]) {
        let mut fitting = Vec::new();
        for file in beside {
            match read_certificate(file) {
                Ok(Some(certificate)) if certificate.public_key() == key.key_data() => {
                    fitting.push((certificate, file.display().to_string()));
                }
                Ok(_) => {}
                Err(why) => self.identities.skipped.push(why),
            }
        }
        let named = self.certificates.iter().filter(|named| named.certificate.public_key() == key.key_data());
        fitting.extend(named.map(|named| (named.certificate.clone(), named.from.clone())));
        for (certificate, from) in fitting {
            self.offer(key, Some(certificate), signing.clone(), &from);
        }
    }

    fn offer(&mut self, key: &PublicKey, certificate: Option<Certificate>, signing: Signing, from: &str) {
        let is_same = |offer: &Offer| {
            matches!(offer, Offer::Key(other)
                if other.key.key_data() == key.key_data() && other.certificate == certificate)
        };
        if self.identities.offered.iter().any(is_same) {
            return;
        }
        let kind = if certificate.is_some() { " certificate" } else { "" };
        let name = name(from, kind, key);
        if !self.options.algorithms.allows_user_key(&key.algorithm(), certificate.is_some()) {
            let why = "is of a type that PubkeyAcceptedAlgorithms does not list";
            self.identities.skipped.push(format!("{name} {why}"));
            return;
        }
        let doubt = certificate
            .as_ref()
            .and_then(|certificate| doubt_certificate(certificate, self.user, self.now))
            .map(|doubt| format!("the certificate {from} {doubt}"));
        let identity = Identity { key: key.clone(), certificate, signing, name, doubt };
        if let Some(why) = identity.too_short(self.options.required_rsa_size) {
            self.identities.skipped.push(why);
            return;
        }
        self.identities.offered.push(Offer::Key(Box::new(identity)));
    }
}

fn name(from: &str, kind: &str, key: &PublicKey) -> String {
    format!("{from} {}{kind} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// Where OpenSSH looks for a key's certificate.
fn certificate_beside(file: &Path) -> Vec<PathBuf> {
    let mut files = vec![with_suffix(file, "-cert.pub")];
    if file.extension().is_some_and(|extension| extension == "pub") {
        files.push(with_suffix(&file.with_extension(""), "-cert.pub"));
    }
    files
}

/// None if there is none.
fn read_certificate(file: &Path) -> Result<Option<Certificate>, String> {
    let unusable = |why: &str| format!("cannot use the certificate {}: {why}", file.display());
    match std::fs::read_to_string(file) {
        Ok(text) => Certificate::from_openssh(text.trim())
            .map(Some)
            .map_err(|error| unusable(&printable(error.to_string()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&error.to_string())),
    }
}
