//! Observation: one read-only script that asks for all that all tasks need to know, and what it found.
//!
//! Tasks say what they need through [`Probes`]; questions of one kind become one command on the host, so that a
//! host with forty tasks starts a dozen processes, not two hundred.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::record::Record;
use crate::sh::{condense, quote, words};

/// What all tasks of a host need to know of it.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    paths: BTreeSet<String>,
    files: BTreeMap<String, String>,
    secrets: BTreeSet<String>,
    packages: BTreeSet<String>,
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    units: BTreeSet<String>,
    stamps: BTreeSet<String>,
    fragments: Vec<Fragment>,
}

#[derive(Debug)]
struct Fragment {
    task: String,
    script: String,
    stable: bool,
}

impl Probes {
    /// Type, owner, mode and time of last write of a path.
    pub(crate) fn path(&mut self, path: &str) {
        self.paths.insert(path.to_owned());
    }

    /// The content of a file, sent back only if its sha256 is not `wanted`.
    pub(crate) fn file(&mut self, path: &str, wanted: &str) {
        self.path(path);
        self.files.insert(path.to_owned(), wanted.to_owned());
    }

    /// The sha256 of a file whose content nobody may see.
    pub(crate) fn secret(&mut self, path: &str) {
        self.path(path);
        self.secrets.insert(path.to_owned());
    }

    pub(crate) fn package(&mut self, name: &str) {
        self.packages.insert(name.to_owned());
    }

    pub(crate) fn user(&mut self, name: &str) {
        self.users.insert(name.to_owned());
    }

    pub(crate) fn group(&mut self, name: &str) {
        self.groups.insert(name.to_owned());
    }

    pub(crate) fn unit(&mut self, name: &str) {
        self.units.insert(name.to_owned());
    }

    /// What the service of this task was last started with.
    pub(crate) fn stamp(&mut self, task: &str) {
        self.stamps.insert(task.to_owned());
    }

    /// The output of a read-only piece of sh, for what no common question covers. `stable` if a host that nobody
    /// touches always answers the same: only that is compared before a change.
    pub(crate) fn fragment(&mut self, task: &str, script: String, stable: bool) {
        self.fragments.push(Fragment { task: task.to_owned(), script, stable });
    }

    /// The functions `observe_stable` and `observe_volatile`, with all they call.
    pub(crate) fn functions(&self) -> String {
        let mut script = condense(concat!(include_str!("sh/record.sh"), include_str!("sh/observe.sh")));
        for (number, fragment) in self.fragments.iter().enumerate() {
            // A subshell, so that a fragment's variables and failures stay its own.
            let _ = writeln!(script, "fragment_{number}() (\n{}\n)", fragment.script.trim_end());
        }
        script.push_str("observe_stable() {\n:\n");
        self.write_stable(&mut script);
        self.write_fragments(&mut script, true);
        script.push_str("}\nobserve_volatile() {\nsee_host \"$ssh_connection\"\n");
        self.write_fragments(&mut script, false);
        script.push_str("}\n");
        script
    }

    fn write_stable(&self, script: &mut String) {
        let lists = [
            ("see_paths", &self.paths),
            ("see_packages", &self.packages),
            ("see_users", &self.users),
            ("see_groups", &self.groups),
            ("see_units", &self.units),
            ("see_secrets", &self.secrets),
        ];
        for (function, names) in lists {
            if !names.is_empty() {
                let _ = writeln!(script, "{function} {}", words(names.iter().map(String::as_str)));
            }
        }
        if !self.files.is_empty() {
            let wanted: Vec<String> = self.files.iter().map(|(path, sum)| format!("{sum}  {path}")).collect();
            let paths = words(self.files.keys().map(String::as_str));
            let _ = writeln!(script, "see_files {} {paths}", quote(&wanted.join("\n")));
        }
        for task in &self.stamps {
            let _ = writeln!(script, "see_stamp {}", quote(task));
        }
    }

    fn write_fragments(&self, script: &mut String, stable: bool) {
        for (number, fragment) in self.fragments.iter().enumerate().filter(|(_, f)| f.stable == stable) {
            let kind = if stable { "extra" } else { "volatile" };
            let _ = writeln!(script, "see_extra {kind}:{} fragment_{number}", quote(&fragment.task));
        }
    }
}

/// What a host is, as far as it was asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// What the host says of itself.
    pub host: HostFacts,
    /// The paths that are there.
    pub paths: BTreeMap<String, PathState>,
    /// The packages that dpkg knows.
    pub packages: BTreeMap<String, PackageState>,
    /// The packages that a change planned earlier will install anew.
    pub(crate) fresh_packages: BTreeSet<String>,
    /// The users that are there.
    pub users: BTreeMap<String, UserState>,
    /// The groups that are there, with their ids.
    pub groups: BTreeMap<String, u32>,
    /// The units systemd knows.
    pub units: BTreeMap<String, UnitState>,
    /// What services were last started with, by task.
    pub stamps: BTreeMap<String, String>,
    /// The answers to the questions of single tasks.
    pub extras: BTreeMap<String, Extra>,
    /// sha256 of what a host that nobody touches answers again.
    pub(crate) digest: String,
}

/// What a host says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it; see os-release(5) and uname(1)")]
pub struct HostFacts {
    pub id: String,
    pub version: String,
    pub machine: String,
    /// Seconds since 1970.
    pub clock: i64,
    pub memory_kb: u64,
    /// The port of the SSH connection at the host's end.
    pub ssh_port: Option<u16>,
    /// What tells it from all other machines; empty if that is not known.
    pub machine_id: String,
}

/// A path that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    /// File, directory or link.
    pub kind: PathKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner's name.
    pub owner: String,
    /// Group's name.
    pub group: String,
    /// Seconds since 1970 of the last change of content; of what is planned to change, the end of time.
    pub changed: i64,
    /// sha256 in hex, for files that were asked for.
    pub sha256: Option<String>,
    /// Content, for files that are not as wanted and not large.
    pub content: Option<Vec<u8>>,
}

impl PathState {
    /// What will stand at a path once a planned change is made.
    pub(crate) fn planned(kind: PathKind, mode: u32, owner: &str, group: &str) -> Self {
        Self {
            kind,
            mode,
            owner: owner.to_owned(),
            group: group.to_owned(),
            changed: i64::MAX,
            sha256: None,
            content: None,
        }
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PathKind {
    File,
    Directory,
    Symlink { target: String },
    Other,
}

/// A package that dpkg knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    /// dpkg's abbreviated state: `ii` for installed.
    pub status: String,
    /// Its version.
    pub version: String,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it; see passwd(5)")]
pub struct UserState {
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

/// A systemd unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are systemctl's, in snake case")]
pub struct UnitState {
    pub load_state: String,
    pub active_state: String,
    pub unit_file_state: String,
    pub need_daemon_reload: bool,
    pub invocation_id: String,
    /// Seconds since 1970; 0 if it was never active.
    pub active_since: i64,
}

/// The answer to the question of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// What its fragment printed.
    pub text: String,
    /// Its exit status.
    pub status: i32,
}

impl Observation {
    /// Reads an observation out of the records of a script. What is not a record of an observation is passed over.
    pub(crate) fn read(records: &[Record]) -> Self {
        let mut seen = Self::default();
        let mut digest = Sha256::new();
        for record in records {
            if is_stable(&record.kind) {
                digest.update(format!("\n@ {} {}\n", record.kind, record.data.len()));
                digest.update(&record.data);
            }
            seen.take(record);
        }
        seen.digest = hex(&digest.finalize());
        seen
    }

    fn take(&mut self, record: &Record) {
        let text = record.text();
        match record.kind.split_once(':') {
            Some(("content", path)) => {
                if let Some(state) = self.paths.get_mut(path) {
                    state.content = record.data.split_last().map(|(_, content)| content.to_vec());
                }
            }
            Some(("stamp", task)) => {
                self.stamps.insert(task.to_owned(), text);
            }
            Some(("extra" | "volatile", task)) => {
                self.extras.insert(task.to_owned(), Extra::read(&text));
            }
            Some(_) => {}
            None => self.take_list(&record.kind, &text),
        }
    }

    fn take_list(&mut self, kind: &str, text: &str) {
        match kind {
            "host" => self.host = HostFacts::read(text),
            "paths" => self.paths.extend(text.lines().filter_map(read_path)),
            "sums" => {
                for (sum, path) in text.lines().filter_map(|line| line.split_once("  ")) {
                    if let Some(state) = self.paths.get_mut(path) {
                        state.sha256 = Some(sum.to_owned());
                    }
                }
            }
            "packages" => self.packages.extend(text.lines().filter_map(read_package)),
            "users" => self.users.extend(text.lines().filter_map(read_user)),
            "groups" => self.groups.extend(text.lines().filter_map(read_group)),
            "units" => self.units.extend(text.split("\n\n").filter_map(read_unit)),
            _ => {}
        }
    }

    /// Whether an extra question was answered with success.
    pub(crate) fn extra(&self, task: &str) -> Option<&Extra> {
        self.extras.get(task)
    }

    pub(crate) fn unit(&self, name: &str) -> UnitState {
        self.units.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn is_installed(&self, package: &str) -> bool {
        // Wanted, state, error: on hold or up for removal it is as installed as any other.
        self.packages.get(package).is_some_and(|state| state.status.get(1..) == Some("i"))
    }
}

/// Whether a host that nobody touches says the same again: what `observe_stable` prints.
fn is_stable(kind: &str) -> bool {
    match kind.split_once(':') {
        Some((what, _)) => matches!(what, "content" | "stamp" | "extra"),
        None => matches!(kind, "paths" | "sums" | "packages" | "users" | "groups" | "units"),
    }
}

impl Extra {
    fn read(text: &str) -> Self {
        let (text, status) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        Self { text: text.trim_end().to_owned(), status: status.parse().unwrap_or(-1) }
    }
}

impl HostFacts {
    fn read(text: &str) -> Self {
        let mut facts = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "id" => value.clone_into(&mut facts.id),
                "version" => value.clone_into(&mut facts.version),
                "machine" => value.clone_into(&mut facts.machine),
                "clock" => facts.clock = value.parse().unwrap_or_default(),
                "memory_kb" => facts.memory_kb = value.parse().unwrap_or_default(),
                // Client's address and port, then the host's own.
                "ssh" => facts.ssh_port = value.split(' ').nth(3).and_then(|port| port.parse().ok()),
                "machine_id" => value.clone_into(&mut facts.machine_id),
                _ => {}
            }
        }
        facts
    }
}

fn read_path(line: &str) -> Option<(String, PathState)> {
    let mut fields = line.splitn(8, '|');
    let path = fields.next()?.to_owned();
    let kind = fields.next()?;
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let (owner, group) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    let _size = fields.next()?;
    let changed = fields.next()?.parse().ok()?;
    let kind = match kind {
        "directory" => PathKind::Directory,
        "symbolic link" => PathKind::Symlink { target: read_target(fields.next()?)? },
        kind if kind.starts_with("regular") => PathKind::File,
        _ => PathKind::Other,
    };
    Some((path, PathState { kind, mode, owner, group, changed, sha256: None, content: None }))
}

/// The target out of stat's `'path' -> 'target'`.
fn read_target(text: &str) -> Option<String> {
    let (_, target) = text.split_once(" -> ")?;
    Some(target.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).unwrap_or(target).to_owned())
}

fn read_package(line: &str) -> Option<(String, PackageState)> {
    let mut fields = line.split('|');
    let name = fields.next()?.to_owned();
    let status = fields.next()?.trim().to_owned();
    Some((name, PackageState { status, version: fields.next()?.to_owned() }))
}

fn read_user(line: &str) -> Option<(String, UserState)> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, _, gid, _, home, shell] = fields.as_slice() else { return None };
    let gid = gid.parse().ok()?;
    Some(((*name).to_owned(), UserState { gid, home: (*home).to_owned(), shell: (*shell).to_owned() }))
}

fn read_group(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    Some((name, fields.nth(1)?.parse().ok()?))
}

fn read_unit(block: &str) -> Option<(String, UnitState)> {
    let fields: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
    let field = |name: &str| (*fields.get(name).unwrap_or(&"")).to_owned();
    let name = (*fields.get("Id")?).to_owned();
    Some((
        name,
        UnitState {
            load_state: field("LoadState"),
            active_state: field("ActiveState"),
            unit_file_state: field("UnitFileState"),
            need_daemon_reload: field("NeedDaemonReload") == "yes",
            invocation_id: field("InvocationID"),
            active_since: field("ActiveEnterTimestamp").trim_start_matches('@').parse().unwrap_or_default(),
        },
    ))
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The sha256 of some bytes, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The sha256 of a local file, in hex, read in pieces.
pub(crate) fn sha256_file(path: &str) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    while let count @ 1.. = file.read(&mut buffer)? {
        digest.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(hex(&digest.finalize()))
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
