//! What was found about owners, for people and for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use stdbctl_playbook::identity::{Kind, Owner, Repair, Report};
use stdbctl_playbook::owner::Database;

use crate::cli::Format;
use crate::report::style::{BAD, CHANGE, GOOD, LOUD, QUIET};
use crate::report::{clean, github, json};

/// Where lines end that are for people.
const WIDTH: usize = 80;

/// `identity --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    ok: bool,
    /// The hosts of which nothing is known, and why.
    failed: &'a BTreeMap<String, String>,
    repaired: Vec<Repaired<'a>>,
    hosts: &'a [Report],
}

/// Something that was done.
#[derive(Debug, Serialize)]
struct Repaired<'a> {
    host: &'a str,
    title: String,
}

/// Writes what was found, and what was done about it.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(
    out: &mut dyn Write,
    reports: &[Report],
    failed: &BTreeMap<String, String>,
    done: &[(&str, &Repair)],
    format: Format,
) -> io::Result<()> {
    let repaired = |report: &'_ Report| {
        let own = done.iter().filter(|(host, _)| *host == report.host).map(|(_, repair)| *repair);
        own.cloned().collect::<Vec<_>>()
    };
    match format {
        Format::Human => reports.iter().try_for_each(|report| write_report(out, report, &repaired(report))),
        Format::Json => {
            let titles = done.iter().map(|(host, repair)| Repaired { host, title: repair.title() });
            let ok = failed.is_empty() && reports.iter().all(|report| report.ok);
            json::document(out, &Document { ok, failed, repaired: titles.collect(), hosts: reports })
        }
        Format::Github => reports.iter().try_for_each(|report| {
            write_report(&mut github::Inert::new(&mut *out), report, &repaired(report))?;
            let failed = report.checks.iter().filter(|check| !check.ok);
            failed.into_iter().try_for_each(|check| github::error(out, &report.host, &check.detail))
        }),
    }
}

/// Writes what was found, and what would be done about it.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write_plan<'a>(
    out: &mut dyn Write,
    reports: &[Report],
    plans: impl Iterator<Item = (&'a str, &'a [Repair])>,
) -> io::Result<()> {
    reports.iter().try_for_each(|report| write_report(out, report, &[]))?;
    for (host, repairs) in plans {
        writeln!(out, "{LOUD}{host}{LOUD:#} would be changed:")?;
        for repair in repairs {
            write_folded(out, &format!("  {CHANGE}~{CHANGE:#} "), 4, &repair.title())?;
        }
    }
    Ok(())
}

fn write_report(out: &mut dyn Write, report: &Report, done: &[Repair]) -> io::Result<()> {
    let verdict = if report.ok { "is ready to publish to" } else { "is not ready to publish to" };
    writeln!(out, "{LOUD}{}{LOUD:#} {verdict}", report.host)?;
    for repair in done {
        write_folded(out, &format!("  {CHANGE}done  {CHANGE:#}  "), 10, &repair.title())?;
    }
    for check in &report.checks {
        let (style, word) = if check.ok { (GOOD, "ok    ") } else { (BAD, "failed") };
        write_folded(out, &format!("  {style}{word}{style:#}  {:<6}  ", check.name), 18, &check.detail)?;
    }
    report.owners.iter().try_for_each(|owner| write_owner(out, owner))
}

fn write_owner(out: &mut dyn Write, owner: &Owner) -> io::Result<()> {
    let word = match owner.kind {
        Kind::Own => "owner",
        Kind::Adopted => "adopted",
        Kind::Foreign => "foreign",
    };
    writeln!(out, "  {LOUD}{word:<8}{LOUD:#}{}", owner.identity)?;
    let line = |out: &mut dyn Write, name: &str, text: &str| {
        write_folded(out, &format!("          {QUIET}{name:<5}{QUIET:#} "), 16, text)
    };
    line(out, "owns", &names(owner.databases.as_deref()))?;
    // What is ours always lies at the same place.
    let elsewhere = usize::from(owner.kind == Kind::Adopted);
    for path in owner.tokens.iter().skip(elsewhere).filter(|_| owner.kind != Kind::Own) {
        line(out, if elsewhere > 0 { "from" } else { "token" }, path)?;
    }
    if owner.kind == Kind::Foreign {
        line(out, "try", "`stdbctl identity --adopt` lets stdbctl publish to these, too")?;
    }
    Ok(())
}

/// What the databases are called; one without a name has its identity.
fn names(databases: Option<&[Database]>) -> String {
    let name = |database: &Database| match database.names.as_slice() {
        [] => database.identity.to_string(),
        names => names.join(" = "),
    };
    match databases {
        None => "not known".to_owned(),
        Some([]) => "no database".to_owned(),
        Some(some) => some.iter().map(name).collect::<Vec<_>>().join(", "),
    }
}

/// Text after a `first` that is `indent` wide, in as many lines as it takes.
fn write_folded(out: &mut dyn Write, first: &str, indent: usize, text: &str) -> io::Result<()> {
    let text = clean::line(text);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if indent + line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let rest = " ".repeat(indent);
    lines.iter().enumerate().try_for_each(|(number, line)| {
        let before = if number == 0 { first } else { &rest };
        writeln!(out, "{before}{line}")
    })
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
