//! Names of files, in forms that cross a line.

use std::hash::{BuildHasher as _, RandomState};

use sha2::{Digest as _, Sha256};

/// A name as the host's `printf %b` reads it: one word without blanks, whatever it holds.
pub(super) fn encode(name: &[u8]) -> String {
    let mut encoded = String::with_capacity(name.len());
    for &byte in name {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-') {
            encoded.push(char::from(byte));
        } else {
            let octal = [byte >> 6, byte >> 3 & 7, byte & 7].map(|digit| char::from(b'0' + digit));
            encoded.push_str("\\0");
            encoded.extend(octal);
        }
    }
    encoded
}

/// A path that no command takes for an option, and that has a directory.
pub(super) fn anchored(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("./{path}") }
}

/// A word that nobody has used before.
pub(super) fn nonce() -> String {
    // Its keys are random, and another pair each time.
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", random(), random())
}

/// A word that is the same for the same things.
pub(super) fn key(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    let mut key = hex(&hasher.finalize());
    key.truncate(16);
    key
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_host_reads_any_name_back() {
        let every: Vec<u8> = (1..=255).collect();
        for name in [&every[..], b"-a b", b"it's\n\n", b"100%s\\n", b"\xff\xc3\xa4 9"] {
            let encoded = encode(name);
            assert!(!encoded.contains(char::is_whitespace));
            for shell in ["sh", "bash"] {
                let script = r#"name=$(printf '%bx' "$1"); printf %s "${name%x}""#;
                let output = Command::new(shell).args(["-c", script, "sh", &encoded]).output().unwrap();
                assert_eq!(output.stdout, name, "{shell}");
            }
        }
    }

    #[test]
    fn keys_tell_things_apart_and_nonces_are_new() {
        assert_eq!(key(&[b"a", b"b"]), key(&[b"a", b"b"]));
        assert_ne!(key(&[b"ab", b""]), key(&[b"a", b"b"]));
        assert_eq!((key(&[]).len(), nonce().len()), (16, 32));
        assert_ne!(nonce(), nonce());
    }
}
