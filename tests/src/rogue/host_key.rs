//! Keys that a rogue shows, and what it does with them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::wire::{Fields, string};

/// Makes a signature of what is to be signed, its name in front.
type Sign = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// A key, the algorithm that a rogue agrees on, and how it signs.
pub struct HostKey {
    /// What it offers in the key exchange, and nothing else.
    pub(super) agreed: String,
    /// The key as SSH writes it.
    pub(super) public: Vec<u8>,
    sign: Box<Sign>,
}

impl HostKey {
    /// An honest one, just made.
    ///
    /// # Panics
    /// When there is no random number for it.
    pub fn ed25519() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let key = key.and_then(|key| Ok(Ed25519KeyPair::from_pkcs8(key.as_ref())?));
        let key = key.unwrap_or_else(|error| panic!("no rogue: {error}"));
        let public = [string("ssh-ed25519"), string(key.public_key().as_ref())].concat();
        let sign = move |text: &[u8]| [string("ssh-ed25519"), string(key.sign(text).as_ref())].concat();
        Self { agreed: "ssh-ed25519".to_owned(), public, sign: Box::new(sign) }
    }

    /// The RSA key of a file that `ssh-keygen -m PEM` has made. It signs with an algorithm (`rsa-sha2-512`) of this
    /// digest (`sha512`), which is for `openssl` to do.
    ///
    /// # Panics
    /// When the file, or later `openssl`, cannot be used.
    pub fn rsa(file: &Path, algorithm: &'static str, digest: &'static str) -> Self {
        let text = std::fs::read_to_string(file.with_extension("pub"));
        let text = text.unwrap_or_else(|error| panic!("no rogue: {error}"));
        let public = STANDARD.decode(text.split(' ').nth(1).unwrap_or_default());
        let public = public.unwrap_or_else(|error| panic!("no rogue: {error}"));
        let file = file.to_owned();
        let sign =
            move |text: &[u8]| [string(algorithm), string(sign_by_openssl(&file, digest, text))].concat();
        Self { agreed: algorithm.to_owned(), public, sign: Box::new(sign) }
    }

    /// The same that agrees on something else.
    #[must_use]
    pub fn agreeing_on(self, algorithm: &str) -> Self {
        Self { agreed: algorithm.to_owned(), ..self }
    }

    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        (self.sign)(text)
    }

    /// What comes behind the host in a line of a `known_hosts` file.
    pub(super) fn known(&self) -> String {
        let kind = Fields(&self.public).string();
        format!("{} {}", String::from_utf8_lossy(&kind), STANDARD.encode(&self.public))
    }
}

fn sign_by_openssl(file: &Path, digest: &str, text: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", &format!("-{digest}"), "-sign"]).arg(file);
    let signed = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text)?;
        }
        child.wait_with_output()
    });
    let signed = signed.unwrap_or_else(|error| panic!("openssl: {error}"));
    assert!(signed.status.success(), "openssl does not sign");
    signed.stdout
}
