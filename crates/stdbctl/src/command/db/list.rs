//! `stdbctl db list`: every database of the hosts.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use stdbctl_playbook::database::survey::{Database, Orphan, Survey, Token, Unknown, Why};

use super::hosts::Hosts;
use super::target::{show, width};
use crate::cli::DbListArgs;
use crate::console::Console;
use crate::error::{CliError, FailedHost, of_hosts};
use crate::exit_code::ExitCode;
use crate::report::clean;
use crate::report::style::{CHANGE, LOUD, QUIET, count, size};
use crate::report::table::{Cell, Table};

/// How many orphans are shown at a glance.
const MOST_ORPHANS: usize = 10;
/// How much of a long name of digits people are shown.
const SHORT: usize = 12;

/// `db list --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    hosts: Vec<HostDocument<'a>>,
    failed: Vec<FailedHost<'a>>,
}

#[derive(Debug, Serialize)]
struct HostDocument<'a> {
    host: &'a str,
    #[serde(flatten)]
    survey: &'a Survey,
}

pub(super) async fn run(args: DbListArgs, console: &Console) -> Result<ExitCode, CliError> {
    let hosts = Hosts::survey(&args.site, &args.ssh, console).await?;
    let surveyed = &hosts.surveyed;
    let document = Document {
        hosts: surveyed.iter().map(|host| HostDocument { host: &host.name, survey: &host.survey }).collect(),
        failed: hosts.failures(),
    };
    let form = Form { width: width(), whole: console.verbose > 0 };
    show(console, &document, |out| {
        for (index, host) in surveyed.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            form.write(out, &host.name, &host.survey)?;
        }
        Ok(())
    })?;
    hosts.show_cost(console);
    of_hosts(hosts.count(), hosts.failures()).map_or(Ok(ExitCode::Done), Err)
}

/// How much room there is, and whether digits are shown in full.
struct Form {
    width: Option<usize>,
    whole: bool,
}

impl Form {
    fn write(&self, out: &mut dyn Write, host: &str, survey: &Survey) -> io::Result<()> {
        let server = survey.server.as_deref().unwrap_or("of an unknown version");
        let databases = count(survey.databases.len(), "database");
        writeln!(out, "{LOUD}{host}{LOUD:#}: {databases}, SpacetimeDB {}", clean::line(server))?;
        if !survey.databases.is_empty() {
            self.table(&survey.databases).write(out, "  ", self.width)?;
        }
        self.write_owners(out, &survey.databases)?;
        write_orphans(out, survey, if self.whole { usize::MAX } else { MOST_ORPHANS })?;
        write_unknown(out, &survey.unknown)
    }

    fn table(&self, databases: &[Database]) -> Table {
        let head = ["NAME", "IDENTITY", "OWNER", "MODULE", "SIZE", "PUBLISHED (UTC)"];
        let mut table = Table::new(head);
        if self.whole {
            table = table.keep_whole();
        }
        for database in databases {
            let names = if database.names.is_empty() { "-".to_owned() } else { database.names.join(", ") };
            table.row(vec![
                Cell::text(names),
                Cell::text(self.digits(database.identity.as_str())),
                Cell::text(owner(&database.token)),
                Cell::text(self.module(database)),
                Cell::number(database.bytes.map_or_else(|| "-".to_owned(), size)),
                Cell::text(published(database.published)),
            ]);
        }
        table
    }

    /// The module by its sha256, or by what the server calls it.
    fn module(&self, database: &Database) -> String {
        match (&database.sha256, &database.program) {
            (Some(sha256), _) => self.digits(sha256).to_owned(),
            (None, Some(program)) => format!("hash {}", self.digits(program)),
            (None, None) => "-".to_owned(),
        }
    }

    fn digits<'d>(&self, digits: &'d str) -> &'d str {
        if self.whole { digits } else { digits.get(..SHORT).unwrap_or(digits) }
    }

    /// What there is to know of owners other than the host's own, and what can be done about it.
    fn write_owners(&self, out: &mut dyn Write, databases: &[Database]) -> io::Result<()> {
        let mut hints = BTreeSet::new();
        for Database { names, identity, owner, token, .. } in databases {
            let name = names.first().map_or_else(|| self.digits(identity.as_str()), String::as_str);
            let whose = self.digits(owner.as_str());
            let told = match token {
                Token::Own | Token::Adopted => continue,
                Token::OwnMissing => {
                    hints.insert("`stdbctl identity --repair` makes missing tokens again");
                    "has no token here".to_owned()
                }
                Token::Elsewhere(path) => {
                    hints.insert("`stdbctl identity --adopt` takes over the tokens of others");
                    format!("belongs to {whose}: token in {path}")
                }
                Token::Unknown => format!("belongs to {whose}: token not found"),
            };
            writeln!(out, "  {CHANGE}{}{CHANGE:#} {}", clean::line(name), clean::line(&told))?;
        }
        hints.iter().try_for_each(|hint| writeln!(out, "  {QUIET}{hint}{QUIET:#}"))
    }
}

/// `ours`, or what else can be said in a word.
fn owner(token: &Token) -> &'static str {
    match token {
        Token::Own | Token::OwnMissing => "ours",
        Token::Adopted => "adopted",
        Token::Elsewhere(_) | Token::Unknown => "other",
    }
}

fn published(time: Option<i64>) -> String {
    let time = time.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

fn write_orphans(out: &mut dyn Write, survey: &Survey, most: usize) -> io::Result<()> {
    let orphans = &survey.orphans;
    if orphans.is_empty() {
        return Ok(());
    }
    let told = if orphans.len() == 1 { "directory is left over" } else { "directories are left over" };
    let (number, size) = (orphans.len(), size(survey.orphaned_bytes()));
    writeln!(out, "  {CHANGE}{number} {told}{CHANGE:#}, {size}: `stdbctl db prune` frees them")?;
    orphan_table(orphans.get(..most).unwrap_or(orphans)).write(out, "    ", None)?;
    match orphans.len().saturating_sub(most) {
        0 => Ok(()),
        more => writeln!(out, "    {QUIET}and {more} more: -v shows all{QUIET:#}"),
    }
}

/// The orphans, a line each.
pub(super) fn orphan_table(orphans: &[Orphan]) -> Table {
    let mut table = Table::new(["REPLICA", "SIZE", "WHY"]);
    for orphan in orphans {
        let database =
            orphan.identity.as_ref().and_then(|identity| identity.as_str().get(..SHORT)).unwrap_or("-");
        let why = match orphan.why {
            Why::Deleted => format!("database {database} was deleted"),
            Why::Replaced { by } => format!("database {database} has begun anew, in {by}"),
            Why::HalfRemoved => "being removed when that was cut off".to_owned(),
        };
        table.row(vec![
            Cell::number(orphan.replica.to_string()),
            Cell::number(size(orphan.bytes)),
            Cell::text(why),
        ]);
    }
    table
}

fn write_unknown(out: &mut dyn Write, unknown: &[Unknown]) -> io::Result<()> {
    if unknown.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {QUIET}Not known what these are, and never touched:{QUIET:#}")?;
    let mut table = Table::new(["REPLICA", "SIZE", "WHY"]);
    for Unknown { name, bytes, why } in unknown {
        table.row(vec![Cell::number(name), Cell::number(size(*bytes)), Cell::text(why)]);
    }
    table.write(out, "    ", None)
}

#[cfg(test)]
mod tests {
    use stdbctl_playbook::owner::Identity;

    use super::*;

    fn shown(survey: &Survey, whole: bool) -> String {
        let mut out = Vec::new();
        Form { width: Some(80), whole }.write(&mut out, "ubuntu@a", survey).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    fn database(name: &str, token: Token, sha256: Option<&str>, program: Option<&str>) -> Database {
        let identity = Identity::of("test", name);
        Database {
            names: vec![name.to_owned()],
            identity,
            owner: Identity::of("test", "somebody"),
            token,
            sha256: sha256.map(str::to_owned),
            program: program.map(str::to_owned),
            replica: Some(1),
            bytes: Some(917_504),
            published: sha256.map(|_| 1_795_190_467),
        }
    }

    #[test]
    fn a_host_is_seen_at_a_glance() {
        let hash = "fae8523fd251a6ffc4f53c79d1f3d6f0d617c8180728b1501054e16d9d1b0944";
        let survey = Survey {
            server: Some("1.3.0".to_owned()),
            databases: vec![
                database("game", Token::Own, Some(hash), Some(hash)),
                database(
                    "by-hand",
                    Token::Elsewhere("/home/ada/.config/spacetime/cli.toml".to_owned()),
                    None,
                    None,
                ),
                database("mine", Token::Adopted, None, Some(hash)),
                database("nobodys", Token::Unknown, None, None),
            ],
            orphans: vec![
                Orphan {
                    replica: 3,
                    identity: Some(Identity::of("test", "gone")),
                    bytes: 733_184,
                    why: Why::Deleted,
                },
                Orphan { replica: 11, identity: None, bytes: 4096, why: Why::HalfRemoved },
            ],
            unknown: vec![Unknown {
                name: "lost+found".to_owned(),
                bytes: 4096,
                why: "its name is no number".to_owned(),
            }],
        };
        let text = shown(&survey, false);
        insta::assert_snapshot!(text);
        assert!(shown(&survey, true).contains(hash));
    }

    #[test]
    fn an_empty_host_is_one_line() {
        assert_eq!(
            shown(&Survey::default(), false),
            "ubuntu@a: 0 databases, SpacetimeDB of an unknown version\n"
        );
    }
}
