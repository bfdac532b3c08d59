use super::*;

const GAME: &str = "c200acf384fffeec9fb22428ab951cf0d4c0dd62e9a3e476d9c088a84783c4bd";
const ALIEN: &str = "c20011170f7ebe5672619002eefe88cd3081ebfa27c3eeb1420322f0ec0f7ce0";
const ALIEN_OWNER: &str = "c200878ae62198ae03c388e5d6b373c4432fa18f9b6db4bc5b5e653884e1a09c";
const GONE: &str = "c2005a3c897a879f450a2a2f4ea4f3fb551436cb1c5ba84f276d8ca3ba134e8e";
const PROGRAM: &str = "fae8523fd251a6ffc4f53c79d1f3d6f0d617c8180728b1501054e16d9d1b0944";

fn record(kind: &str, text: &str) -> Record {
    Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }
}

fn url(identity: &str, rest: &str) -> String {
    format!("http://127.0.0.1:3000/v1/database/{identity}{rest}")
}

fn database(identity: &str, owner: &str) -> String {
    format!(
        "{{\"database_identity\":{{\"__identity__\":\"0x{identity}\"}},\"owner_identity\":{{\"__identity__\":\"0x{owner}\"}}}}\n200 {}\n",
        url(identity, "")
    )
}

/// What a directory's log says: the database and its owner, the last byte first.
fn says(database: &str) -> String {
    let backwards = |identity: &str| identity.parse::<Identity>().unwrap().to_le_hex();
    format!("\n{}{}\n", backwards(database), backwards(ALIEN_OWNER))
}

/// A host with one database of ours, one of somebody else, and the directories of a deleted one, of one that has
/// begun anew, of one that is half removed, and of nobody knows what.
fn host() -> Vec<Record> {
    let ours = owner::owner();
    vec![
        record("answer:health", "200\n{\"version\":\"1.3.0\"}"),
        record(
            "databases",
            &format!(
                "{}{}No such database.\n404 {}\n",
                database(GAME, ours.as_str()),
                database(ALIEN, ALIEN_OWNER),
                url(GONE, "")
            ),
        ),
        record("touched", &format!("200 {}", url(GAME, "/schema?version=9"))),
        record("touched", &format!("200 {}", url(ALIEN, "/schema?version=9"))),
        record("names", "{\"names\":[\"game\",\"spiel\"]}"),
        record("names", &format!("200 {}", url(GAME, "/names"))),
        record("names", &format!("{{\"names\":[]}}\n200 {}", url(ALIEN, "/names"))),
        record("token", ours.as_str()),
        record(
            "programs",
            &format!(
                "[{{\"schema\":{{\"elements\":[{{\"name\":{{\"some\":\"program_hash\"}},\"algebraic_type\":{{\"U256\":[]}}}}]}},\"rows\":[[\"0x{PROGRAM}\"]]}}]\n200 {}",
                url(GAME, "/sql")
            ),
        ),
        record("opened", "1\n7\n"),
        record(
            "sizes",
            "896\t/stdb/data/replicas/1\n716\t/stdb/data/replicas/3\n716\t/stdb/data/replicas/5\n508\t/stdb/data/replicas/7\n\
             4\t/stdb/data/replicas/9\n4\t/stdb/data/replicas/lost+found\n12\t/stdb/data/.pruned-11\n",
        ),
        record("replica:1", &says(GAME)),
        record("replica:3", &says(GONE)),
        record("replica:5", &says(GAME)),
        record("replica:7", &says(ALIEN)),
        record("replica:9", "\n"),
        record(
            &format!("history:{GAME}"),
            &format!("1795190467 aa {PROGRAM} ada@laptop\n1795190468 bb 00 ada@laptop\n"),
        ),
    ]
}

#[test]
fn databases_have_all_that_is_known_of_them() {
    let survey = survey(&host()).unwrap();
    let [alien, game] = survey.databases.as_slice() else { panic!("{survey:?}") };
    assert_eq!(
        (&game.names, game.replica, game.bytes),
        (&vec!["game".to_owned(), "spiel".to_owned()], Some(1), Some(896 << 10))
    );
    assert_eq!((game.token.clone(), game.program.as_deref()), (Token::Own, Some(PROGRAM)));
    assert_eq!(
        (game.sha256.as_deref(), game.published),
        (Some("aa"), Some(1_795_190_467)),
        "of the program that runs"
    );
    assert_eq!((alien.token.clone(), alien.program.clone(), alien.replica), (Token::Unknown, None, Some(7)));
    assert!(alien.names.is_empty());
}

#[test]
fn orphans_are_those_of_databases_that_are_gone_or_live_elsewhere() {
    let survey = survey(&host()).unwrap();
    let orphans: Vec<_> = survey.orphans.iter().map(|orphan| (orphan.replica, orphan.why)).collect();
    assert_eq!(orphans, [(3, Why::Deleted), (5, Why::Replaced { by: 1 }), (11, Why::HalfRemoved)]);
    assert_eq!(survey.orphaned_bytes(), (716 + 716 + 12) << 10);
    let unknown: Vec<_> = survey.unknown.iter().map(|unknown| unknown.name.as_str()).collect();
    assert_eq!(unknown, ["9", "lost+found"]);
}

#[test]
fn a_module_is_known_by_its_sha256_wherever_it_was_published() {
    let mut records = host();
    records.retain(|record| !record.kind.starts_with("history:"));
    records.push(record(&format!("history:{GONE}"), &format!("1795190467 cc 0x{PROGRAM} ada@laptop\n")));
    let survey = survey(&records).unwrap();
    let game = survey.databases.iter().find(|database| database.identity.as_str() == GAME).unwrap();
    assert_eq!((game.sha256.as_deref(), game.published), (Some("cc"), None));
}

/// The same host with one record changed.
fn changed(kind: &str, text: &str) -> Survey {
    let mut records = host();
    records.retain(|record| record.kind != kind);
    records.push(record(kind, text));
    survey(&records).unwrap()
}

fn numbers(survey: &Survey) -> Vec<u64> {
    survey.orphans.iter().map(|orphan| orphan.replica).collect()
}

#[test]
fn whatever_is_not_certain_is_no_orphan() {
    let not_loaded = changed("touched", &format!("500 {}", url(GAME, "/schema?version=9")));
    assert_eq!(numbers(&not_loaded), [3, 11], "its database may yet open it");
    assert_eq!(numbers(&changed("opened", "7\n")), [3, 11], "its database has none open");
    assert_eq!(numbers(&changed("opened", "1\n3\n5\n7\n")), [11], "they are open");
    assert_eq!(numbers(&changed("databases", "curl: (7) refused\n")), [11]);
    assert_eq!(
        numbers(&changed("replica:3", &says(ALIEN_OWNER))),
        [5, 11],
        "nobody was asked about that one"
    );
    assert_eq!(numbers(&changed("replica:3", "\n")), [5, 11]);
}

#[test]
fn nothing_is_said_of_a_host_whose_server_does_not_run() {
    let mut records = host();
    records.push(record("down", "the service spacetimedb does not run"));
    assert!(matches!(survey(&records), Err(DatabaseError::Down(why)) if why.contains("does not run")));
    assert!(matches!(survey(&[record("answer:health", "0\nrefused")]), Err(DatabaseError::Down(_))));
    assert!(survey(&[]).is_err());
}

#[test]
fn answers_belong_to_the_address_after_them() {
    let text = format!("one\ntwo\n200 {}\n404 {}\nlost\n", url(GAME, "/names"), url("c200", ""));
    let answers = answers(&[record("x", &text)], "x");
    assert_eq!(
        answers.into_iter().collect::<Vec<_>>(),
        [(GAME.parse().unwrap(), (200, "one\ntwo\n".to_owned()))]
    );
}
