//! Who asks: identities, and the tokens that prove them, as SpacetimeDB makes and checks them.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// What SpacetimeDB knows a caller or a database by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

impl Identity {
    /// The identity of these claims: `c200`, a check sum, and 26 bytes of their hash.
    pub fn of(issuer: &str, subject: &str) -> Self {
        let claims = blake3::hash(format!("{issuer}|{subject}").as_bytes());
        let mut checked = [0; 28];
        checked[..2].copy_from_slice(&[0xc2, 0x00]);
        checked[2..].copy_from_slice(&claims.as_bytes()[..26]);
        let sum = blake3::hash(&checked);
        let mut whole = [0; 32];
        whole[..2].copy_from_slice(&checked[..2]);
        whole[2..6].copy_from_slice(&sum.as_bytes()[..4]);
        whole[6..].copy_from_slice(&checked[2..]);
        Self(whole)
    }

    /// Reads 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        (text.len() == 64).then_some(Self(bytes))
    }

    /// Its bytes as files hold them: the last first.
    pub fn little_endian(self) -> [u8; 32] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a token was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its claims do not say who it is of.
    NoSubject,
    /// Another key has signed it; with its issuer.
    AnotherKey(String),
    /// No server has been recorded with such a token.
    Unheard,
}

/// The key pair of a server.
pub(super) struct Keys {
    pair: EcdsaKeyPair,
    private: String,
    public: String,
}

impl Keys {
    /// A new pair, written to `id_ecdsa` and `id_ecdsa.pub` in `folder`.
    pub(super) fn generate(folder: &Path) -> Self {
        let random = SystemRandom::new();
        let keys = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .ok()
            .and_then(|document| {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
                        .ok()?;
                let public = pem("PUBLIC KEY", &[&SPKI, pair.public_key().as_ref()].concat());
                Some(Self { pair, private: pem("PRIVATE KEY", document.as_ref()), public })
            })
            .unwrap_or_else(|| panic!("no key pair can be made"));
        for (name, text) in [("id_ecdsa", &keys.private), ("id_ecdsa.pub", &keys.public)] {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        keys
    }

    /// The public half, as `/v1/identity/public-key` shows it.
    pub(super) fn public(&self) -> &str {
        &self.public
    }

    /// A token of these claims.
    pub(super) fn mint(&self, issuer: &str, subject: &str) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256"});
        let claims = json!({
            "hex_identity": Identity::of(issuer, subject).to_string(),
            "sub": subject, "iss": issuer, "aud": ["spacetimedb"], "iat": 1_795_190_467, "exp": null,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.unwrap_or_else(|_| panic!("the key does not sign"));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whose token this is.
    pub(super) fn verify(&self, token: &str) -> Result<Identity, Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Unheard)?;
        let (_, claims) = signed.split_once('.').ok_or(Refusal::Unheard)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Unheard);
        let claims: Value = serde_json::from_slice(&decode(claims)?).map_err(|_| Refusal::Unheard)?;
        let subject = claims["sub"].as_str().ok_or(Refusal::NoSubject)?;
        let issuer = claims["iss"].as_str().ok_or(Refusal::Unheard)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key());
        key.verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| Refusal::AnotherKey(issuer.to_owned()))?;
        let identity = Identity::of(issuer, subject);
        let claimed = &claims["hex_identity"];
        if claimed.is_null() || *claimed == identity.to_string() {
            Ok(identity)
        } else {
            Err(Refusal::Unheard)
        }
    }
}

/// What stands before the point of a P-256 key in its public file.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_identity_is_the_one_a_real_server_computes() {
        let expected = "c20048614e10aa1963d4769a602df2812dc054fd5ea6dc3f48028ab20c30835f";
        assert_eq!(Identity::of("stdbctl", "owner").to_string(), expected);
        assert_eq!(Identity::parse(expected), Some(Identity::of("stdbctl", "owner")));
        assert_eq!(Identity::parse(&expected[1..]), None);
        assert_eq!(Identity::parse(&format!("0x{expected}")), None);
    }

    #[test]
    fn a_token_is_taken_by_the_key_that_signed_it_only() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (keys, others) = (Keys::generate(folder.path()), Keys::generate(elsewhere.path()));
        let token = keys.mint("stdbctl", "owner");
        assert_eq!(keys.verify(&token), Ok(Identity::of("stdbctl", "owner")));
        assert_eq!(others.verify(&token), Err(Refusal::AnotherKey("stdbctl".to_owned())));
        assert_eq!(keys.verify("e30.e30.e30"), Err(Refusal::NoSubject));
        assert_eq!(keys.verify("nonsense"), Err(Refusal::Unheard));
    }

    #[test]
    fn openssl_reads_the_key_files() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::generate(folder.path());
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-pubout", "-in"]).arg(folder.path().join("id_ecdsa"));
        assert_eq!(String::from_utf8(openssl.output().unwrap().stdout).unwrap(), keys.public());
    }
}
