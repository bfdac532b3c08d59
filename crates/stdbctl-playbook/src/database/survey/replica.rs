//! What a replica's directory says of itself: to which database it belongs.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::owner::Identity;

/// In a snapshot, the length of the four letters that say what it is, and they.
const MAGIC: (usize, &[u8]) = (32, b"\x04\0\0\0txyz");
/// Where the identity of the database begins, and where the number of the replica.
const IDENTITY: usize = 41;
const NUMBER: usize = 73;
const END: usize = 81;

/// The database that the directory `number` belongs to, from the beginning of its oldest snapshot in base64 and, a
/// line each, the pairs of identities in its oldest log: a database and its owner. None unless all it says agrees.
pub(super) fn database(number: u64, says: &str) -> Option<Identity> {
    let mut lines = says.lines();
    let snapshot = snapshot(lines.next().unwrap_or_default());
    let mut named: Vec<Identity> = lines.filter_map(pair).collect();
    if let Some((identity, in_snapshot)) = snapshot {
        if in_snapshot != number {
            return None;
        }
        named.push(identity);
    }
    named.dedup();
    match named.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// The database and the replica that a snapshot is of.
fn snapshot(base64: &str) -> Option<(Identity, u64)> {
    let bytes = STANDARD.decode(base64).ok()?;
    if bytes.get(MAGIC.0..MAGIC.0 + MAGIC.1.len())? != MAGIC.1 {
        return None;
    }
    let number = u64::from_le_bytes(bytes.get(NUMBER..END)?.try_into().ok()?);
    Some((backwards(bytes.get(IDENTITY..NUMBER)?)?, number))
}

/// The first of two identities side by side.
fn pair(line: &str) -> Option<Identity> {
    let (database, owner) = line.split_at_checked(64)?;
    let read = |digits: &str| {
        let bytes = (0..32).map(|index| u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok());
        backwards(&bytes.collect::<Option<Vec<_>>>()?)
    };
    read(owner)?;
    read(database)
}

/// An identity whose last byte comes first.
fn backwards(bytes: &[u8]) -> Option<Identity> {
    let digits = bytes.iter().rev().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of a 1.3.0.
    const SNAPSHOT: &str = "DBLQ7H9t+CcFByV0Gl2q75jLzBtPaZ0IEQgRl04mUOgEAAAAdHh5egCOThO6o4xtJ0+oWxzLNhRV+/OkTi8qCkWfh3qJPFoAwgMAAAAAAAAA";
    const PAIR: &str = "8e4e13baa38c6d274fa85b1ccb361455fbf3a44e2f2a0a459f877a893c5a00c25f83300cb28a02483fdca65efd54c02d81f22d609a76d46319aa104e614800c2";
    const OTHER: &str = "b2fc827f9de17ee98b5e22132f0d8b94925484fecf695f103b08a1720c1100c25f83300cb28a02483fdca65efd54c02d81f22d609a76d46319aa104e614800c2";

    fn named(number: u64, says: &str) -> Option<String> {
        database(number, says).map(|identity| identity.to_string())
    }

    #[test]
    fn a_directory_names_its_database_in_its_snapshot_and_in_its_log() {
        let database = Some("c2005a3c897a879f450a2a2f4ea4f3fb551436cb1c5ba84f276d8ca3ba134e8e".to_owned());
        assert_eq!(named(3, &format!("{SNAPSHOT}\n{PAIR}\n{PAIR}\n")), database);
        assert_eq!(named(3, &format!("{SNAPSHOT}\n")), database);
        assert_eq!(named(3, &format!("\n{PAIR}\n")), database);
    }

    #[test]
    fn what_does_not_agree_names_none() {
        assert_eq!(named(5, &format!("{SNAPSHOT}\n{PAIR}\n")), None, "a copy under another number");
        assert_eq!(named(3, &format!("{SNAPSHOT}\n{OTHER}\n")), None);
        assert_eq!(named(3, &format!("\n{PAIR}\n{OTHER}\n")), None);
    }

    #[test]
    fn what_cannot_be_read_names_none() {
        let broken = PAIR.replacen('8', "9", 1);
        for says in
            ["", "\n", "AAAA\n", "not base64\nab\n", &format!("\n{broken}\n"), &format!("\n\u{e9}{PAIR}\n")]
        {
            assert_eq!(named(3, says), None, "{says}");
        }
        let cut: String = SNAPSHOT.chars().take(100).collect();
        assert_eq!(named(3, &cut), None);
    }
}
