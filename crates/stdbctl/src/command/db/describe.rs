//! `stdbctl db describe`: a database's tables and reducers.

use std::io::{self, Write};

use serde::Serialize;
use stdbctl_playbook::database::Description;
use stdbctl_playbook::schema::{Access, Definition, Param, Table as Described};

use super::target::{Target, width};
use crate::cli::OneArgs;
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::report::clean;
use crate::report::style::{LOUD, PLACE, QUIET, count};
use crate::report::table::{Cell, Table};

#[derive(Debug, Serialize)]
struct Document<'a> {
    database: &'a str,
    identity: &'a str,
    owner: &'a str,
    /// How many rows the tables have; those that could not be counted are missing.
    rows: &'a std::collections::BTreeMap<String, u64>,
    #[serde(flatten)]
    definition: &'a Definition,
}

pub(super) async fn run(args: OneArgs, console: &Console) -> Result<ExitCode, CliError> {
    let target = Target::connect(&args, console).await?;
    let described = target.database().describe().await.map_err(|error| target.failed(error))?;
    let document = Document {
        database: &target.name,
        identity: described.facts.identity.as_str(),
        owner: described.facts.owner.as_str(),
        rows: &described.rows,
        definition: &described.definition,
    };
    target.show(console, &document, |out| write(out, &target.name, &described, width()))
}

fn write(out: &mut dyn Write, name: &str, described: &Description, width: Option<usize>) -> io::Result<()> {
    let Description { facts, definition, rows } = described;
    writeln!(out, "{LOUD}{name}{LOUD:#}  {QUIET}{}{QUIET:#}", facts.identity)?;
    for table in definition.tables.iter().filter(|table| !table.system) {
        writeln!(out)?;
        let rows =
            rows.get(&table.name).map(|&rows| count(usize::try_from(rows).unwrap_or(usize::MAX), "row"));
        write_table(out, table, rows.as_deref(), width)?;
    }
    let Definition { reducers, procedures, views, .. } = definition;
    let reducers = reducers.iter().map(|reducer| {
        let note = reducer.lifecycle.map(lifecycle_note).or((!reducer.callable).then_some("not for clients"));
        (signature(&reducer.name, &reducer.params, None), note)
    });
    write_functions(out, "reducers", reducers)?;
    let procedures = procedures.iter().map(|procedure| {
        let returns = procedure.returns.to_string();
        (
            signature(&procedure.name, &procedure.params, Some(&returns)),
            (!procedure.callable).then_some("not for clients"),
        )
    });
    write_functions(out, "procedures", procedures)?;
    let views = views.iter().map(|view| {
        let returns = view.returns.to_string();
        (signature(&view.name, &view.params, Some(&returns)), Some(access(view.access)))
    });
    write_functions(out, "views", views)
}

fn write_table(
    out: &mut dyn Write,
    described: &Described,
    rows: Option<&str>,
    width: Option<usize>,
) -> io::Result<()> {
    let facts = [Some(access(described.access)), described.event.then_some("event"), rows];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    writeln!(
        out,
        "table {PLACE}{}{PLACE:#}  {QUIET}{}{QUIET:#}",
        clean::line(&described.name),
        facts.join(", ")
    )?;
    let mut table = Table::new(["COLUMN", "TYPE", "KEY"]);
    for column in &described.columns {
        table.row(vec![
            Cell::text(&column.name),
            Cell::text(column.ty.to_string()),
            Cell::text(key(described, &column.name)),
        ]);
    }
    table.write(out, "  ", width)?;
    for index in &described.indexes {
        let columns = index.columns.join(", ");
        writeln!(
            out,
            "  {QUIET}index{QUIET:#} {} ({}: {})",
            clean::line(&index.name),
            index.algorithm,
            clean::line(&columns)
        )?;
    }
    let several = described.unique.iter().filter(|unique| unique.columns.len() > 1);
    for unique in several {
        writeln!(out, "  {QUIET}unique together{QUIET:#} {}", clean::line(&unique.columns.join(", ")))?;
    }
    if let Some(schedule) = &described.schedule {
        let (function, column) = (clean::line(&schedule.function), clean::line(&schedule.column));
        writeln!(out, "  {QUIET}calls{QUIET:#} {function} at the time in {column}")?;
    }
    Ok(())
}

/// `primary key, auto_inc`.
fn key(table: &Described, column: &str) -> String {
    let is_primary = table.primary_key.as_deref() == Some(column);
    let is_unique = table.unique.iter().any(|unique| unique.columns == [column]);
    let counts = table.sequences.iter().any(|sequence| sequence.column == column);
    let words = [
        is_primary.then_some("primary key"),
        (is_unique && !is_primary).then_some("unique"),
        counts.then_some("auto_inc"),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Public => "public",
        Access::Private => "private",
    }
}

fn lifecycle_note(lifecycle: stdbctl_playbook::schema::Lifecycle) -> &'static str {
    use stdbctl_playbook::schema::Lifecycle;
    match lifecycle {
        Lifecycle::Init => "once, when the database is made",
        Lifecycle::ClientConnected => "when a client connects",
        Lifecycle::ClientDisconnected => "when a client is gone",
    }
}

/// `add(name: string)`.
fn signature(name: &str, params: &[Param], returns: Option<&str>) -> String {
    let params: Vec<_> = params.iter().map(|param| format!("{}: {}", param.name, param.ty)).collect();
    let returns = returns.map(|returns| format!(" -> {returns}")).unwrap_or_default();
    clean::line(&format!("{name}({}){returns}", params.join(", ")))
}

fn write_functions(
    out: &mut dyn Write,
    title: &str,
    functions: impl Iterator<Item = (String, Option<&'static str>)>,
) -> io::Result<()> {
    for (index, (signature, note)) in functions.enumerate() {
        if index == 0 {
            writeln!(out, "\n{title}")?;
        }
        match note {
            Some(note) => writeln!(out, "  {signature}  {QUIET}{note}{QUIET:#}")?,
            None => writeln!(out, "  {signature}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stdbctl_playbook::database::Facts;
    use stdbctl_playbook::owner::Identity;

    use super::*;

    #[test]
    fn a_database_is_seen_as_its_clients_know_it() {
        let schema = include_str!("describe/schema.json");
        let described = Description {
            facts: Facts {
                identity: Identity::of("test", "game"),
                owner: Identity::of("test", "ada"),
                version: None,
            },
            definition: Definition::from_json(schema).unwrap(),
            rows: BTreeMap::from([("person".to_owned(), 12), ("secret".to_owned(), 1)]),
        };
        let mut out = Vec::new();
        write(&mut out, "game", &described, Some(80)).unwrap();
        let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
        insta::assert_snapshot!(text);
    }
}
