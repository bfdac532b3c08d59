//! What publishing would do and did, as people and pull requests see it. The previews are made up after real ones.

use std::collections::BTreeMap;

use stdbctl_playbook::migration::{Difference, Severity, Subject};
use stdbctl_playbook::publish::{
    CopyKind, ModuleFacts, Operation, Preview, Published, RestoreFacts, SnapshotFacts, Source,
};

use super::{markdown, preview, publication};

const OLD: &str = "eb1cac391fa04ee3a06b4bcfb7d5cbb0ccf1b7a4d1d9a8a5f4e2b1a7d60404e4";
const NEW: &str = "dd18e2f4a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c";
const IDENTITY: &str = "c200365ca6af16b36934ffddb31fbdbbe8071d4f21f663fa34c7c7683e2737c5";

fn rows(tables: &[(&str, u64)]) -> BTreeMap<String, u64> {
    tables.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect()
}

fn difference(subject: Subject, name: &str, severity: Severity, what: &str, details: &[&str]) -> Difference {
    let details = details.iter().map(|&detail| detail.to_owned()).collect();
    Difference { subject, name: name.to_owned(), what: what.to_owned(), details, severity }
}

fn some(operation: Operation) -> Preview {
    Preview {
        host: "web1".to_owned(),
        database: "game".to_owned(),
        identity: Some(IDENTITY.to_owned()),
        owner: Some("c20048614e10aa1963d4769a602df2812dc054fd5ea6dc3f48028ab20c30835f".to_owned()),
        server: "1.3.0".to_owned(),
        operation,
        module: ModuleFacts { sha256: NEW.to_owned(), bytes: 84_960 },
        replaces: Some(OLD.to_owned()),
        source: Source::Schemas,
        differences: Vec::new(),
        plan_lines: Vec::new(),
        breaks_clients: false,
        manual: None,
        loses_data: None,
        rows: BTreeMap::new(),
        snapshot: None,
        restores: None,
        notes: Vec::new(),
    }
}

fn create() -> Preview {
    Preview { identity: None, replaces: None, ..some(Operation::Create) }
}

fn compatible() -> Preview {
    let details = ["primary key id", "btree index on id"];
    let table = difference(
        Subject::Table,
        "score",
        Severity::Compatible,
        "table score added (public): id u64, points i64",
        &details,
    );
    Preview {
        server: "2.8.3".to_owned(),
        source: Source::Server,
        differences: vec![table],
        plan_lines: vec![
            "Created user table: score (public)".to_owned(),
            "  Columns:".to_owned(),
            "    id: U64".to_owned(),
        ],
        snapshot: Some(SnapshotFacts { bytes: 1_250_000, free: 38_000_000_000, kind: CopyKind::Copy }),
        ..some(Operation::Update)
    }
}

fn breaking() -> Preview {
    let made_private =
        difference(Subject::Table, "person", Severity::BreaksClients, "table person made private", &[]);
    let takes = difference(
        Subject::Reducer,
        "add",
        Severity::BreaksClients,
        "reducer add takes other parameters",
        &["(name: string) becomes (name: string, age: u8)"],
    );
    Preview {
        differences: vec![made_private, takes],
        breaks_clients: true,
        rows: rows(&[("person", 3)]),
        snapshot: Some(SnapshotFacts { bytes: 1_250_000, free: 38_000_000_000, kind: CopyKind::Reflink }),
        notes: vec![
            "a server of before 1.6 does not say what it will do: this is what its rules say of the two modules"
                .to_owned(),
        ],
        ..some(Operation::Update)
    }
}

fn manual() -> Preview {
    let column = difference(
        Subject::Table,
        "person",
        Severity::Manual,
        "column person.age added: u8",
        &["the server cannot do this by itself: it needs a manual migration, or the data has to go"],
    );
    Preview {
        differences: vec![column],
        manual: Some("Adding a column age to table person requires a manual migration".to_owned()),
        rows: rows(&[("person", 3), ("score", 1200)]),
        ..some(Operation::Update)
    }
}

fn deleting() -> Preview {
    Preview {
        manual: None,
        loses_data: Some("all 1203 rows of the database are deleted".to_owned()),
        snapshot: Some(SnapshotFacts { bytes: 1_250_000, free: 38_000_000_000, kind: CopyKind::Copy }),
        ..manual()
    }
}

fn removed_reducer() -> Preview {
    let reducer = difference(Subject::Reducer, "add", Severity::BreaksClients, "reducer add removed", &[]);
    Preview {
        differences: vec![reducer],
        breaks_clients: true,
        notes: vec![
            "the server never says that a reducer is removed: this was found by comparing".to_owned(),
        ],
        ..some(Operation::Update)
    }
}

fn unchanged() -> Preview {
    Preview { replaces: Some(NEW.to_owned()), ..some(Operation::Unchanged) }
}

fn rollback() -> Preview {
    Preview {
        module: ModuleFacts { sha256: OLD.to_owned(), bytes: 82_100 },
        replaces: Some(NEW.to_owned()),
        ..some(Operation::Rollback)
    }
}

fn restore() -> Preview {
    let table = difference(Subject::Table, "score", Severity::BreaksClients, "table score removed", &[]);
    Preview {
        operation: Operation::Restore,
        differences: vec![table],
        breaks_clients: true,
        loses_data: Some("12 rows that came after the snapshot are lost".to_owned()),
        rows: rows(&[("person", 5), ("score", 10)]),
        restores: Some(RestoreFacts { taken: "20261120T182430Z".to_owned(), rows: rows(&[("person", 3)]) }),
        ..rollback()
    }
}

/// All of them, one below the other.
fn all(shown: impl Fn(&Preview) -> String) -> String {
    let previews = [
        ("create", create()),
        ("compatible", compatible()),
        ("breaking", breaking()),
        ("manual", manual()),
        ("deleting data", deleting()),
        ("removed reducer", removed_reducer()),
        ("unchanged", unchanged()),
        ("rollback", rollback()),
        ("restore", restore()),
    ];
    previews.map(|(name, preview)| format!("---- {name}\n{}", shown(&preview))).concat()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_preview_says_all_on_eighty_columns() {
    let text = all(|preview| plain(&preview::text(preview)));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!("preview", text);
}

#[test]
fn danger_has_a_colour() {
    let text = preview::text(&restore());
    assert!(text.contains("\x1b[1m\x1b[31mLOSES DATA:\x1b[0m"), "{text:?}");
    assert!(text.contains("\x1b[1m\x1b[31mBREAKS CLIENTS:\x1b[0m"), "{text:?}");
}

#[test]
fn the_same_as_markdown() {
    insta::assert_snapshot!("markdown", all(markdown::text));
}

/// A module may call its tables what it likes, and a host that was broken into may say anything.
fn hostile() -> Preview {
    let words =
        "x\x1b[2J`\n\n```\n# <script>alert(1)</script> @everyone [a](https://evil.example) | ::add-mask::a";
    let table =
        difference(Subject::Table, words, Severity::Manual, &format!("table {words} removed"), &[words]);
    Preview {
        database: words.to_owned(),
        host: words.to_owned(),
        server: words.to_owned(),
        differences: vec![table],
        plan_lines: vec![words.to_owned()],
        manual: Some(words.to_owned()),
        loses_data: Some(words.to_owned()),
        breaks_clients: true,
        rows: rows(&[(words, 1)]),
        restores: Some(RestoreFacts { taken: words.to_owned(), rows: rows(&[(words, 1)]) }),
        notes: vec![words.to_owned()],
        ..some(Operation::Update)
    }
}

#[test]
fn nothing_a_module_says_is_more_than_text() {
    insta::assert_snapshot!("markdown_hostile", markdown::text(&hostile()));
    let text = plain(&preview::text(&hostile()));
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert!(!preview::text(&hostile()).contains("\x1b[2J"));
}

/// What stands outside of code, as Markdown reads it: spans end at as many backticks as they begin with.
fn outside_of_code(markdown: &str) -> String {
    let (mut outside, mut in_block) = (String::new(), false);
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block && !line.starts_with("    ") {
            outside.push_str(&outside_of_spans(line));
            outside.push('\n');
        }
    }
    assert!(!in_block, "a block of code is not closed:\n{markdown}");
    outside
}

fn outside_of_spans(line: &str) -> String {
    let mut outside = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        let (before, span) = rest.split_at(at);
        outside.push_str(before);
        let inside = span.trim_start_matches('`');
        let fence = &span[..span.len() - inside.len()];
        let ends =
            inside.match_indices('`').filter(|(at, _)| !inside[..*at].ends_with('`')).find(|(at, _)| {
                let run = &inside[*at..];
                run.len() - run.trim_start_matches('`').len() == fence.len()
            });
        let (end, _) = ends.unwrap_or_else(|| panic!("a code span is not closed: {line}"));
        rest = &inside[end + fence.len()..];
    }
    outside + rest
}

#[test]
fn names_stand_in_code_only() {
    let outside = outside_of_code(&markdown::text(&hostile()));
    for word in ["script", "@", "evil", "::"] {
        assert!(!outside.contains(word), "{word} stands outside of code:\n{outside}");
    }
    assert!(outside.contains("**LOSES DATA:**") && outside.contains("<details>"), "{outside}");
}

fn published(preview: &Preview) -> String {
    let published = Published {
        identity: IDENTITY.to_owned(),
        operation: preview.operation,
        rows: rows(&[("person", 3), ("score", 0)]),
        locked: preview.operation == Operation::Create,
        log: Vec::new(),
    };
    let mut out = Vec::new();
    publication::write(&mut out, preview, &published, 0.41).unwrap();
    plain(&String::from_utf8(out).unwrap()) + &next(None)
}

fn next(width: Option<usize>) -> String {
    let next = [
        ("logs", "stdbctl db logs --host web1 --name game".to_owned()),
        ("way back", "stdbctl publish --rollback --host web1 --name game".to_owned()),
    ];
    let mut out = Vec::new();
    publication::write_next(&mut out, &next, width).unwrap();
    plain(&String::from_utf8(out).unwrap())
}

#[test]
fn a_command_that_does_not_fit_beside_its_label_has_a_line_of_its_own() {
    let logs = "\n  logs       stdbctl db logs --host web1 --name game\n  way back";
    let back = "stdbctl publish --rollback --host web1 --name game\n";
    assert_eq!(next(Some(62)), format!("{logs}\n    {back}"));
    assert_eq!(next(Some(63)), format!("{logs}   {back}"));
}

#[test]
fn the_result_says_what_is_live_and_what_comes_next() {
    insta::assert_snapshot!(
        "publication",
        [create(), compatible(), restore()].map(|p| published(&p)).join("\n")
    );
}
