//! A plan, for people.

use std::io::{self, Write};

use anstyle::Style;
use stdbctl_engine::plan::{Action, FileDiff, HostPlan, PlannedChange};

use super::clean;
use super::style::{BAD, CHANGE, GOOD, LOUD, PLACE, QUIET, count};

/// Writes what would be done on one host.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(out: &mut dyn Write, plan: &HostPlan) -> io::Result<()> {
    writeln!(out, "{LOUD}{}{LOUD:#}: {}", plan.host, headline(plan))?;
    write_changes(out, plan)
}

/// Writes the changes alone.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn write_changes(out: &mut dyn Write, plan: &HostPlan) -> io::Result<()> {
    clean::plan(plan).changes.iter().try_for_each(|change| write_change(out, change))
}

/// Writes which tasks are left out, and why.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_skipped(out: &mut dyn Write, plan: &HostPlan) -> io::Result<()> {
    clean::plan(plan).skipped.iter().try_for_each(|skipped| {
        writeln!(out, "  {QUIET}. {}: left out, {}{QUIET:#}", skipped.task, skipped.why)
    })
}

/// `3 changes, 28 tasks as they should be, 1 left out`.
pub(crate) fn headline(plan: &HostPlan) -> String {
    let mut parts = vec![match plan.changes.len() {
        0 => "nothing to do".to_owned(),
        changes => count(changes, "change"),
    }];
    match plan.unchanged {
        0 => {}
        1 => parts.push("1 task as it should be".to_owned()),
        unchanged => parts.push(format!("{unchanged} tasks as they should be")),
    }
    if !plan.skipped.is_empty() {
        parts.push(format!("{} left out", plan.skipped.len()));
    }
    parts.join(", ")
}

fn write_change(out: &mut dyn Write, change: &PlannedChange) -> io::Result<()> {
    let (sign, style) = sign(change.action);
    let estimate = if change.exact { "" } else { " (an estimate)" };
    writeln!(out, "  {style}{sign}{style:#} {}{QUIET}{estimate}{QUIET:#}", change.title)?;
    for line in change.details.iter().flat_map(|detail| detail.lines()) {
        writeln!(out, "      {line}")?;
    }
    change.diffs.iter().try_for_each(|diff| write_diff(out, diff))
}

fn write_diff(out: &mut dyn Write, diff: &FileDiff) -> io::Result<()> {
    writeln!(out, "      {LOUD}{}{LOUD:#}", diff.path)?;
    for line in diff.diff.lines().filter(|line| !line.starts_with("--- ") && !line.starts_with("+++ ")) {
        let style = line_style(line);
        writeln!(out, "      {style}{line}{style:#}")?;
    }
    Ok(())
}

fn sign(action: Action) -> (char, Style) {
    match action {
        Action::Create => ('+', GOOD),
        Action::Update => ('~', CHANGE),
        Action::Remove => ('-', BAD),
        Action::Run => ('!', CHANGE),
        Action::Wait => ('?', QUIET),
    }
}

fn line_style(line: &str) -> Style {
    match line.as_bytes().first() {
        Some(b'+') => GOOD,
        Some(b'-') => BAD,
        Some(b'@') => PLACE,
        _ => Style::new(),
    }
}
