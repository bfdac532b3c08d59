//! What must hold when a `known_hosts` file is made to say what a host says, whatever was in it.

use std::path::Path;

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use crate::known_hosts::{KnownHosts, Verdict, spelled};
use crate::known_hosts_update::{Changes, Names, compare, with_keys, without_host};

/// Keys that a host may have, by their letters.
const KEYS: [(char, &str); 3] = [
    ('a', super::KEY),
    ('b', "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"),
    (
        'c',
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
    ),
];

/// A host that has changed its keys.
struct Host {
    names: Names,
    /// Those it has now, and those it has not.
    keys: Vec<KeyData>,
    others: Vec<KeyData>,
    is_hashed: bool,
}

impl Host {
    /// `HOST PORT KEYS`, then perhaps an address; `H` among the keys is for hashed names.
    fn read(asked: &str) -> Option<Self> {
        let mut words = asked.split(' ');
        let is_plain = |name: &&str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c))
        };
        let host = words.next().filter(is_plain)?;
        let port: u16 = words.next()?.parse().ok()?;
        let letters = words.next()?;
        let address = words.next().filter(is_plain).map(|address| spelled(address, port));
        let key = |(_, key): &(char, &str)| {
            KeyData::from(PublicKey::from_openssh(key).expect("the keys above are some"))
        };
        let (has, has_not): (Vec<_>, Vec<_>) = KEYS.iter().partition(|(letter, _)| letters.contains(*letter));
        Some(Self {
            names: Names { host: spelled(host, port), address },
            keys: has.into_iter().map(key).collect(),
            others: has_not.into_iter().map(key).collect(),
            is_hashed: letters.contains('H'),
        })
    }

    /// What a file says about a key under each of the host's names.
    fn verdicts(&self, file: &[u8], key: &KeyData) -> Vec<Verdict> {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), file);
        let names = std::iter::once(&self.names.host).chain(&self.names.address);
        names.map(|name| known.compare(name, key)).collect()
    }

    /// Whether a line has a key on record for the host, as whoever connects reads it.
    fn has(&self, line: &[u8]) -> bool {
        let any = self.keys.iter().chain(&self.others);
        any.flat_map(|key| self.verdicts(line, key)).any(|verdict| verdict != Verdict::Unknown)
    }
}

/// A host and its keys, then a file that is made to say so: no line is lost that is not the host's, none is written
/// that cannot be read, and the host is known by its keys alone.
pub fn known_hosts_update(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let asked = parts.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let before = parts.next().unwrap_or_default();
    let Some(host) = Host::read(asked).filter(|host| !host.keys.is_empty()) else { return };
    let (names, keys) = (&host.names, &host.keys);
    let write =
        |content: &[u8]| with_keys(content, names, keys, host.is_hashed).expect("there is randomness");
    let after = write(before);
    for key in keys {
        assert!(host.verdicts(&after, key).iter().all(|verdict| *verdict == Verdict::Known), "{key:?}");
    }
    for key in &host.others {
        assert!(!host.verdicts(&after, key).contains(&Verdict::Known), "{key:?} is still taken");
    }
    for added in keeps(&host, before, &after) {
        assert!(keys.iter().any(|key| host.verdicts(added, key).contains(&Verdict::Known)), "{added:?}");
    }
    assert_eq!(write(&after), after, "what says so already is left as it is");
    if let Ok(changes) = compare(&[&after], names, keys) {
        assert_eq!(changes, Changes::default());
    }
    let without = without_host(before, names);
    assert!(keeps(&host, before, &without).is_empty(), "nothing is added");
    assert!(!without.split(|byte| *byte == b'\n').any(|line| host.has(line)), "nothing is left of the host");
}

/// Nothing is missing but lines of the host's, and what is left is in order: what has come after that.
fn keeps<'a>(host: &Host, before: &[u8], after: &'a [u8]) -> Vec<&'a [u8]> {
    let lines = |content: &'a [u8]| content.split_inclusive(|byte| *byte == b'\n').map(without_end);
    let mut left = lines(after).peekable();
    for line in before.split_inclusive(|byte| *byte == b'\n').map(without_end) {
        if left.next_if(|kept| *kept == line).is_none() {
            assert!(host.has(line), "{:?} is lost", String::from_utf8_lossy(line));
        }
    }
    left.collect()
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
