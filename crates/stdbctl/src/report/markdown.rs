//! What publishing would do to a database, as Markdown: for the summary of a CI job, and the comment on a pull request.
//!
//! Names and reasons come from modules and hosts. Each stands in a code span or a code block, where nothing is a link,
//! a tag or a mention; what is left of the text is this file's own.

use std::fmt::Write as _;

use stdbctl_playbook::publish::{Operation, Preview, Source};

use super::clean;
use super::preview::{CODE_ONLY, danger, facts, is_code_only, meaning, operation, sign};

/// A preview, ready for GitHub or GitLab.
pub(crate) fn text(preview: &Preview) -> String {
    let mut text =
        format!("### {} on {}: {}\n\n", code(&preview.database), code(&preview.host), operation(preview));
    if preview.operation == Operation::Unchanged {
        return text;
    }
    // Writing to a string cannot fail.
    for warning in warnings(preview) {
        writeln!(text, "{warning}\n").ok();
    }
    text.push_str(&differences(preview));
    text.push_str("| | |\n|---|---|\n");
    for (label, value) in facts(preview) {
        writeln!(text, "| {label} | {} |", code(&value).replace('|', "\\|")).ok();
    }
    text.push_str(&details(preview));
    text.push('\n');
    text
}

/// Why nothing is published on a host, ready for GitHub or GitLab.
pub(crate) fn failure(database: &str, host: &str, cause: &str) -> String {
    format!("**{} on {} cannot be published:** {}\n\n", code(database), code(host), code(cause))
}

fn warnings(preview: &Preview) -> Vec<String> {
    let manual = preview.manual.iter().map(|reason| format!("**NO AUTOMATIC MIGRATION:** {}", code(reason)));
    let consents = preview.consents();
    let consents = consents.iter().map(|consent| {
        format!("**{}:** {}; needs `{}`", danger(consent), code(consent.reason()), consent.flag())
    });
    manual.chain(consents).collect()
}

/// As a block of a difference: its lines begin with a sign, so that none of them can end it.
fn differences(preview: &Preview) -> String {
    let mut text = String::new();
    for difference in &preview.differences {
        // What changes in place has a colour of its own.
        let sign = if sign(difference) == '~' { '!' } else { sign(difference) };
        let meaning = meaning(difference.severity).map(|meaning| format!(": {meaning}")).unwrap_or_default();
        writeln!(text, "{sign} {}{meaning}", clean::line(&difference.what)).ok();
    }
    match text.as_str() {
        "" if is_code_only(preview) => format!("{CODE_ONLY}\n\n"),
        "" => text,
        _ => format!("```diff\n{text}```\n\n"),
    }
}

fn details(preview: &Preview) -> String {
    let of_differences = preview.differences.iter().flat_map(|difference| {
        let what = code(&difference.what);
        difference.details.iter().map(move |detail| format!("- {what}: {}", code(detail)))
    });
    let details: Vec<_> = of_differences.collect();
    let plan = preview.plan_lines.iter().map(|line| format!("    {}", clean::text(line).replace('\n', " ")));
    // Without a server's plan these lines are the same differences once more.
    let plan: Vec<_> = plan.filter(|_| preview.source == Source::Server).collect();
    let notes: Vec<_> = preview.notes.iter().map(|note| format!("- {}", code(note))).collect();
    folded("Details", &details)
        + &folded("The server's own plan", &plan)
        + &folded("How far this goes", &notes)
}

fn folded(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("\n<details><summary>{title}</summary>\n\n{}\n\n</details>\n", lines.join("\n"))
}

/// Text as a code span.
fn code(text: &str) -> String {
    let line = clean::line(text);
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if line.starts_with('`') || line.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{line}{space}{fence}")
}
