//! Text that came from a host, made fit for a terminal.
//!
//! A server that was broken into must not move the operator's cursor, set the window's title or hide a line.

use std::borrow::Cow;

use stdbctl_engine::event::{Event, EventKind, Outcome};
use stdbctl_engine::plan::HostPlan;
use stdbctl_ssh::is_invisible;

/// The text without escape sequences and control characters. Newlines and tabs stay.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let without_escapes = anstream::adapter::strip_str(text).to_string();
    Cow::Owned(without_escapes.chars().filter(|&c| is_harmless(c)).collect())
}

/// A cause without the number the operating system gives it, which nobody looks up.
pub(crate) fn without_number(cause: &str) -> &str {
    match cause.rsplit_once(" (os error ") {
        Some((words, number)) if number.trim_end_matches(')').parse::<u32>().is_ok() => words,
        _ => cause,
    }
}

/// The text as one line.
pub(crate) fn line(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    text(&words.join(" ")).into_owned()
}

fn is_harmless(c: char) -> bool {
    !is_invisible(c) && (!c.is_control() || c == '\n' || c == '\t')
}

/// The event, every text in it made fit for a terminal.
pub(crate) fn event(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event.kind {
        EventKind::Planned { plans } => plans.iter_mut().for_each(clean_plan),
        EventKind::TaskFinished { outcome: Outcome::Skipped { why } | Outcome::Failed { why }, .. } => {
            clean(why);
        }
        EventKind::HostFailed { cause, hints, .. } => {
            *cause = without_number(&text(cause)).to_owned();
            hints.iter_mut().for_each(clean);
        }
        EventKind::Warning { message, .. } => clean(message),
        EventKind::ConnectionLost { cause, .. } => *cause = without_number(&text(cause)).to_owned(),
        EventKind::Waiting { run, .. } => clean(run),
        // All that is left of the text is the operator's own: hosts' names and tasks' ids.
        _ => {}
    }
    event
}

/// The plan, every text in it made fit for a terminal.
pub(crate) fn plan(plan: &HostPlan) -> HostPlan {
    let mut plan = plan.clone();
    clean_plan(&mut plan);
    plan
}

fn clean_plan(plan: &mut HostPlan) {
    for change in &mut plan.changes {
        clean(&mut change.title);
        change.details.iter_mut().for_each(clean);
        for diff in &mut change.diffs {
            clean(&mut diff.path);
            clean(&mut diff.diff);
        }
    }
    for skipped in &mut plan.skipped {
        clean(&mut skipped.why);
    }
}

fn clean(field: &mut String) {
    if let Cow::Owned(cleaned) = text(field) {
        *field = cleaned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_and_letters_stay() {
        let hostile = "E: \x1b[31mred\x1b[0m \x1b]0;title\x07 na\u{ef}ve \u{202e}\u{200b}txt.exe\u{9b}2J\r\n\tend\0\x7f";
        let cleaned = text(hostile);
        assert!(cleaned.contains("E: red") && cleaned.contains("na\u{ef}ve") && cleaned.ends_with("\n\tend"));
        assert!(cleaned.chars().all(is_harmless), "{cleaned:?}");
    }

    #[test]
    fn what_the_transport_takes_out_of_a_message_goes_here_too() {
        for character in ('\0'..=char::MAX).filter(|c| !matches!(c, '\n' | '\t' | '\r')) {
            let around = format!("a{character}b");
            let is_taken_out =
                stdbctl_ssh::printable(&around).contains('\u{fffd}') && character != '\u{fffd}';
            assert_eq!(is_harmless(character), !is_taken_out, "{character:?}");
            assert!(!is_taken_out || text(&around) != around, "{character:?}");
        }
    }

    #[test]
    fn harmless_text_is_not_copied() {
        assert!(matches!(text("umlauts: \u{e4}\u{f6}\n\ttab"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cause_needs_no_number() {
        assert_eq!(without_number("refused (os error 111)"), "refused");
        assert_eq!(without_number("refused (os error x) by it"), "refused (os error x) by it");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line("a\n  b\r\nc \x1b[1md"), "a b c d");
    }
}
