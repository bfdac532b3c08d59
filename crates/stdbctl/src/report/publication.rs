//! What a publish came to, for people.

use std::io::{self, Write};

use dialoguer::console::measure_text_width;
use stdbctl_playbook::publish::{Operation, Preview, Published};

use super::clean;
use super::preview::{self, short};
use super::style::{GOOD, LOUD, QUIET, duration, size};

/// What can be done next: a label, and a command line.
pub(crate) type Step = (&'static str, String);

/// Where it begins beside its label.
const COMMAND_COLUMN: usize = 13;

/// Writes what was done to one database.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(
    out: &mut dyn Write,
    preview: &Preview,
    published: &Published,
    seconds: f64,
) -> io::Result<()> {
    let (database, host) = (clean::line(&preview.database), clean::line(&preview.host));
    let (done, time) = (done(published.operation), duration(seconds));
    writeln!(out, "{LOUD}{database}{LOUD:#} on {LOUD}{host}{LOUD:#}: {GOOD}{done}{GOOD:#} ({time})")?;
    let module = &preview.module;
    fact(out, "module", &format!("sha256 {}, {}", short(&module.sha256), size(module.bytes)))?;
    if let Some(replaced) = &preview.replaces {
        fact(out, "replaced", &short(replaced))?;
    }
    fact(out, "database", &clean::line(&published.identity))?;
    if !published.rows.is_empty() {
        fact(out, "rows", &preview::rows(&published.rows))?;
    }
    if published.locked {
        fact(out, "locked", "it cannot be deleted; `stdbctl db unlock` undoes that")?;
    }
    Ok(())
}

/// Writes what to do next, on a terminal of this width. A command that does not fit beside its label has a line of
/// its own: to be copied, it stays whole.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_next(out: &mut dyn Write, next: &[Step], width: Option<usize>) -> io::Result<()> {
    next.iter().take(1).try_for_each(|_| writeln!(out))?;
    next.iter().try_for_each(|(label, command)| {
        if width.is_some_and(|width| COMMAND_COLUMN + measure_text_width(command) > width) {
            return writeln!(out, "  {QUIET}{label}{QUIET:#}\n    {command}");
        }
        fact(out, label, command)
    })
}

/// Writes what the module has logged.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_log(out: &mut dyn Write, log: &[String]) -> io::Result<()> {
    log.iter().try_for_each(|line| writeln!(out, "    {QUIET}{}{QUIET:#}", clean::line(line)))
}

fn fact(out: &mut dyn Write, label: &str, value: &str) -> io::Result<()> {
    writeln!(out, "  {QUIET}{label:<10}{QUIET:#} {value}")
}

fn done(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "created",
        Operation::Update => "published",
        Operation::Unchanged => "as it was",
        Operation::Rollback => "rolled back",
        Operation::Restore => "rolled back, with its data",
    }
}
