//! `stdbctl db delete`: a database with all its rows.

use std::collections::BTreeMap;

use serde::Serialize;
use stdbctl_playbook::owner::Identity;

use super::target::Target;
use crate::cli::DbDeleteArgs;
use crate::console::Console;
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;
use crate::prompt;
use crate::report::style::{BAD, GOOD, LOUD, QUIET, count};

#[derive(Debug, Serialize)]
struct Document<'a> {
    database: &'a str,
    identity: &'a Identity,
    deleted: bool,
    /// How many rows each table had.
    rows: &'a BTreeMap<String, u64>,
}

pub(super) async fn run(args: DbDeleteArgs, console: &Console) -> Result<ExitCode, CliError> {
    if !args.yes && !console.can_ask() {
        return Err(CliError::usage("there is nobody to ask whether to delete the database")
            .hint("--yes deletes it without asking"));
    }
    let target = Target::connect(&args.one, console).await?;
    let (facts, rows) = target.database().count().await.map_err(|error| target.failed(error))?;
    if !args.yes {
        let question = format!("Type {} to delete it", target.name);
        let text = warning(&target.name, target.host_name(), &rows);
        let answer = prompt::type_name(console.screen.clone(), text, question, target.name.clone()).await;
        let answer =
            answer.map_err(|error| CliError::new(ExitCode::Failed, Context::new("cannot ask", error)))?;
        if !answer {
            return Err(CliError::new(ExitCode::Interrupted, "not confirmed: nothing was changed"));
        }
    }
    let deleted = target.database().delete(target.changing("db delete"), &facts.identity).await;
    deleted.map_err(|error| target.failed(error))?;
    let document = Document { database: &target.name, identity: &facts.identity, deleted: true, rows: &rows };
    target.show(console, &document, |out| {
        if console.quiet {
            return Ok(());
        }
        writeln!(out, "{LOUD}{}{LOUD:#} {GOOD}is deleted{GOOD:#}, with {}", target.name, sum(&rows))?;
        writeln!(out, "{QUIET}Its files are still on the disk: `stdbctl db prune` frees them.{QUIET:#}")
    })
}

fn warning(name: &str, host: &str, rows: &BTreeMap<String, u64>) -> String {
    let rows = sum(rows);
    format!("{LOUD}{name}{LOUD:#} on {host}: {BAD}{rows} will be deleted{BAD:#}. There is no way back.\n")
}

/// `14 rows in 2 tables`.
fn sum(rows: &BTreeMap<String, u64>) -> String {
    let sum = usize::try_from(rows.values().sum::<u64>()).unwrap_or(usize::MAX);
    format!("{} in {}", count(sum, "row"), count(rows.len(), "table"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_said_before() {
        let rows = BTreeMap::from([("person".to_owned(), 13), ("score".to_owned(), 1)]);
        let text = warning("game", "ubuntu@a", &rows);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "game on ubuntu@a: 14 rows in 2 tables will be deleted. There is no way back.\n"
        );
    }
}
