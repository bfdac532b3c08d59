//! From the records of the script to what was found.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stdbctl_engine::dialogue::Record;

use super::replica;
use super::{Database, Orphan, Survey, Token, Unknown, Why};
use crate::database::sql::Given;
use crate::database::value::Cell;
use crate::database::{DatabaseError, identity_in};
use crate::owner::{self, Foreign, Identity};
use crate::server::{Answer, Version};

/// What a directory is called while it is being removed.
const ASIDE: &str = ".pruned-";

pub(super) fn survey(records: &[Record]) -> Result<Survey, DatabaseError> {
    let health = Answer::find(records, "health").ok_or(DatabaseError::Missing("how the server is"))?;
    if health.status == 0 {
        return Err(DatabaseError::Down(health.body));
    }
    if let Some(down) = of_kind(records, "down").next() {
        return Err(DatabaseError::Down(down.text()));
    }
    let asked = answers(records, "databases");
    let opened: BTreeSet<u64> = lines(records, "opened").filter_map(|line| line.parse().ok()).collect();
    let directories = directories(records);
    let live = live(&directories, &opened);
    let touched = answers(records, "touched");
    let loaded = |identity: &Identity| touched.get(identity).is_some_and(|(status, _)| *status == 200);
    let status = |identity: &Identity| {
        let (status, _) = asked.get(identity)?;
        Some(if *status == 200 && !loaded(identity) { 0 } else { *status })
    };

    let mut survey = Survey {
        server: Version::of_health(&health).map(|version| version.to_string()),
        ..Survey::default()
    };
    for (name, directory) in &directories {
        match directory.verdict(&opened, &live, status) {
            Verdict::Live => {}
            Verdict::Orphan(replica, identity, why) => {
                survey.orphans.push(Orphan { replica, identity, bytes: directory.bytes, why });
            }
            Verdict::Unknown(why) => {
                survey.unknown.push(Unknown { name: name.clone(), bytes: directory.bytes, why });
            }
        }
    }
    let finder = Finder::new(records);
    survey.databases = asked
        .iter()
        .filter(|(_, (status, _))| *status == 200)
        .filter_map(|(identity, (_, body))| {
            let replica = live.get(identity).and_then(|replicas| replicas.first()).copied();
            let bytes = replica.and_then(|replica| Some(directories.get(&replica.to_string())?.bytes));
            Some(Database { replica, bytes, ..finder.database(identity, body)? })
        })
        .collect();
    survey.databases.sort_by(|one, other| {
        (one.names.first(), &one.identity).cmp(&(other.names.first(), &other.identity))
    });
    survey.orphans.sort_by_key(|orphan| orphan.replica);
    Ok(survey)
}

/// A directory below `replicas`, or one that is being removed.
#[derive(Debug, Default)]
struct Directory {
    bytes: u64,
    number: Option<u64>,
    /// The database it names.
    database: Option<Identity>,
    aside: bool,
}

enum Verdict {
    Live,
    Orphan(u64, Option<Identity>, Why),
    Unknown(String),
}

impl Directory {
    /// `status` is the server's answer for a database: 0 if it did not answer or could not load it.
    fn verdict(
        &self,
        opened: &BTreeSet<u64>,
        live: &BTreeMap<Identity, Vec<u64>>,
        status: impl Fn(&Identity) -> Option<u16>,
    ) -> Verdict {
        let unknown = |why: &str| Verdict::Unknown(why.to_owned());
        let Some(number) = self.number else { return unknown("its name is no number") };
        let orphan = |identity: Option<&Identity>, why| Verdict::Orphan(number, identity.cloned(), why);
        if self.aside {
            return orphan(None, Why::HalfRemoved);
        }
        if opened.contains(&number) {
            return Verdict::Live;
        }
        let Some(identity) = &self.database else {
            return unknown("it does not say which database it belongs to");
        };
        match (status(identity), live.get(identity).and_then(|replicas| replicas.first())) {
            (Some(404), None) => orphan(Some(identity), Why::Deleted),
            (Some(200), Some(by)) => orphan(Some(identity), Why::Replaced { by: *by }),
            (Some(200), None) => unknown("its database is there and has no replica open"),
            _ => unknown("the server does not say whether its database is still there"),
        }
    }
}

/// By name, from what each says of itself and what it takes on the disk.
fn directories(records: &[Record]) -> BTreeMap<String, Directory> {
    let mut all: BTreeMap<String, Directory> = BTreeMap::new();
    for line in lines(records, "sizes") {
        let Some((kib, path)) = line.split_once('\t') else { continue };
        let name = path.rsplit('/').next().unwrap_or_default();
        let bytes = kib.parse::<u64>().unwrap_or(0).saturating_mul(1024);
        let bare = name.strip_prefix(ASIDE);
        let number = number(bare.unwrap_or(name));
        all.insert(name.to_owned(), Directory { bytes, number, database: None, aside: bare.is_some() });
    }
    for record in records {
        let Some(name) = record.kind.strip_prefix("replica:") else { continue };
        let directory = all.entry(name.to_owned()).or_default();
        directory.number = number(name);
        directory.database = directory.number.and_then(|number| replica::database(number, &record.text()));
    }
    all
}

/// A number, written as the server does.
fn number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}

/// In which directories each database lives.
fn live(directories: &BTreeMap<String, Directory>, opened: &BTreeSet<u64>) -> BTreeMap<Identity, Vec<u64>> {
    let mut live: BTreeMap<Identity, Vec<u64>> = BTreeMap::new();
    for directory in directories.values().filter(|directory| !directory.aside) {
        if let (Some(number), Some(identity)) = (directory.number, &directory.database)
            && opened.contains(&number)
        {
            live.entry(identity.clone()).or_default().push(number);
        }
    }
    live
}

/// What more is known of databases, each by its identity.
struct Finder {
    names: BTreeMap<Identity, (u16, String)>,
    programs: BTreeMap<Identity, (u16, String)>,
    tokens: BTreeSet<String>,
    foreign: Vec<Foreign>,
    history: BTreeMap<String, String>,
}

impl Finder {
    fn new(records: &[Record]) -> Self {
        let history = records
            .iter()
            .filter_map(|record| Some((record.kind.strip_prefix("history:")?.to_owned(), record.text())));
        Self {
            names: answers(records, "names"),
            programs: answers(records, "programs"),
            tokens: lines(records, "token").collect(),
            foreign: owner::foreign(records),
            history: history.collect(),
        }
    }

    fn database(&self, identity: &Identity, body: &str) -> Option<Database> {
        let json: Value = serde_json::from_str(body).ok()?;
        let owner = identity_in(&json, "owner_identity")?;
        let program = self.programs.get(identity).and_then(|(_, body)| program(body));
        let program_of = program.as_deref();
        let own = program_of.and_then(|program| past(self.history.get(identity.as_str())?, program));
        let any =
            program_of.and_then(|program| self.history.values().find_map(|history| past(history, program)));
        Some(Database {
            names: self.names.get(identity).map(|(_, body)| names(body)).unwrap_or_default(),
            identity: identity.clone(),
            token: self.token(&owner),
            owner,
            // The same module may have been published to another database.
            sha256: own.as_ref().or(any.as_ref()).map(|(_, sha256)| sha256.clone()),
            published: own.map(|(time, _)| time),
            program,
            replica: None,
            bytes: None,
        })
    }

    fn token(&self, of: &Identity) -> Token {
        let is_here = self.tokens.contains(of.as_str());
        match (*of == owner::owner(), is_here) {
            (true, true) => Token::Own,
            (true, false) => Token::OwnMissing,
            (false, true) => Token::Adopted,
            (false, false) => self
                .foreign
                .iter()
                .find(|foreign| foreign.claims.identity == *of)
                .map_or(Token::Unknown, |foreign| Token::Elsewhere(foreign.path.clone())),
        }
    }
}

/// When a program was last published, by one database's history, and its sha256.
fn past(history: &str, program: &str) -> Option<(i64, String)> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        let (time, sha256, hash) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        (hash.trim_start_matches("0x") == program).then(|| (time, sha256.to_owned()))
    };
    history.lines().rev().find_map(read)
}

fn names(body: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let names = json.get("names").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The one value of an answer to SQL.
fn program(body: &str) -> Option<String> {
    let given = Given::read(body).ok()?;
    let Given::Rows(rows) = given.first()? else { return None };
    match rows.rows.first()?.first()? {
        Cell::Text(hash) => Some(hash.trim_start_matches("0x").to_owned()),
        _ => None,
    }
}

/// The answers for each identity: the lines of each come before a line `STATUS URL`.
fn answers(records: &[Record], kind: &str) -> BTreeMap<Identity, (u16, String)> {
    let mut answers = BTreeMap::new();
    let mut body = String::new();
    for line in lines(records, kind) {
        match end(&line) {
            Some((status, Some(identity))) => {
                answers.insert(identity, (status, std::mem::take(&mut body)));
            }
            Some((_, None)) => body.clear(),
            None => {
                body.push_str(&line);
                body.push('\n');
            }
        }
    }
    answers
}

/// A line `STATUS URL`, and the identity in the URL if it is one.
fn end(line: &str) -> Option<(u16, Option<Identity>)> {
    let (status, url) = line.split_once(' ')?;
    let (_, path) = url.strip_prefix("http://")?.split_once("/v1/database/")?;
    let identity = path.split('/').next()?.parse().ok();
    Some((status.parse().ok().filter(|_| status.len() == 3)?, identity))
}

fn lines<'r>(records: &'r [Record], kind: &'r str) -> impl Iterator<Item = String> + 'r {
    of_kind(records, kind).flat_map(|record| record.text().lines().map(str::to_owned).collect::<Vec<_>>())
}

fn of_kind<'r>(records: &'r [Record], kind: &'r str) -> impl Iterator<Item = &'r Record> {
    records.iter().filter(move |record| record.kind == kind)
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
