//! Key files: which key is in one, whether it can be used as it is, and unlocking it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::{self, Algorithm};
use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key};
use secrecy::{ExposeSecret, SecretString};

use crate::error::UnusableKey;
use crate::printable::printable;

/// What a file holds.
pub(crate) enum KeyFile {
    Private(Arc<PrivateKey>),
    /// Only the public half: the file is a `.pub`.
    Public(PublicKey),
    /// The private half is in a FIDO device, which an agent talks to.
    Fido(PublicKey),
    /// It takes a passphrase. The public half is known if it can be read without.
    Locked {
        public: Option<PublicKey>,
        is_supported: bool,
    },
}

/// Why a key stays locked.
pub(crate) enum Unlocking {
    NoPassphrase,
    Wrong,
    /// Another passphrase would not help.
    Impossible(String),
}

impl KeyFile {
    pub(crate) fn read(file: &Path) -> Result<Self, UnusableKey> {
        let unusable = |source| UnusableKey { file: file.to_owned(), source };
        let text = read_text(file).map_err(|error| unusable(error.into()))?;
        match decode_secret_key(text.expose_secret(), None) {
            Ok(key) if is_fido(key.public_key()) => Ok(Self::Fido(key.public_key().clone())),
            Ok(key) => Ok(Self::Private(Arc::new(key))),
            Err(error) if is_locked(&error, &text) => Ok(Self::locked(file, &text)),
            Err(error) => match PublicKey::from_openssh(text.expose_secret()) {
                Ok(key) => Ok(Self::Public(key)),
                Err(_) => Err(unusable(error.into())),
            },
        }
    }

    /// The OpenSSH format leaves the public half readable; that of others may lie beside it.
    fn locked(file: &Path, text: &SecretString) -> Self {
        let within = PrivateKey::from_openssh(text.expose_secret()).map(|key| key.public_key().clone());
        let public = within.ok().or_else(|| public_half_beside(file));
        match public {
            Some(key) if is_fido(&key) => Self::Fido(key),
            public => Self::Locked { public, is_supported: is_supported(text.expose_secret()) },
        }
    }
}

/// The private key of a file with a passphrase. Deriving a key from one takes long, so it is not done here but on
/// a thread of its own.
pub(crate) async fn unlock(file: &Path, passphrase: SecretString) -> Result<PrivateKey, Unlocking> {
    if passphrase.expose_secret().is_empty() {
        return Err(Unlocking::NoPassphrase);
    }
    let file = file.to_owned();
    let unlocked = tokio::task::spawn_blocking(move || decrypt(&file, &passphrase)).await;
    unlocked.unwrap_or_else(|error| Err(Unlocking::Impossible(error.to_string())))
}

fn decrypt(file: &Path, passphrase: &SecretString) -> Result<PrivateKey, Unlocking> {
    let text = read_text(file).map_err(|error| Unlocking::Impossible(error.to_string()))?;
    match decode_secret_key(text.expose_secret(), Some(passphrase.expose_secret())) {
        Ok(key) => Ok(key),
        // Of the other formats, what a wrong passphrase makes is known to be no key, and no more.
        Err(russh::keys::Error::SshKey(error)) if error != ssh_key::Error::Crypto => {
            Err(Unlocking::Impossible(printable(error.to_string())))
        }
        Err(_) => Err(Unlocking::Wrong),
    }
}

fn read_text(file: &Path) -> io::Result<SecretString> {
    std::fs::read_to_string(file).map(SecretString::from)
}

fn is_fido(key: &PublicKey) -> bool {
    matches!(key.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
}

fn is_locked(error: &russh::keys::Error, text: &SecretString) -> bool {
    let text = text.expose_secret();
    let is_pkcs8 = || text.lines().any(|line| line == "-----BEGIN ENCRYPTED PRIVATE KEY-----");
    matches!(error, russh::keys::Error::KeyIsEncrypted) || is_pkcs8() || is_old_and_locked(text)
}

/// As OpenSSL used to write them.
fn is_old_and_locked(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("Proc-Type: 4,ENCRYPTED"))
}

/// Of the old format, only RSA keys under this one cipher can be read.
fn is_supported(text: &str) -> bool {
    let has = |start: &str| text.lines().any(|line| line.starts_with(start));
    !is_old_and_locked(text) || (has("-----BEGIN RSA PRIVATE KEY-----") && has("DEK-Info: AES-128-CBC,"))
}

fn public_half_beside(file: &Path) -> Option<PublicKey> {
    let read = |suffix| std::fs::read_to_string(with_suffix(file, suffix)).ok();
    let of_certificate = || {
        let certificate = Certificate::from_openssh(read("-cert.pub")?.trim()).ok()?;
        Some(PublicKey::from(certificate.public_key().clone()))
    };
    read(".pub").and_then(|text| PublicKey::from_openssh(text.trim()).ok()).or_else(of_certificate)
}

/// Whether it is a file of the user's own that others may read or write. OpenSSH uses no such key.
#[cfg(unix)]
pub(crate) fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_own = |owner| owner == rustix::process::getuid().as_raw();
    std::fs::metadata(file).is_ok_and(|metadata| is_own(metadata.uid()) && metadata.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_open(_: &Path) -> bool {
    false
}

pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
