//! Every database of a host, and every directory of a replica: whose they are and how large.
//!
//! The server has no request for either. What could be the identity of a database is looked for in its files, where
//! it stands plainly, and the server is asked about each. A replica's directory is only taken for an orphan if it
//! names its database itself and the server, which has every database open by then, has nothing to do with it.

mod orphan;
mod reading;
mod replica;

use serde::Serialize;
use stdbctl_engine::dialogue::{self, condense};
use stdbctl_engine::host::Host;

use super::DatabaseError;
use crate::owner::{self, Identity};
use crate::server::script_front;
use crate::settings::Settings;

pub use self::orphan::{Freed, free};

/// What was found on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// The server's version.
    pub server: Option<String>,
    /// The databases, by their first name.
    pub databases: Vec<Database>,
    /// The directories that nothing needs any more.
    pub orphans: Vec<Orphan>,
    /// The directories that nothing is known of. They are never touched.
    pub unknown: Vec<Unknown>,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// What it is called; there may be no name, or several.
    pub names: Vec<String>,
    /// Its own identity.
    pub identity: Identity,
    /// Its owner's identity.
    pub owner: Identity,
    /// Where the owner's token is.
    pub token: Token,
    /// The sha256 of its module, if it was published from here.
    pub sha256: Option<String>,
    /// What the server calls its program. Nobody but the owner can ask.
    pub program: Option<String>,
    /// The number of its live replica, if the server has that open.
    pub replica: Option<u64>,
    /// What the live replica takes on the disk.
    pub bytes: Option<u64>,
    /// When it was last published from here, in seconds of the Unix epoch.
    pub published: Option<i64>,
}

/// Where the token of a database's owner is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "at", content = "path", rename_all = "snake_case")]
pub enum Token {
    /// It is the host's own, and in its place.
    Own,
    /// It is the host's own, and missing: it can be made again.
    OwnMissing,
    /// It is another's and was adopted.
    Adopted,
    /// It is another's and in this file of the `spacetime` command.
    Elsewhere(String),
    /// It is another's and was not found.
    Unknown,
}

/// A directory that nothing needs any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// The number it is called by.
    pub replica: u64,
    /// The database it belonged to. One that is half removed may not say so any more.
    pub identity: Option<Identity>,
    /// What it takes on the disk.
    pub bytes: u64,
    /// Why it is one.
    #[serde(flatten)]
    pub why: Why,
}

/// Why nothing needs a directory any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Its database was deleted.
    Deleted,
    /// Its database has begun anew in another one.
    Replaced {
        /// The one in which it lives.
        by: u64,
    },
    /// It was being removed when that was cut off.
    HalfRemoved,
}

/// A directory that nothing is known of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// What it is called.
    pub name: String,
    /// What it takes on the disk.
    pub bytes: u64,
    /// Why nothing is known of it.
    pub why: String,
}

impl Survey {
    /// What the orphans take on the disk together.
    pub fn orphaned_bytes(&self) -> u64 {
        self.orphans.iter().map(|orphan| orphan.bytes).sum()
    }
}

/// Looks a host over.
///
/// # Errors
/// If the host cannot be asked, or its server does not run: nothing can be said without it.
pub async fn survey(host: &dyn Host, settings: &Settings) -> Result<Survey, DatabaseError> {
    let mut script = front(settings);
    script.push_str("survey");
    let records = dialogue::ask(host, &script, Vec::new()).await?;
    reading::survey(&records)
}

fn front(settings: &Settings) -> String {
    let mut front = script_front(settings);
    front.push_str(&owner::script_part());
    front.push_str(&condense(include_str!("../sh/survey.sh")));
    front
}
