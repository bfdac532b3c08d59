use super::super::preview::{ModuleFacts, RestoreFacts, Source};
use super::super::wish::Checks;
use super::*;
use crate::migration::{Difference, Rules, compare};

fn definition(name: &str) -> Definition {
    let path = format!("{}/../../tests/fixtures/modules/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    crate::module::Module::read(path.as_ref()).unwrap().definition
}

fn wish(what: What) -> Wish {
    let name = "game".to_owned();
    Wish {
        name,
        what,
        break_clients: false,
        delete_data: false,
        restore_data: false,
        snapshot: true,
        approved: true,
        checks: Checks::default(),
    }
}

fn rollback() -> Wish {
    wish(What::Rollback { to: None })
}

fn rows(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect()
}

fn preview(operation: Operation) -> Preview {
    Preview {
        host: "web1".to_owned(),
        database: "game".to_owned(),
        identity: None,
        owner: None,
        server: "1.3.0".to_owned(),
        operation,
        module: ModuleFacts { sha256: "a".repeat(64), bytes: 1 },
        replaces: None,
        source: Source::Schemas,
        differences: Vec::<Difference>::new(),
        plan_lines: Vec::new(),
        breaks_clients: false,
        manual: None,
        loses_data: None,
        rows: rows(&[("person", 3)]),
        snapshot: None,
        restores: None,
        notes: Vec::new(),
    }
}

fn auto(breaks_clients: bool) -> ServerPlan {
    ServerPlan::Auto { plan: String::new(), breaks_clients, token: "0x0".to_owned() }
}

#[test]
fn the_server_is_believed_and_what_it_does_not_mention_is_added() {
    let (v1, v2, v3, v4) = (
        definition("demo_v1"),
        definition("demo_v2_addtable"),
        definition("demo_v3_addcolumn"),
        definition("demo_v4_noreducer"),
    );
    let fine = Verdict { manual: None, breaks_clients: false };
    let breaking = Verdict { manual: None, breaks_clients: true };
    let over = |new: &Definition, rules| compare(&v1, new, rules);
    assert_eq!(weigh(None, Some(&over(&v2, Rules::V1))), fine);
    assert_eq!(weigh(None, Some(&over(&v4, Rules::V1))), breaking);
    assert_eq!(weigh(Some(&auto(false)), Some(&over(&v4, Rules::V2))), breaking, "a reducer is missing");
    assert_eq!(weigh(Some(&auto(true)), None), breaking);
    assert_eq!(weigh(Some(&auto(false)), Some(&over(&v3, Rules::V1))), fine, "the server knows better");
    assert!(weigh(None, Some(&over(&v3, Rules::V1))).manual.unwrap().contains("age"));
    let manual = ServerPlan::Manual { reason: "because".to_owned() };
    assert_eq!(weigh(Some(&manual), None).manual.as_deref(), Some("because"));
}

#[test]
fn only_what_is_touched_and_there_is_counted() {
    let (v1, v2, v3) =
        (definition("demo_v1"), definition("demo_v2_addtable"), definition("demo_v3_addcolumn"));
    assert_eq!(touched(&compare(&v1, &v2, Rules::V1), &v1), Vec::<String>::new());
    assert_eq!(touched(&compare(&v1, &v3, Rules::V1), &v1), ["person"]);
    assert_eq!(countable(&v2), ["person", "score", "secret"]);
    assert!(!is_plain("a\"; drop") && !is_plain("") && is_plain("st_2"));
}

#[test]
fn rows_of_a_removed_table_are_data() {
    let (v1, v2) = (definition("demo_v1"), definition("demo_v2_addtable"));
    let back = compare(&v2, &v1, Rules::V2);
    let old = Version::new(2, 1, 0);
    let lost = removed_rows(&back, &v2, &v1, &rows(&[("score", 2), ("person", 9)]), old);
    assert_eq!(lost.as_deref(), Some("table score goes with 2 rows"));
    assert_eq!(removed_rows(&back, &v2, &v1, &rows(&[("score", 0)]), old), None);
    assert_eq!(removed_rows(&compare(&v1, &v2, Rules::V2), &v1, &v2, &rows(&[]), old), None);
    let unknown = removed_rows(&back, &v2, &v1, &rows(&[("person", 9)]), old);
    assert_eq!(unknown.as_deref(), Some("table score goes with all its rows, which could not be counted"));
    assert_eq!(removed_rows(&back, &v2, &v1, &rows(&[]), Version::new(2, 8, 3)), None, "the server counts");
}

#[test]
fn newer_servers_remove_empty_tables_only() {
    let kept = |version: &str| kept_rows(version.parse().unwrap(), "table score goes with 2 rows");
    assert!(
        kept("2.8.3").unwrap().starts_with("table score goes with 2 rows, and SpacetimeDB 2.8.3 removes")
    );
    assert_eq!(kept("2.1.0"), None);
}

#[test]
fn breaking_clients_needs_its_flag() {
    let mut preview = preview(Operation::Update);
    let mut wish = rollback();
    assert!(refusal(&preview, &wish).is_none());
    preview.breaks_clients = true;
    let refused = refusal(&preview, &wish).unwrap();
    assert!(refused.to_string().ends_with("needs --break-clients"), "{refused}");
    wish.break_clients = true;
    assert!(refusal(&preview, &wish).is_none());
}

#[test]
fn losing_data_needs_its_flag_and_no_other_is_one() {
    let mut preview = preview(Operation::Rollback);
    preview.manual = Some("table score removed".to_owned());
    let mut wish = rollback();
    wish.break_clients = true;
    let refused = refusal(&preview, &wish).unwrap();
    assert_eq!(refused.to_string(), "this needs a manual migration: table score removed");
    assert!(refused.hints().join("").contains("there is no snapshot"), "{:?}", refused.hints());
    preview.restores = Some(RestoreFacts {
        taken: "20260102T030405Z".to_owned(),
        rows: rows(&[("person", 1), ("secret", 0)]),
    });
    let hints = refusal(&preview, &wish).unwrap().hints().join("\n");
    let expected = "--restore-data the data goes back to the snapshot of 2026-01-02 03:04:05 UTC; all that was written \
                    since 2026-01-02 03:04:05 UTC is lost: person has 3 rows now and 1 then";
    assert!(hints.contains(expected), "{hints}");
    wish.delete_data = true;
    preview.loses_data = Some(all_rows(&preview.rows));
    assert!(refusal(&preview, &wish).is_none());

    preview.operation = Operation::Restore;
    let refused = refusal(&preview, &wish).unwrap();
    assert!(refused.to_string().ends_with("needs --restore-data"), "{refused}");
    wish.restore_data = true;
    assert!(refusal(&preview, &wish).is_none());
}
