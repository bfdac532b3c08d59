//! `known_hosts` files: which keys are on record for a host, matched as OpenSSH matches them.
//!
//! russh has a check of its own, which takes revoked keys for good ones and knows no wildcards.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::key::parse_public_key;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

use crate::target::DEFAULT_PORT;

/// Bytes of salt in a hashed name, as in OpenSSH.
const SALT: usize = 20;

/// A line of a `known_hosts` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    /// The fingerprint of the key on that line.
    pub(crate) fingerprint: String,
}

/// What the files say about a key that a host has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This very key is on record.
    Known,
    /// No key is.
    Unknown,
    /// Another key is, of whatever type, and this one is not.
    Changed(Place),
    /// The key is marked as revoked, whatever else is on record.
    Revoked(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Debug, Clone)]
struct Entry {
    marker: Marker,
    hosts: String,
    key: PublicKey,
    file: Arc<Path>,
    line: usize,
}

/// Every usable line of the files, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownHosts {
    entries: Vec<Entry>,
}

/// The host's name as `known_hosts` spells it: lower case, and `[host]:port` unless the port is 22.
pub(crate) fn spelled(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == DEFAULT_PORT { host } else { format!("[{host}]:{port}") }
}

/// As which a host is looked for: as it is spelled, then without its port.
fn names(host: &str, port: u16) -> impl Iterator<Item = String> {
    let without_port = (port != DEFAULT_PORT).then(|| spelled(host, DEFAULT_PORT));
    std::iter::once(spelled(host, port)).chain(without_port)
}

pub(crate) fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

impl KnownHosts {
    /// Reads the files. One that does not exist is empty; one that cannot be read is an error, because the line
    /// that would have said "changed" could be in it.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let mut known = Self::default();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => known.add(file, &bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((file.clone(), error)),
            }
        }
        Ok(known)
    }

    /// Takes up the lines of a file's content.
    pub(crate) fn add(&mut self, file: &Path, bytes: &[u8]) {
        let file: Arc<Path> = Arc::from(file);
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            if let Some((marker, hosts, key)) = read_line(&line) {
                let hosts = hosts.to_owned();
                self.entries.push(Entry { marker, hosts, key, file: Arc::clone(&file), line: index + 1 });
            }
        }
    }

    /// What is on record for a key that the host has shown.
    pub(crate) fn check(&self, host: &str, port: u16, key: &KeyData) -> Verdict {
        if let Some(place) = self.revoked(host, port, key) {
            return Verdict::Revoked(place);
        }
        let found = self.compare(&spelled(host, port), key);
        // OpenSSH falls back to the name without the port, but only to recognise a key, never to refuse one.
        if found == Verdict::Unknown
            && port != DEFAULT_PORT
            && self.compare(&spelled(host, DEFAULT_PORT), key) == Verdict::Known
        {
            return Verdict::Known;
        }
        found
    }

    /// The same for the host under this very name, but for what is revoked.
    pub(crate) fn compare(&self, name: &str, key: &KeyData) -> Verdict {
        let recorded: Vec<_> = self.matching(name, Marker::None).collect();
        if recorded.iter().any(|entry| entry.key.key_data() == key) {
            return Verdict::Known;
        }
        // As with OpenSSH, whatever its type. A line with a key of the type that was shown tells most.
        let of_type = recorded.iter().find(|entry| entry.key.key_data().algorithm() == key.algorithm());
        of_type.or(recorded.first()).map_or(Verdict::Unknown, |entry| Verdict::Changed(entry.place()))
    }

    /// The line that revokes this key (a host's, or an authority's) for this host.
    ///
    /// The name without the port counts too: what is recognised by it must not be taken where it is revoked by it.
    pub(crate) fn revoked(&self, host: &str, port: u16, key: &KeyData) -> Option<Place> {
        self.place(host, port, Marker::Revoked, key)
    }

    /// The line that this key of the host's is recognised by.
    pub(crate) fn recorded(&self, host: &str, port: u16, key: &KeyData) -> Option<Place> {
        self.place(host, port, Marker::None, key)
    }

    /// The line that trusts this authority's certificates for the host.
    pub(crate) fn authority(&self, host: &str, port: u16, key: &KeyData) -> Option<Place> {
        self.place(host, port, Marker::Authority, key)
    }

    fn place(&self, host: &str, port: u16, marker: Marker, key: &KeyData) -> Option<Place> {
        let find = |name: String| {
            let mut entries = self.matching(&name, marker);
            entries.find(|entry| entry.key.key_data() == key).map(Entry::place)
        };
        names(host, port).find_map(find)
    }

    /// The keys of the authorities whose certificates this host may show.
    pub(crate) fn authorities(&self, host: &str, port: u16) -> Vec<&KeyData> {
        let trusted = |name: String| self.matching(&name, Marker::Authority).collect::<Vec<_>>();
        names(host, port).flat_map(trusted).map(|entry| entry.key.key_data()).collect()
    }

    /// The types of the keys on record for the host.
    pub(crate) fn key_types(&self, host: &str, port: u16) -> Vec<Algorithm> {
        self.matching(&spelled(host, port), Marker::None).map(|entry| entry.key.algorithm()).collect()
    }

    /// The file that has this key on record for the host under its very name.
    pub(crate) fn file_with(&self, name: &str, key: &KeyData) -> Option<&Path> {
        let mut entries = self.matching(name, Marker::None);
        entries.find(|entry| entry.key.key_data() == key).map(|entry| &*entry.file)
    }

    fn matching<'a, 'n>(
        &'a self,
        name: &'n str,
        marker: Marker,
    ) -> impl Iterator<Item = &'a Entry> + use<'a, 'n> {
        self.entries.iter().filter(move |entry| entry.marker == marker && hosts_match(&entry.hosts, name))
    }
}

impl Entry {
    fn place(&self) -> Place {
        Place {
            file: self.file.to_path_buf(),
            line: self.line,
            fingerprint: fingerprint(self.key.key_data()),
        }
    }
}

/// Marker, host field and key of a line; None for a comment, and for what OpenSSH would pass over too.
pub(crate) fn read_line(line: &str) -> Option<(Marker, &str, PublicKey)> {
    let mut fields = line.split([' ', '\t', '\r']).filter(|field| !field.is_empty());
    let first = fields.next()?;
    let (marker, hosts) = match first {
        "@cert-authority" => (Marker::Authority, fields.next()?),
        "@revoked" => (Marker::Revoked, fields.next()?),
        _ if first.starts_with(['#', '@']) => return None,
        hosts => (Marker::None, hosts),
    };
    let (algorithm, blob) = (fields.next()?, fields.next()?);
    let key = parse_public_key(&STANDARD.decode(blob).ok()?).ok()?;
    (key.algorithm().as_str() == algorithm).then_some((marker, hosts, key))
}

/// Whether the host field of a line covers a name, which must be in lower case.
pub(crate) fn hosts_match(field: &str, name: &str) -> bool {
    if field.starts_with('|') {
        return hash_matches(field, name).unwrap_or(false);
    }
    let mut found = false;
    for pattern in field.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if wildcard_matches(&pattern.to_lowercase(), name) => return false,
            Some(_) => {}
            None => found = found || wildcard_matches(&pattern.to_lowercase(), name),
        }
    }
    found
}

fn hash_matches(field: &str, name: &str) -> Option<bool> {
    let (salt, hash) = field.strip_prefix("|1|")?.split_once('|')?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&STANDARD.decode(salt).ok()?).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&STANDARD.decode(hash).ok()?).is_ok())
}

/// `*` for any number of characters, `?` for one; nothing else is special. Linear in space, and at worst the
/// product of the two lengths in time.
pub(crate) fn wildcard_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while position < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, position));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || Some(wanted) == name.get(position) => {
                at += 1;
                position += 1;
            }
            _ => match &mut retry {
                Some((star, from)) => {
                    *from += 1;
                    (at, position) = (*star + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// A line, with its end, that puts a key on record for names that stand for the same host.
pub(crate) fn line_for(hosts: &str, key: &KeyData) -> io::Result<String> {
    let key = PublicKey::new(key.clone(), "").to_openssh().map_err(io::Error::other)?;
    Ok(format!("{hosts} {}\n", key.trim_end()))
}

/// A name as it stands in a line that is not to tell it, with a salt of its own.
pub(crate) fn hashed(name: &str) -> io::Result<String> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).map_err(io::Error::other)?;
    mac.update(name.as_bytes());
    Ok(format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
