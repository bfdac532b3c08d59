//! What publishing would do, as data: `--plan` prints it, and every publish shows it first.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::migration::{Difference, Severity};

/// What publishing would do to one database.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// The host.
    pub host: String,
    /// The database's name.
    pub database: String,
    /// The database's identity, if there is one already.
    pub identity: Option<String>,
    /// The identity that owns the database, or will.
    pub owner: Option<String>,
    /// The server's version.
    pub server: String,
    /// What is done.
    pub operation: Operation,
    /// The module that will be live; with [`Operation::Unchanged`] the one that is.
    pub module: ModuleFacts,
    /// The module that is live: its sha256 if it is known, else the server's own hash of it.
    pub replaces: Option<String>,
    /// Who says what the migration does.
    pub source: Source,
    /// What is different for data and clients, as far as comparing the two modules tells.
    pub differences: Vec<Difference>,
    /// The migration, line by line, in the server's words where it has any.
    pub plan_lines: Vec<String>,
    /// Whether clients that are out there stop working.
    pub breaks_clients: bool,
    /// Why the server cannot migrate the data by itself.
    pub manual: Option<String>,
    /// What is lost if this is carried out.
    pub loses_data: Option<String>,
    /// How many rows there are in the tables concerned.
    pub rows: BTreeMap<String, u64>,
    /// The snapshot that is taken first.
    pub snapshot: Option<SnapshotFacts>,
    /// The snapshot that the data is taken back to, or could be.
    pub restores: Option<RestoreFacts>,
    /// How far this preview goes, and what else is good to know.
    pub notes: Vec<String>,
}

/// What is done to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It is made.
    Create,
    /// It gets another module.
    Update,
    /// Nothing: the module is live already.
    Unchanged,
    /// It gets a module that it has had before.
    Rollback,
    /// It gets a module that it has had before, and the data of that time.
    Restore,
}

/// A module, for readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleFacts {
    /// Its sha256, in hex.
    pub sha256: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Who says what a migration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The server that will carry it out.
    Server,
    /// A comparison of the two modules.
    Schemas,
}

/// A snapshot that would be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotFacts {
    /// How much there is to copy, in bytes.
    pub bytes: u64,
    /// How much room there is, in bytes.
    pub free: u64,
    /// How it is copied.
    pub kind: CopyKind,
}

/// How a snapshot is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyKind {
    /// The file system shares the blocks: at once, and without taking room.
    Reflink,
    /// Byte by byte.
    Copy,
}

/// A snapshot that data could be taken back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreFacts {
    /// When it was taken, UTC, as its directory is named: `20260102T030405Z`.
    pub taken: String,
    /// How many rows it holds, as far as they were counted.
    pub rows: BTreeMap<String, u64>,
}

/// What must be agreed to by a flag of its own, and on a terminal by typing the database's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Clients that are out there stop working. Why.
    BreakClients(String),
    /// All rows are deleted. Why.
    DeleteData(String),
    /// Rows that came after the snapshot are lost. Which.
    RestoreData(String),
}

impl Consent {
    /// The flag that agrees.
    pub fn flag(&self) -> &'static str {
        match self {
            Self::BreakClients(_) => "--break-clients",
            Self::DeleteData(_) => "--delete-data",
            Self::RestoreData(_) => "--restore-data",
        }
    }

    /// Why it is needed, in a sentence without a full stop.
    pub fn reason(&self) -> &str {
        let (Self::BreakClients(reason) | Self::DeleteData(reason) | Self::RestoreData(reason)) = self;
        reason
    }
}

impl Preview {
    /// What must be agreed to before this can be carried out.
    pub fn consents(&self) -> Vec<Consent> {
        let mut consents = Vec::new();
        if self.operation == Operation::Restore {
            consents.extend(self.loses_data.clone().map(Consent::RestoreData));
        } else {
            consents.extend(self.loses_data.clone().map(Consent::DeleteData));
        }
        if self.breaks_clients {
            consents.push(Consent::BreakClients(self.broken()));
        }
        consents
    }

    /// What clients stop working of.
    fn broken(&self) -> String {
        let breaks =
            self.differences.iter().filter(|difference| difference.severity == Severity::BreaksClients);
        let what: Vec<&str> = breaks.map(|difference| difference.what.as_str()).collect();
        match what.as_slice() {
            [] => "clients that are out there stop working".to_owned(),
            what => format!("clients that are out there stop working ({})", what.join("; ")),
        }
    }
}
