//! What a host's own list of its keys changes in `known_hosts` files: as OpenSSH's `UpdateHostKeys`, line by line.

use std::io;

use russh::keys::ssh_key::public::KeyData;

use crate::known_hosts::{Marker, hashed, hosts_match, line_for, read_line};
use crate::known_hosts_file::is_unfinished;

/// As what a host is on record.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The host's name as `known_hosts` spells it.
    pub(crate) host: String,
    /// Its address, spelled alike, where that has lines of its own.
    pub(crate) address: Option<String>,
}

/// What the files must change to say what the host says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Keys that are on record in none of the files.
    pub(crate) new: Vec<KeyData>,
    /// Keys on record that the host has no more.
    pub(crate) gone: Vec<KeyData>,
}

/// Why the files are left as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandsOff {
    #[error("a line for the host has a marker, a wildcard or many names")]
    Complex,
    #[error("a key of the host is on record for another name too")]
    OtherName,
}

/// Which of the names a line covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Covered {
    host: bool,
    address: bool,
}

impl Covered {
    fn any(self) -> bool {
        self.host || self.address
    }

    fn and(self, other: Self) -> Self {
        Self { host: self.host || other.host, address: self.address || other.address }
    }
}

impl Names {
    fn covered(&self, hosts: &str) -> Covered {
        let covers = |name: &String| hosts_match(hosts, name);
        Covered { host: covers(&self.host), address: self.address.as_ref().is_some_and(covers) }
    }

    /// The key that a line has on record for them.
    fn recorded(&self, said: Option<Said>) -> Option<(Covered, KeyData)> {
        let (marker, hosts, key) = said?;
        let covered = self.covered(&hosts);
        (marker == Marker::None && covered.any()).then_some((covered, key))
    }
}

/// What a line says: its marker, its host field and its key.
type Said = (Marker, String, KeyData);

/// Lines as they stand, with their ends, and what each says.
fn lines(content: &[u8]) -> impl Iterator<Item = (&[u8], Option<Said>)> {
    content.split_inclusive(|byte| *byte == b'\n').map(|raw| {
        let line = String::from_utf8_lossy(raw.strip_suffix(b"\n").unwrap_or(raw));
        let said =
            read_line(&line).map(|(marker, hosts, key)| (marker, hosts.to_owned(), KeyData::from(key)));
        (raw, said)
    })
}

/// Compares the keys that the host says it has with those that the files have for it.
///
/// # Errors
/// If there is something to change, but a line in the way that somebody has written by hand.
pub(crate) fn compare(files: &[&[u8]], names: &Names, keys: &[KeyData]) -> Result<Changes, HandsOff> {
    let mut is_on_record = vec![false; keys.len()];
    let (mut gone, mut others) = (Vec::new(), Vec::new());
    let mut hands_off = None;
    for (marker, hosts, key) in files.iter().flat_map(|content| lines(content)).filter_map(|(_, said)| said) {
        let covered = names.covered(&hosts);
        if !covered.any() {
            if keys.contains(&key) {
                hands_off.get_or_insert(HandsOff::OtherName);
            }
            others.push(key);
            continue;
        }
        if marker != Marker::None {
            hands_off = Some(HandsOff::Complex);
            continue;
        }
        if names.address.is_some() && hosts.contains(',') && !(covered.host && covered.address) {
            hands_off.get_or_insert(HandsOff::OtherName);
            if !covered.host {
                continue;
            }
        }
        if is_complex(&hosts) {
            hands_off = Some(HandsOff::Complex);
            continue;
        }
        match keys.iter().position(|ours| *ours == key).and_then(|index| is_on_record.get_mut(index)) {
            Some(is_on_record) => *is_on_record = true,
            None => gone.push(key),
        }
    }
    let is_new = |(key, is_on_record): (&KeyData, bool)| (!is_on_record).then(|| key.clone());
    let changes = Changes { new: keys.iter().zip(is_on_record).filter_map(is_new).collect(), gone };
    match hands_off {
        _ if changes == Changes::default() => Ok(changes),
        Some(reason) => Err(reason),
        // The other names would be left with a key that the host has no more.
        None if changes.gone.iter().any(|key| others.contains(key)) => Err(HandsOff::OtherName),
        None => Ok(changes),
    }
}

/// Whether somebody has written it: `ssh` itself writes one name, or a name and an address.
fn is_complex(hosts: &str) -> bool {
    hosts.contains(['*', '?']) || hosts.matches(',').count() > 1
}

/// The first of the user's files, with these keys and no others for the host.
///
/// # Errors
/// If there are no random bytes to hash a name with.
pub(crate) fn with_keys(
    content: &[u8],
    names: &Names,
    keys: &[KeyData],
    is_hashed: bool,
) -> io::Result<Vec<u8>> {
    let mut kept = Vec::with_capacity(content.len());
    let mut covered = vec![Covered::default(); keys.len()];
    for (raw, said) in lines(content) {
        if let Some((now, key)) = names.recorded(said) {
            let place = keys.iter().position(|ours| *ours == key);
            let Some(covered) = place.and_then(|place| covered.get_mut(place)) else { continue };
            *covered = covered.and(now);
        }
        kept.extend_from_slice(raw);
    }
    for (key, covered) in keys.iter().zip(covered) {
        for hosts in missing(names, covered, is_hashed)? {
            if is_unfinished(&kept) {
                kept.push(b'\n');
            }
            kept.extend_from_slice(line_for(&hosts, key)?.as_bytes());
        }
    }
    Ok(kept)
}

/// The host fields of the lines that a key lacks.
fn missing(names: &Names, covered: Covered, is_hashed: bool) -> io::Result<Vec<String>> {
    let host = (!covered.host).then_some(&names.host);
    let address = names.address.as_ref().filter(|_| !covered.address);
    match (host, address) {
        (Some(host), Some(address)) if !is_hashed => Ok(vec![format!("{host},{address}")]),
        (host, address) => {
            let names = host.into_iter().chain(address);
            names.map(|name| if is_hashed { hashed(name) } else { Ok(name.clone()) }).collect()
        }
    }
}

/// Another of the user's files, without the host: its keys are all in the first.
pub(crate) fn without_host(content: &[u8], names: &Names) -> Vec<u8> {
    lines(content)
        .filter_map(|(raw, said)| names.recorded(said).is_none().then_some(raw))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
#[path = "known_hosts_update_tests.rs"]
mod tests;
