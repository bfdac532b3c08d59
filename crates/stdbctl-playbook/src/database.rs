//! The databases of a host: what one of them is asked and told as its owner, and which there are at all.
//!
//! Everything goes through curl on the host, with the token of the database's own owner. [`survey`] finds the
//! databases and the directories that deleted ones have left behind, and frees those.

mod error;
pub mod log;
pub mod sql;
pub mod survey;
pub mod value;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use stdbctl_engine::dialogue::{self, Changing, Record, assign, condense, quote};
use stdbctl_engine::host::{Host, Stdin};

pub use self::error::DatabaseError;
use self::error::words;
use self::log::Line;
use self::sql::Given;
use crate::owner::Identity;
use crate::schema::Definition;
use crate::server::{Answer, Version, script_front};
use crate::settings::Settings;

/// One database, by its name or identity.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    /// Where it is.
    pub host: &'a dyn Host,
    /// The host's settings.
    pub settings: &'a Settings,
    /// What it is called.
    pub name: &'a str,
}

/// What is known of a database when it has been asked anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its own identity.
    pub identity: Identity,
    /// Its owner's.
    pub owner: Identity,
    /// The server's version.
    pub version: Option<Version>,
}

/// What statements have given, up to the first that failed.
#[derive(Debug)]
pub struct Results {
    /// What those before it have given.
    pub given: Vec<Given>,
    /// Why it failed.
    pub failed: Option<DatabaseError>,
}

/// What a database is made of.
#[derive(Debug)]
pub struct Description {
    /// Whose it is.
    pub facts: Facts,
    /// Its tables, reducers and types.
    pub definition: Definition,
    /// How many rows its tables have; those that could not be counted are missing.
    pub rows: BTreeMap<String, u64>,
}

impl Named<'_> {
    /// Runs statements of SQL, one after the other, up to the first that fails.
    ///
    /// # Errors
    /// If not even the first could be run.
    pub async fn sql(&self, statements: &[String]) -> Result<Results, DatabaseError> {
        let lengths: Vec<_> = statements.iter().map(|statement| statement.len().to_string()).collect();
        let script = self.script(&format!("statements {}", lengths.join(" ")));
        let texts = statements.iter().map(|statement| Stdin::Bytes(statement.clone().into_bytes())).collect();
        let records = dialogue::ask_once(self.host, &script, texts).await?;
        self.facts(&records)?;
        let mut given = Vec::new();
        for number in 0..statements.len() {
            let answer = find(&records, &format!("sql{number}"), "what the statement gave")?;
            if !answer.is_success() {
                let failed = too_long(&records).unwrap_or_else(|| DatabaseError::of(&answer));
                return Ok(Results { given, failed: Some(failed) });
            }
            given.extend(Given::read(&answer.body).map_err(DatabaseError::Sql)?);
        }
        Ok(Results { given, failed: None })
    }

    /// Calls a reducer or procedure with a JSON array of arguments, and hands on what it returns.
    ///
    /// # Errors
    /// If it fails, or cannot be called.
    pub async fn call(&self, reducer: &str, arguments: &str) -> Result<String, DatabaseError> {
        let path = quote(&format!("call/{}", encoded(reducer)));
        let script = self.script(&format!(
            "say call \"/v1/database/$database/\"{path} {} -H 'Content-Type: application/json' || :",
            arguments.len()
        ));
        let payload = vec![Stdin::Bytes(arguments.as_bytes().to_vec())];
        let records = dialogue::ask_once(self.host, &script, payload).await?;
        self.facts(&records)?;
        let answer = find(&records, "call", "what the call gave")?;
        match answer.status {
            200..300 => Ok(answer.body),
            404 => Err(DatabaseError::NoReducer { reducer: reducer.to_owned(), words: words(&answer) }),
            530 => Err(DatabaseError::Reducer { reducer: reducer.to_owned(), words: words(&answer) }),
            _ => Err(too_long(&records).unwrap_or_else(|| DatabaseError::of(&answer))),
        }
    }

    /// Hands on each line of the module's log as the server writes it, the last `lines` of it first, and then, if
    /// asked to follow it, whatever comes until the connection ends.
    ///
    /// # Errors
    /// If there is no log, or it ends before it should.
    pub async fn logs(
        &self,
        lines: u32,
        follow: bool,
        mut on_line: impl FnMut(&str, &log::Entry),
    ) -> Result<(), DatabaseError> {
        let script = self.script(&format!("logs 'num_lines={lines}&follow={follow}'"));
        let (mut opening, mut said, mut status) = (Vec::new(), String::new(), None);
        let take = |record: &Record| match record.kind.as_str() {
            "line" => match Line::read(&record.text()) {
                Some(Line::Entry(entry)) => on_line(&record.text(), &entry),
                Some(Line::End(number)) => status = Some(number),
                // Only the first of them: they are kept until the end.
                Some(Line::Words(words)) if said.len() < 4096 => said = format!("{said}{words}\n"),
                Some(Line::Words(_)) | None => {}
            },
            "end" => {}
            _ => opening.push(record.clone()),
        };
        dialogue::follow(self.host, &script, take).await?;
        self.facts(&opening)?;
        match (status.unwrap_or(0), said.trim()) {
            (200, "") if !follow => Ok(()),
            (200 | 0, "") => Err(DatabaseError::Down("it has closed the log".to_owned())),
            (200 | 0, said) => Err(DatabaseError::Down(said.to_owned())),
            (status, said) => Err(DatabaseError::of(&Answer { status, body: said.to_owned() })),
        }
    }

    /// What it is made of, and how many rows it has.
    ///
    /// # Errors
    /// If it cannot be asked, or describes itself in a way that is not known here.
    pub async fn describe(&self) -> Result<Description, DatabaseError> {
        let records = dialogue::look(self.host, &self.script("describe")).await?;
        let facts = self.facts(&records)?;
        let schema = find(&records, "schema", "the schema")?;
        if !schema.is_success() {
            return Err(DatabaseError::of(&schema));
        }
        let definition = Definition::from_json(&schema.body).map_err(DatabaseError::Schema)?;
        Ok(Description { facts, definition, rows: rows(&records) })
    }

    /// Whose it is, and how many rows there are in which table.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub async fn count(&self) -> Result<(Facts, BTreeMap<String, u64>), DatabaseError> {
        let records = dialogue::look(self.host, &self.script("count_rows")).await?;
        Ok((self.facts(&records)?, rows(&records)))
    }

    /// Gives it another name; those it has go.
    ///
    /// # Errors
    /// If the server refuses: the name is taken, or is none.
    pub async fn rename(&self, who: Changing<'_>, new: &str) -> Result<(), DatabaseError> {
        let names = serde_json::json!([new]).to_string();
        let say = format!(
            "say changed \"/v1/database/$database/names\" {} -X PUT -H 'Content-Type: application/json' || :",
            names.len()
        );
        self.change(who, &say, vec![Stdin::Bytes(names.into_bytes())]).await.map(|_| ())
    }

    /// Locks it against being deleted, or unlocks it.
    ///
    /// # Errors
    /// If the server refuses, or is too old for it.
    pub async fn lock(&self, who: Changing<'_>, locked: bool) -> Result<(), DatabaseError> {
        let verb = if locked { "lock" } else { "unlock" };
        let say = format!(
            "request_as \"$owner\" \"/v1/database/$database/{verb}\" -X POST </dev/null; hand_on changed"
        );
        let (facts, changed) = self.try_change(who, &say, Vec::new()).await?;
        match (changed, facts.version) {
            (Err(DatabaseError::Refused { status: 404, .. }), Some(version))
                if !version.locks_databases() =>
            {
                Err(DatabaseError::CannotLock(version))
            }
            (changed, _) => changed,
        }
    }

    /// Deletes it, if it is still the one of this identity. Its files stay.
    ///
    /// # Errors
    /// If the server refuses: it is locked.
    pub async fn delete(&self, who: Changing<'_>, identity: &Identity) -> Result<(), DatabaseError> {
        let say = format!(
            "[ \"$database\" = {identity} ] || {{ rec stale ''; return 0; }}\n\
             request_as \"$owner\" \"/v1/database/$database\" -X DELETE </dev/null; hand_on changed"
        );
        match self.change(who, &say, Vec::new()).await {
            // Who is its owner may delete it, unless it is locked.
            Err(DatabaseError::Refused { status: 403, words }) => Err(DatabaseError::Locked(words)),
            other => other.map(|_| ()),
        }
    }

    async fn change(
        &self,
        who: Changing<'_>,
        say: &str,
        payload: Vec<Stdin>,
    ) -> Result<Facts, DatabaseError> {
        let (facts, changed) = self.try_change(who, say, payload).await?;
        changed.map(|()| facts)
    }

    /// Whose it is, and whether the change was made.
    async fn try_change(
        &self,
        who: Changing<'_>,
        say: &str,
        payload: Vec<Stdin>,
    ) -> Result<(Facts, Result<(), DatabaseError>), DatabaseError> {
        let open = format!("open_database {} || return 0", quote(&encoded(self.name)));
        let script = format!("{}main() {{\n{open}\n{say}\n}}\n", front(self.settings));
        let records = dialogue::change(self.host, who, &script, payload, |_| ()).await?;
        let facts = self.facts(&records)?;
        let answer = find(&records, "changed", "what became of the change")?;
        Ok((facts, if answer.is_success() { Ok(()) } else { Err(DatabaseError::of(&answer)) }))
    }

    fn script(&self, body: &str) -> String {
        let mut script = front(self.settings);
        script.push_str(&assign("name", &encoded(self.name)));
        script.push_str("if open_database \"$name\"; then\n");
        script.push_str(body);
        script.push_str("\nfi");
        script
    }

    /// What the script found out at its beginning.
    fn facts(&self, records: &[Record]) -> Result<Facts, DatabaseError> {
        let health = find(records, "health", "how the server is")?;
        if health.status == 0 {
            return Err(DatabaseError::of(&health));
        }
        let database = find(records, "database", "whose the database is")?;
        if database.status == 404 {
            return Err(DatabaseError::Unknown(self.name.to_owned()));
        }
        if let Some(record) = records.iter().find(|record| record.kind == "no_token") {
            return Err(DatabaseError::NoToken { name: self.name.to_owned(), owner: record.text() });
        }
        let json = database.json().ok_or_else(|| DatabaseError::of(&database))?;
        let identity =
            |field| identity_in(&json, field).ok_or(DatabaseError::Missing("whose the database is"));
        Ok(Facts {
            identity: identity("database_identity")?,
            owner: identity("owner_identity")?,
            version: Version::of_health(&health),
        })
    }
}

fn front(settings: &Settings) -> String {
    let mut front = script_front(settings);
    front.push_str("patience=110\n");
    front.push_str(&condense(include_str!("sh/database.sh")));
    front
}

/// The identity in a field of the server's description of a database.
fn identity_in(json: &serde_json::Value, field: &str) -> Option<Identity> {
    json.get(field)?.get("__identity__")?.as_str()?.parse().ok()
}

fn find(records: &[Record], name: &str, what: &'static str) -> Result<Answer, DatabaseError> {
    Answer::find(records, name).ok_or(DatabaseError::Missing(what))
}

fn too_long(records: &[Record]) -> Option<DatabaseError> {
    let record = records.iter().find(|record| record.kind == "too_long")?;
    Some(DatabaseError::TooLong(record.text()))
}

/// The lines `COUNT TABLE` of the record `rows`.
fn rows(records: &[Record]) -> BTreeMap<String, u64> {
    let text = records.iter().find(|record| record.kind == "rows").map(Record::text).unwrap_or_default();
    let row = |line: &str| {
        let (count, table) = line.split_once(' ')?;
        Some((table.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

/// As a part of a path.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = "200\n{\"database_identity\":{\"__identity__\":\"0xc2000d317b153c48dbeab564b76af0708691cabe83a93f47dfbd58c9f5f8b30e\"},\"owner_identity\":{\"__identity__\":\"0xc200365ca6af16b36934ffddb31fbdbbe8071d4f21f663fa34c7c7683e2737c5\"},\"host_type\":{\"Wasm\":[]},\"initial_program\":\"0xe4\"}";

    fn record(kind: &str, text: &str) -> Record {
        Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }
    }

    fn facts(database: &str, more: &[Record]) -> Result<Facts, DatabaseError> {
        let settings = Settings::default();
        let named =
            Named { host: &stdbctl_engine::local::LocalHost::default(), settings: &settings, name: "game" };
        let mut records = vec![
            record("answer:health", "200\n{\"version\":\"2.8.3\"}"),
            record("answer:database", database),
        ];
        records.extend_from_slice(more);
        named.facts(&records)
    }

    #[test]
    fn it_is_known_whose_a_database_is_before_it_is_asked_anything() {
        let known = facts(DATABASE, &[]).unwrap();
        assert_eq!(known.version, Some(Version::new(2, 8, 3)));
        assert!(
            known.owner.as_str().starts_with("c200365c") && known.identity.as_str().starts_with("c2000d31")
        );
        assert!(matches!(facts("404\nno", &[]), Err(DatabaseError::Unknown(name)) if name == "game"));
        let missing = facts(DATABASE, &[record("no_token", known.owner.as_str())]).unwrap_err();
        assert_eq!(
            missing.to_string(),
            format!("game belongs to {}, and the token of that identity is not on the host", known.owner)
        );
        assert!(missing.hints()[0].contains("stdbctl identity"));
        assert!(matches!(facts("500\noops", &[]), Err(DatabaseError::Refused { status: 500, .. })));
    }

    #[test]
    fn rows_are_counted_by_table() {
        let rows = rows(&[record("rows", "3 person\nx y\n0 score\n")]);
        assert_eq!(rows, BTreeMap::from([("person".to_owned(), 3), ("score".to_owned(), 0)]));
    }

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(encoded("my-game_2"), "my-game_2");
        assert_eq!(encoded("../a b?\u{e4}"), "..%2Fa%20b%3F%C3%A4");
    }
}
