//! `stdbctl db sql`: statements of SQL, as the database's owner.

use std::io::{self, Write};

use stdbctl_playbook::database::Results;
use stdbctl_playbook::database::sql::{Done, Given, Rows};

use super::target::{Target, width};
use crate::cli::{DbSqlArgs, Format};
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::report::style::{QUIET, count};
use crate::report::table::{Cell, Table};

pub(super) async fn run(args: DbSqlArgs, console: &Console) -> Result<ExitCode, CliError> {
    let target = Target::connect(&args.one, console).await?;
    let results = target.database().sql(&args.statements).await;
    let Results { given, failed } = results.map_err(|error| target.failed(error))?;
    let counted = console.format == Format::Human && !console.quiet;
    let text = |out: &mut dyn Write| write(out, &given, width(), counted);
    match given.as_slice() {
        [] if failed.is_some() => {}
        [one] if args.statements.len() == 1 => drop(target.show(console, one, text)?),
        several => drop(target.show(console, &several, text)?),
    }
    failed.map_or(Ok(ExitCode::Done), |error| Err(target.failed(error)))
}

fn write(out: &mut dyn Write, given: &[Given], width: Option<usize>, counted: bool) -> io::Result<()> {
    for (index, given) in given.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        match given {
            Given::Done(done) => writeln!(out, "{}", sum_up(*done))?,
            Given::Rows(rows) => write_rows(out, rows, width, counted)?,
        }
    }
    Ok(())
}

fn write_rows(out: &mut dyn Write, rows: &Rows, width: Option<usize>, counted: bool) -> io::Result<()> {
    let mut table = Table::new(&rows.columns);
    for row in &rows.rows {
        let cell = |cell: &stdbctl_playbook::database::value::Cell| {
            if cell.is_number() { Cell::number(cell.to_string()) } else { Cell::text(cell.to_string()) }
        };
        table.row(row.iter().map(cell).collect());
    }
    table.write(out, "", width)?;
    // On a terminal only: a pipe gets the rows and nothing else.
    if counted && width.is_some() {
        writeln!(out, "{QUIET}{}{QUIET:#}", count(rows.rows.len(), "row"))?;
    }
    Ok(())
}

/// `1 row inserted, 2 rows deleted`.
fn sum_up(Done { inserted, deleted, updated }: Done) -> String {
    let told = [(inserted, "inserted"), (deleted, "deleted"), (updated, "updated")];
    let rows = |number: u64| count(usize::try_from(number).unwrap_or(usize::MAX), "row");
    let told: Vec<_> = told
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, verb)| format!("{} {verb}", rows(number)))
        .collect();
    if told.is_empty() { "no row changed".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str, width: Option<usize>) -> String {
        let mut out = Vec::new();
        write(&mut out, &Given::read(body).unwrap(), width, true).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn rows_are_a_table_and_changes_are_counted() {
        let people = r#"{"schema":{"elements":[{"name":{"some":"id"},"algebraic_type":{"U64":[]}},{"name":{"some":"name"},"algebraic_type":{"String":[]}}]},"rows":[[1,"first"],[22,"\u001b[2Jzwei"]]}"#;
        let changed = r#"{"schema":{"elements":[]},"rows":[],"stats":{"rows_inserted":1,"rows_deleted":2,"rows_updated":0}}"#;
        let nothing = r#"{"schema":{"elements":[]},"rows":[],"stats":{"rows_inserted":0,"rows_deleted":0,"rows_updated":0}}"#;
        let body = format!("[{people},{changed},{nothing}]");
        insta::assert_snapshot!(shown(&body, Some(80)), @r"
        id  name
         1  first
        22  zwei
        2 rows

        1 row inserted, 2 rows deleted

        no row changed
        ");
        assert_eq!(shown(&format!("[{people}]"), None), "id  name\n 1  first\n22  zwei\n");
    }
}
