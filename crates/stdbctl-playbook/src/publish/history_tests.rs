use super::*;

fn record(kind: &str, text: &str) -> Record {
    Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }
}

fn sha(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

fn store() -> Store {
    let (a, b, ab) = (sha('a'), sha('b'), format!("ab{}", &sha('a')[2..]));
    Store::read(&[
        record("modules", &format!("{a} 100\n{b} 200\n")),
        record(
            "history",
            &format!(
                "1795204275 {a} 0x01 ada@laptop\nrubbish\n1795204276 {ab} 0x02 (found on the server)\n1795204277 {b} 0x03 bo@ci\n"
            ),
        ),
        record(
            "snapshots",
            "snapshot 20261120T195115Z\nprogram 0x02\nsha256 x\nrows person 3\nrows score 0\nsnapshot 20261119T000000Z\nprogram 0x01\ndeleted\n",
        ),
    ])
}

#[test]
fn what_is_kept_is_read() {
    let store = store();
    assert_eq!(store.modules.get(&sha('b')), Some(&200));
    assert_eq!(store.history.len(), 3);
    assert_eq!(store.history[1].operator, "(found on the server)");
    assert_eq!(store.sha256_of("0x03"), Some(sha('b').as_str()));
    assert_eq!(store.sha256_of("0x09"), None);
    assert_eq!(
        store.snapshots.last().unwrap().rows,
        BTreeMap::from([("person".to_owned(), 3), ("score".to_owned(), 0)])
    );
    assert_eq!(store.snapshot_of("0x01").unwrap().taken, "20261119T000000Z");
    assert!(store.snapshot_of("0x01").unwrap().deleted && !store.snapshot_of("0x02").unwrap().deleted);
}

#[test]
fn the_way_back_leads_to_the_module_before() {
    let store = store();
    assert_eq!(store.target("game", Some("0x03"), None).unwrap().program, "0x02");
    assert_eq!(store.target("game", Some("0x77"), None).unwrap().program, "0x03", "live without a record");
    assert_eq!(store.target("game", Some("0x03"), Some("AA")).unwrap().program, "0x01");
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let store = store();
    let error = store.target("game", Some("0x03"), Some("a")).unwrap_err();
    assert_eq!(error.to_string(), "more than one module of `game` begins with a");
    let error = store.target("game", Some("0x03"), Some("f")).unwrap_err();
    assert_eq!(error.to_string(), "no module of `game` begins with f");
    let hint = error.hints().join("");
    assert!(hint.contains("bbbbbbbbbbbb of 2026-11-20 19:51 UTC by bo@ci"), "{hint}");
    assert!(
        hint.contains("abaaaaaaaaaa of 2026-11-20 19:51 UTC by (found on the server) (not kept any more)"),
        "{hint}"
    );
    let empty = Store::default();
    assert!(matches!(empty.target("game", Some("0x03"), None), Err(PublishError::NothingBefore { .. })));
}

#[test]
fn times_are_written_out() {
    assert_eq!(taken("20261120T195115Z"), "2026-11-20 19:51:15 UTC");
    assert_eq!(taken("yesterday"), "yesterday");
    assert_eq!(taken("2026é"), "2026é");
}
