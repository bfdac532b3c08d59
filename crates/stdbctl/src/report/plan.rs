//! A plan, for people.

use std::io::{self, Write};

use anstyle::Style;
use stdbctl_engine::plan::{Action, FileDiff, HostPlan, PlannedChange};

use super::clean;
use super::style::{BAD, CHANGE, GOOD, LOUD, PLACE, QUIET, count};

/// How much of the files that change is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Of new files only how long they are.
    Outline,
    /// Everything.
    Whole,
}

/// Writes what would be done on one host.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(out: &mut dyn Write, plan: &HostPlan, depth: Depth) -> io::Result<()> {
    writeln!(out, "{LOUD}{}{LOUD:#}: {}", plan.host, headline(plan))?;
    write_changes(out, plan, depth)
}

/// Writes the changes alone.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn write_changes(out: &mut dyn Write, plan: &HostPlan, depth: Depth) -> io::Result<()> {
    clean::plan(plan).changes.iter().try_for_each(|change| write_change(out, change, depth))
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

/// `3 changes, 28 tasks as they should be`.
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
    parts.join(", ")
}

fn write_change(out: &mut dyn Write, change: &PlannedChange, depth: Depth) -> io::Result<()> {
    let (sign, style) = sign(change.action);
    let estimate = if change.exact { "" } else { " (an estimate)" };
    writeln!(out, "  {style}{sign}{style:#} {}{QUIET}{estimate}{QUIET:#}", change.title)?;
    // That the content changes is plain from the difference, and the title is said already.
    let is_plain = |detail: &str| detail == change.title || (detail == "content" && !change.diffs.is_empty());
    let details = change.details.iter().filter(|detail| !is_plain(detail));
    for line in details.flat_map(|detail| detail.lines()) {
        writeln!(out, "      {line}")?;
    }
    change.diffs.iter().try_for_each(|diff| write_diff(out, diff, depth))
}

fn write_diff(out: &mut dyn Write, diff: &FileDiff, depth: Depth) -> io::Result<()> {
    let path = &diff.path;
    if depth == Depth::Outline && is_new(diff) {
        let added = diff.diff.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++ "));
        return writeln!(out, "      {LOUD}{path}{LOUD:#}, {}", count(added.count(), "line"));
    }
    writeln!(out, "      {LOUD}{path}{LOUD:#}")?;
    for line in diff.diff.lines().filter(|line| !line.starts_with("--- ") && !line.starts_with("+++ ")) {
        let style = line_style(line);
        writeln!(out, "      {style}{line}{style:#}")?;
    }
    Ok(())
}

/// Whether some of it is left out of an outline.
pub(crate) fn is_shortened(plan: &HostPlan) -> bool {
    plan.changes.iter().flat_map(|change| &change.diffs).any(is_new)
}

fn is_new(diff: &FileDiff) -> bool {
    diff.diff.lines().any(|line| line.starts_with("@@ -0,0 "))
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
