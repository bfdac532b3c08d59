//! What publishing would do to a database, for people: all of it, at a glance, on 80 columns.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anstyle::Style;
use stdbctl_playbook::migration::{Difference, Severity};
use stdbctl_playbook::publish::{Consent, CopyKind, Operation, Preview, RestoreFacts, SnapshotFacts, Source};

use super::style::{BAD, GOOD, LOUD, QUIET, size};
use super::{clean, github, wrap};

/// The width of what is written, in columns.
const WIDTH: usize = 80;
/// What is said where neither data nor clients notice anything.
pub(crate) const CODE_ONLY: &str = "tables, reducers and all else that clients see stay as they are";
/// How much of a sha256 tells modules apart.
const SHORT: usize = 12;

/// A preview, ready for a terminal. Of a module that is live already that is one line.
pub(crate) fn text(preview: &Preview) -> String {
    let (database, host) = (clean::line(&preview.database), clean::line(&preview.host));
    let operation = operation(preview);
    format!("{LOUD}{database}{LOUD:#} on {LOUD}{host}{LOUD:#}: {operation}\n{}", body(preview))
}

/// A preview as a group in the log of a GitHub Actions job.
pub(crate) fn folded(preview: &Preview) -> String {
    let (database, host) = (clean::line(&preview.database), clean::line(&preview.host));
    github::folded(&format!("{database} on {host}: {}", operation(preview)), &body(preview))
}

fn body(preview: &Preview) -> String {
    let mut page = Page::default();
    if !is_unchanged(preview) {
        page.warnings(preview);
        page.differences(preview);
        page.facts(preview);
        page.notes(preview);
    }
    page.text
}

/// Whether nothing would be done.
pub(crate) fn is_unchanged(preview: &Preview) -> bool {
    preview.operation == Operation::Unchanged
}

/// What is done, in a few words.
pub(crate) fn operation(preview: &Preview) -> String {
    match preview.operation {
        Operation::Create => "a new database".to_owned(),
        Operation::Update => "a new module".to_owned(),
        Operation::Unchanged => {
            format!("already live (sha256 {}), nothing to do", short(&preview.module.sha256))
        }
        Operation::Rollback => "back to an earlier module".to_owned(),
        Operation::Restore => "back to an earlier module and its data".to_owned(),
    }
}

/// Enough of a sha256, or of a server's hash of a program, to tell modules apart.
pub(crate) fn short(sha256: &str) -> String {
    let sha256 = clean::line(sha256);
    sha256.trim_start_matches("0x").chars().take(SHORT).collect()
}

/// `person 3, score 12`.
pub(crate) fn rows(rows: &BTreeMap<String, u64>) -> String {
    let told: Vec<_> = rows.iter().map(|(table, rows)| format!("{} {rows}", clean::line(table))).collect();
    told.join(", ")
}

/// Whether the database gets other code and nothing else.
pub(crate) fn is_code_only(preview: &Preview) -> bool {
    let replaces = ![Operation::Create, Operation::Unchanged].contains(&preview.operation);
    replaces && preview.differences.is_empty() && preview.plan_lines.is_empty() && preview.manual.is_none()
}

/// What there is to know besides: labels, and what stands behind them in one line.
pub(crate) fn facts(preview: &Preview) -> Vec<(&'static str, String)> {
    let module = &preview.module;
    let mut facts = vec![("module", format!("{} ({})", short(&module.sha256), size(module.bytes)))];
    facts.extend(preview.replaces.iter().map(|replaced| ("replaces", short(replaced))));
    facts.push(("server", format!("SpacetimeDB {}", clean::line(&preview.server))));
    if !preview.rows.is_empty() {
        facts.push(("rows now", rows(&preview.rows)));
    }
    facts.extend(preview.restores.iter().map(|facts| ("earlier data", restored(facts))));
    facts.extend(preview.snapshot.iter().map(|facts| ("snapshot", snapshot(facts))));
    if preview.operation != Operation::Create {
        facts.push(("known from", source(preview).to_owned()));
    }
    facts
}

fn source(preview: &Preview) -> &'static str {
    match preview.source {
        Source::Server => "the server's own plan, and comparing the two modules",
        Source::Schemas => "comparing the two modules",
    }
}

fn snapshot(snapshot: &SnapshotFacts) -> String {
    let SnapshotFacts { bytes, free, kind } = snapshot;
    match kind {
        CopyKind::Reflink => format!("{} beside the data first, sharing its blocks", size(*bytes)),
        CopyKind::Copy => format!("{} beside the data first; {} are free", size(*bytes), size(*free)),
    }
}

/// `of 2026-01-02 03:04:05 UTC: person 3`.
fn restored(facts: &RestoreFacts) -> String {
    let taken = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &facts.taken);
    let taken = taken.map_or_else(
        |_| clean::line(&facts.taken),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    );
    if facts.rows.is_empty() { format!("of {taken}") } else { format!("of {taken}: {}", rows(&facts.rows)) }
}

/// `+`, `-` or `~`.
pub(crate) fn sign(difference: &Difference) -> char {
    let what = difference.what.as_str();
    let is = |how: &str| {
        what.ends_with(how) || [":", " ("].iter().any(|end| what.contains(&format!("{how}{end}")))
    };
    if is(" added") {
        '+'
    } else if is(" removed") {
        '-'
    } else {
        '~'
    }
}

/// What a difference means, where it means anything.
pub(crate) fn meaning(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Compatible => None,
        Severity::BreaksClients => Some("breaks clients"),
        Severity::Manual => Some("no automatic migration"),
    }
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Compatible => GOOD,
        Severity::BreaksClients | Severity::Manual => BAD,
    }
}

/// What somebody agrees to.
pub(crate) fn danger(consent: &Consent) -> &'static str {
    match consent {
        Consent::BreakClients(_) => "BREAKS CLIENTS",
        Consent::DeleteData(_) | Consent::RestoreData(_) => "LOSES DATA",
    }
}

/// The text as it grows.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// What must be known before anything else is read.
    fn warnings(&mut self, preview: &Preview) {
        if let Some(reason) = &preview.manual {
            self.warning("NO AUTOMATIC MIGRATION", &clean::line(reason));
        }
        for consent in preview.consents() {
            let words = format!("{}; needs {}", clean::line(consent.reason()), consent.flag());
            self.warning(danger(&consent), &words);
        }
    }

    fn differences(&mut self, preview: &Preview) {
        let mut said = BTreeSet::new();
        for difference in &preview.differences {
            let (sign, style) = (sign(difference), style(difference.severity));
            let what = clean::line(&difference.what);
            let what =
                meaning(difference.severity).map_or(what.clone(), |meaning| format!("{what}: {meaning}"));
            self.hanging(&format!("{style}{sign}{style:#}"), 1, &what);
            // What holds of several is said of the first.
            for detail in difference.details.iter().filter(|detail| said.insert(detail.as_str())) {
                self.hanging("   ", 3, &clean::line(detail));
            }
        }
        // Where there are differences, the server's plan says the same in more words than anyone reads at once.
        if preview.differences.is_empty() {
            for line in &preview.plan_lines {
                self.push(format!("    {}", clean::text(line)).trim_end());
            }
        }
        if is_code_only(preview) {
            self.hanging(&format!("{QUIET}={QUIET:#}"), 1, CODE_ONLY);
        }
    }

    fn facts(&mut self, preview: &Preview) {
        for (label, value) in facts(preview) {
            self.hanging(&format!("{QUIET}{label:<12}{QUIET:#}"), 12, &value);
        }
    }

    fn notes(&mut self, preview: &Preview) {
        for note in &preview.notes {
            self.hanging(&format!("{QUIET}.{QUIET:#}"), 1, &clean::line(note));
        }
    }

    fn warning(&mut self, danger: &str, words: &str) {
        let loud = BAD.bold();
        self.hanging(&format!("{loud}{danger}:{loud:#}"), danger.chars().count() + 1, words);
    }

    /// `words` behind a mark, and under their own beginning where they take more than a line.
    fn hanging(&mut self, mark: &str, width: usize, words: &str) {
        let indent = width + 3;
        // Under a long mark there would be no room.
        let hang = if indent > WIDTH / 4 { 6 } else { indent };
        self.text.push_str(&wrap::hanging(&format!("  {mark} "), words, hang, Some(WIDTH)));
    }

    fn push(&mut self, line: &str) {
        // Writing to a string cannot fail.
        writeln!(self.text, "{line}").ok();
    }
}
