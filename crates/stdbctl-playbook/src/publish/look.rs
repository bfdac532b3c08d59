//! The first look at a host: who answers, what is live under the name, whose it is, and what is kept of it.

use stdbctl_engine::dialogue::{Record, assign, condense};

use super::error::PublishError;
use super::history::Store;
use crate::owner::{self, Claims, Identity, KeyFile};
use crate::schema::Definition;
use crate::server::{self, Answer, Version};
use crate::settings::Settings;

/// Where the host keeps what is stdbctl's own.
const STATE: &str = "/var/lib/stdbctl";

/// What was seen of a host.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) version: Version,
    /// What is there under the name.
    pub(super) database: Option<Database>,
    pub(super) store: Store,
    owners: owner::Seen,
}

/// A database that is there.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) identity: Identity,
    pub(super) owner: Identity,
    /// The server's hash of the module that is live, if there is a token to ask with.
    pub(super) live: Option<String>,
    /// What the live module is made of, if it could be read.
    pub(super) definition: Option<Definition>,
}

/// Whether there is a token to act as an owner with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// It is there and fits.
    Fits,
    /// It can be made from these claims.
    Makeable(Claims),
}

/// The front of a script about one database: all functions that look.
pub(super) fn front(settings: &Settings, database_name: &str) -> String {
    let mut script = server::script_front(settings);
    script.push_str(&assign("state", STATE));
    script.push_str(&assign("database_name", database_name));
    script.push_str(&owner::script_part());
    script.push_str(&condense(include_str!("../sh/store.sh")));
    script
}

/// The functions about a database whose identity is set.
pub(super) fn about_data() -> String {
    condense(concat!(include_str!("../sh/snapshot.sh"), include_str!("../sh/rows.sh")))
}

/// The script of the first look.
pub(super) fn script(settings: &Settings, database_name: &str) -> String {
    let mut script = front(settings, database_name);
    script.push_str("database=\n");
    script.push_str(&assign("owner", owner::owner().as_str()));
    script.push_str(&about_data());
    script.push_str(&condense(include_str!("../sh/preview.sh")));
    script.push_str("see_publish\n");
    script
}

impl Seen {
    /// Reads the records of the first look.
    pub(super) fn read(records: &[Record]) -> Result<Self, PublishError> {
        if let Some(moving) = records.iter().find(|record| record.kind == "moving") {
            return Err(moved(&moving.text()));
        }
        let health = answer(records, "health")?;
        if health.status == 0 {
            return Err(down(&health, records));
        }
        let version =
            Version::of_health(&health).ok_or_else(|| PublishError::Answer(said("/v1/health", &health)))?;
        let database = Database::read(records)?;
        Ok(Self { version, database, store: Store::read(records), owners: owner::Seen::read(records) })
    }

    /// The token to act with as the database's owner, or as the one it will have.
    pub(super) fn token(&self, name: &str) -> Result<Token, PublishError> {
        let owner = self.owner();
        let token = self.owners.token(&owner);
        if token.is_some_and(owner::Token::fits) {
            return Ok(Token::Fits);
        }
        let claims = token.and_then(|token| token.claims.clone());
        let own = (owner == owner::owner()).then(Claims::owner);
        let Some(claims) = claims.or(own) else {
            return Err(PublishError::Foreign { database: name.to_owned(), owner: owner.to_string() });
        };
        let why = match self.owners.keys.private {
            KeyFile::There => return Ok(Token::Makeable(claims)),
            KeyFile::Missing => "the server's signing key is missing, so none can be made",
            KeyFile::Unreadable => "the server's signing key cannot be read, so none can be made",
        };
        Err(PublishError::Token { database: name.to_owned(), why: why.to_owned() })
    }

    /// The database's owner, or the one it will have.
    pub(super) fn owner(&self) -> Identity {
        self.database.as_ref().map_or_else(owner::owner, |database| database.owner.clone())
    }

    /// The version of schemas that this server speaks best.
    pub(super) fn schema_version(&self) -> u32 {
        if self.version.major < 2 { 9 } else { 10 }
    }
}

impl Database {
    fn read(records: &[Record]) -> Result<Option<Self>, PublishError> {
        let about = answer(records, "database")?;
        if about.status == 404 {
            return Ok(None);
        }
        let unreadable = || PublishError::Answer(said("/v1/database", &about));
        let json = about.json().ok_or_else(unreadable)?;
        let identity = |field: &str| -> Option<Identity> {
            json.get(field)?.get("__identity__")?.as_str()?.parse().ok()
        };
        Ok(Some(Self {
            identity: identity("database_identity").ok_or_else(unreadable)?,
            owner: identity("owner_identity").ok_or_else(unreadable)?,
            live: Answer::find(records, "program").as_ref().and_then(live),
            definition: Answer::find(records, "schema").as_ref().and_then(definition),
        }))
    }
}

/// The program hash in the answer about `st_module`.
pub(super) fn live(answer: &Answer) -> Option<String> {
    let rows = answer.rows()?;
    let hash = rows.first()?.get(0)?.as_str()?;
    let digits = hash.strip_prefix("0x")?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| hash.to_owned())
}

fn definition(answer: &Answer) -> Option<Definition> {
    answer.is_success().then(|| Definition::from_json(&answer.body).ok()).flatten()
}

fn answer(records: &[Record], name: &str) -> Result<Answer, PublishError> {
    Answer::find(records, name).ok_or_else(|| PublishError::Answer(format!("nothing was said about {name}")))
}

/// A request and what came of it, short enough for a message.
fn said(request: &str, answer: &Answer) -> String {
    let words: String = answer.body.chars().take(200).collect();
    format!("{request}: {} {words}", answer.status)
}

/// Where data was to be moved from, what was to come there, and where it lies.
fn moved(told: &str) -> PublishError {
    let mut lines = told.lines().map(str::to_owned);
    let (replica, aside) = (lines.next().unwrap_or_default(), lines.nth(1).unwrap_or_default());
    PublishError::Moving { replica, aside }
}

fn down(health: &Answer, records: &[Record]) -> PublishError {
    let unit = records.iter().find(|record| record.kind == "unit").map(Record::text).unwrap_or_default();
    let mut lines = unit.lines();
    let state = lines.next().unwrap_or_default();
    let property = |name: &str| {
        state.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let why = match (property("LoadState"), property("ActiveState")) {
        ("not-found", _) => "there is no unit spacetimedb on this host".to_owned(),
        ("", _) => health.body.trim().to_owned(),
        (_, active @ ("active" | "activating")) => {
            format!(
                "the unit spacetimedb is {active} ({}), but: {}",
                property("SubState"),
                health.body.trim()
            )
        }
        (_, active) => {
            format!(
                "the unit spacetimedb is {active} ({}, result {})",
                property("SubState"),
                property("Result")
            )
        }
    };
    PublishError::Down { why, log: lines.map(str::to_owned).collect() }
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
