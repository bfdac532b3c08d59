//! The operator's keys: which there are, and in which order they are offered.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{HashAlg, PrivateKey, PublicKey, decode_secret_key};
use secrecy::{ExposeSecret, SecretString};

use crate::agent::{AgentKey, list_keys};
use crate::error::UnusableKey;

/// Servers hang up after six tries (`MaxAuthTries`), and each costs a round trip.
const MOST_OFFERED: usize = 5;
const DEFAULT_FILES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// What signs with a key.
#[derive(Debug, Clone)]
pub(crate) enum Signing {
    File(Arc<PrivateKey>),
    Agent,
}

/// A key that can be offered.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) key: PublicKey,
    pub(crate) signing: Signing,
    /// For messages: where it is from, its type and fingerprint.
    pub(crate) name: String,
}

/// Every key that can be offered, in order, and what was passed over.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    pub(crate) offered: Vec<Identity>,
    pub(crate) skipped: Vec<String>,
}

enum KeyFile {
    Private(Arc<PrivateKey>),
    /// Only the public half can be read: the file is encrypted, or is a `.pub`.
    Public(PublicKey),
    Encrypted,
}

impl Identities {
    /// Keys named by the operator come before those of the agent; default files after.
    pub(crate) async fn gather(named: &[PathBuf], agent: Option<&Path>) -> Self {
        let mut identities = Self::default();
        let held = match agent {
            Some(socket) => list_keys(socket).await.unwrap_or_else(|error| {
                identities
                    .skipped
                    .push(format!("the ssh-agent at {} cannot be used: {error}", socket.display()));
                Vec::new()
            }),
            None => Vec::new(),
        };
        if named.is_empty() {
            identities.offer_agent(&held);
            let directory = std::env::home_dir().unwrap_or_default().join(".ssh");
            for file in DEFAULT_FILES.map(|name| directory.join(name)) {
                if file.exists() {
                    identities.offer_file(&file, &held);
                }
            }
        } else {
            for file in named {
                identities.offer_file(file, &held);
            }
            identities.offer_agent(&held);
        }
        identities.limit();
        identities
    }

    fn offer_agent(&mut self, held: &[AgentKey]) {
        for AgentKey { key, comment } in held {
            self.offer(key, Signing::Agent, &format!("{comment} (agent)"));
        }
    }

    fn offer_file(&mut self, file: &Path, held: &[AgentKey]) {
        let shown = file.display().to_string();
        match read_key(file) {
            Ok(KeyFile::Private(key)) => {
                let public = key.public_key().clone();
                self.offer(&public, Signing::File(key), &shown);
            }
            Ok(KeyFile::Public(key)) if held.iter().any(|held| held.key.key_data() == key.key_data()) => {
                self.offer(&key, Signing::Agent, &format!("{shown} (agent)"));
            }
            Ok(KeyFile::Public(_) | KeyFile::Encrypted) => {
                let private = file.with_extension("");
                let private = if file.extension().is_some_and(|e| e == "pub") { &private } else { file };
                self.skipped.push(format!(
                    "{shown} is not in the agent; load it with: ssh-add '{}'",
                    private.display()
                ));
            }
            Err(error) => {
                let cause = crate::printable::printable(error.source.to_string());
                self.skipped.push(format!("{error}: {cause}"));
            }
        }
    }

    fn offer(&mut self, key: &PublicKey, signing: Signing, from: &str) {
        if self.offered.iter().any(|identity| identity.key.key_data() == key.key_data()) {
            return;
        }
        let name = format!("{from} {} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        self.offered.push(Identity { key: key.clone(), signing, name });
    }

    fn limit(&mut self) {
        for identity in self.offered.drain(MOST_OFFERED.min(self.offered.len())..) {
            self.skipped
                .push(format!("{} was not offered: it comes after {MOST_OFFERED} others", identity.name));
        }
    }
}

fn read_key(file: &Path) -> Result<KeyFile, UnusableKey> {
    let unusable = |source| UnusableKey { file: file.to_owned(), source };
    let text = std::fs::read_to_string(file).map_err(|error: io::Error| unusable(error.into()))?;
    let text = SecretString::from(text);
    match decode_secret_key(text.expose_secret(), None) {
        Ok(key) => Ok(KeyFile::Private(Arc::new(key))),
        // The OpenSSH format leaves the public half readable, so the agent can be asked for it.
        Err(russh::keys::Error::KeyIsEncrypted) => Ok(PrivateKey::from_openssh(text.expose_secret())
            .map_or(KeyFile::Encrypted, |key| KeyFile::Public(key.public_key().clone()))),
        Err(error) => match PublicKey::from_openssh(text.expose_secret()) {
            Ok(key) => Ok(KeyFile::Public(key)),
            Err(_) => Err(unusable(error.into())),
        },
    }
}
