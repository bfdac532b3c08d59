//! What the host has kept: modules, which of them a database has had, and snapshots of its data.

use std::collections::BTreeMap;

use stdbctl_engine::dialogue::Record;

use super::error::PublishError;
use super::preview::RestoreFacts;

/// What `see_store` has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Store {
    /// The modules whose bytes are there, with their sizes.
    pub(super) modules: BTreeMap<String, u64>,
    /// The modules that the database has had, oldest first.
    pub(super) history: Vec<Entry>,
    /// The snapshots of its data, oldest first.
    pub(super) snapshots: Vec<Snapshot>,
}

/// A module that a database has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// When, in seconds since 1970.
    pub(super) time: i64,
    pub(super) sha256: String,
    /// The server's own hash of it.
    pub(super) program: String,
    /// Who published it.
    pub(super) operator: String,
}

/// A snapshot of a database's data, and what was live when it was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// When it was taken: its directory's name.
    pub(super) taken: String,
    pub(super) program: String,
    /// Whether the data was deleted right after it was taken.
    pub(super) deleted: bool,
    pub(super) rows: BTreeMap<String, u64>,
}

impl Store {
    /// Reads the records of `see_store`. Lines that cannot be read are left out.
    pub(super) fn read(records: &[Record]) -> Self {
        let text = |kind: &str| {
            records.iter().find(|record| record.kind == kind).map(Record::text).unwrap_or_default()
        };
        Self {
            modules: counts(text("modules").lines()),
            history: text("history").lines().filter_map(Entry::read).collect(),
            snapshots: snapshots(&text("snapshots")),
        }
    }

    /// The sha256 of the module that the server knows by this hash.
    pub(super) fn sha256_of(&self, program: &str) -> Option<&str> {
        let entry = self.history.iter().rev().find(|entry| entry.program == program)?;
        Some(&entry.sha256)
    }

    /// The module to go back to: the one that begins with `to`, else the one before the one that is live.
    pub(super) fn target(
        &self,
        database: &str,
        live: Option<&str>,
        to: Option<&str>,
    ) -> Result<&Entry, PublishError> {
        let Some(to) = to else {
            let before = self.history.iter().rev().find(|entry| Some(entry.program.as_str()) != live);
            return before.ok_or_else(|| PublishError::NothingBefore {
                database: database.to_owned(),
                history: self.listed(),
            });
        };
        let wanted = to.to_ascii_lowercase();
        let mut found: Vec<&Entry> =
            self.history.iter().filter(|entry| entry.sha256.starts_with(&wanted)).collect();
        found.sort_by(|one, two| one.sha256.cmp(&two.sha256));
        found.dedup_by(|one, two| one.sha256 == two.sha256);
        match found.as_slice() {
            [one] if !wanted.is_empty() => Ok(one),
            others => Err(PublishError::NoSuchModule {
                database: database.to_owned(),
                to: to.to_owned(),
                ambiguous: !others.is_empty(),
                history: self.listed(),
            }),
        }
    }

    /// The newest snapshot that was taken while this module was live.
    pub(super) fn snapshot_of(&self, program: &str) -> Option<&Snapshot> {
        self.snapshots.iter().rev().find(|snapshot| snapshot.program == program)
    }

    /// The modules there are to go back to, newest first, a line each.
    pub(super) fn listed(&self) -> Vec<String> {
        let mut seen = Vec::new();
        let mut lines = Vec::new();
        for entry in self.history.iter().rev() {
            if seen.contains(&&entry.sha256) {
                continue;
            }
            seen.push(&entry.sha256);
            let gone = if self.modules.contains_key(&entry.sha256) { "" } else { " (not kept any more)" };
            lines.push(format!("{}{gone}", entry.described()));
        }
        lines
    }
}

impl Entry {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let time = words.next()?.parse().ok()?;
        let (sha256, program) = (words.next()?.to_owned(), words.next()?.to_owned());
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Self { time, sha256, program, operator: words.next().unwrap_or_default().to_owned() })
    }

    /// `3f2a81b09c4d of 2026-01-02 03:04 UTC by ada@laptop`.
    fn described(&self) -> String {
        let short = self.sha256.get(..12).unwrap_or(&self.sha256);
        format!("{short} of {} by {}", date(self.time), self.operator)
    }
}

impl Snapshot {
    pub(super) fn facts(&self) -> RestoreFacts {
        RestoreFacts { taken: self.taken.clone(), rows: self.rows.clone() }
    }
}

/// `2026-01-02 03:04 UTC`.
pub(super) fn date(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("{seconds} s after 1970"),
    }
}

/// `20260102T030405Z` as `2026-01-02 03:04:05 UTC`; anything else as it is.
pub(super) fn taken(name: &str) -> String {
    let part = |range| name.get(range).filter(|part: &&str| part.bytes().all(|byte| byte.is_ascii_digit()));
    match (part(0..4), part(4..6), part(6..8), part(9..11), part(11..13), part(13..15)) {
        (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) => {
            format!("{year}-{month}-{day} {hour}:{minute}:{second} UTC")
        }
        _ => name.to_owned(),
    }
}

/// Lines `NAME NUMBER`.
pub(super) fn counts<'l>(lines: impl Iterator<Item = &'l str>) -> BTreeMap<String, u64> {
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(n, c)| Some((n.to_owned(), c.parse().ok()?)))
        .collect()
}

fn snapshots(text: &str) -> Vec<Snapshot> {
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for line in text.lines() {
        match (line.split_once(' '), snapshots.last_mut()) {
            (None, Some(last)) if line == "deleted" => last.deleted = true,
            (Some(("snapshot", taken)), _) => {
                snapshots.push(Snapshot { taken: taken.to_owned(), ..Snapshot::default() });
            }
            (Some(("program", program)), Some(last)) => program.clone_into(&mut last.program),
            (Some(("rows", rows)), Some(last)) => last.rows.extend(counts(std::iter::once(rows))),
            _ => {}
        }
    }
    snapshots.sort_by(|one, two| one.taken.cmp(&two.taken));
    snapshots
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
