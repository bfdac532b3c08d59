//! What a server shows and signs with, against what the two sides have agreed on: russh looks at neither.

use russh::keys::{Algorithm, PublicKeyOrCertificate};

use super::HostKeyError;
use crate::printable::printable;

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
pub(super) fn is_of_type(algorithm: &Algorithm, key: &Algorithm) -> bool {
    algorithm == key || matches!((algorithm, key), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}
