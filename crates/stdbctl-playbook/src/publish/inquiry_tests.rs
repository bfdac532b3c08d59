use super::*;

/// The answer in a recording of a real 2.8.3 server.
fn recorded(name: &str) -> Answer {
    let path = format!("{}/../../tests/fixtures/recordings/2.8.3/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let status = head.lines().nth(1).unwrap().split(' ').nth(1).unwrap();
    Answer { status: status.parse().unwrap(), body: body.to_owned() }
}

#[test]
fn a_servers_plan_is_read() {
    let ServerPlan::Auto { plan, breaks_clients, token } =
        ServerPlan::read(&recorded("13-pre_publish-compatible")).unwrap()
    else {
        panic!("it migrates by itself")
    };
    assert!(plan.contains("Created user table: score") && !breaks_clients);
    assert_eq!(token, "0xb210880760ca1463b79a4dfceaf88858ae05ea6a99b90e8b3d033d7465f0227a");
    let breaking = ServerPlan::read(&recorded("42-pre_publish-breaking")).unwrap();
    assert!(matches!(breaking, ServerPlan::Auto { breaks_clients: true, .. }));
    let manual = ServerPlan::read(&recorded("15-pre_publish-manual")).unwrap();
    let reason = "Errors occurred:\nAdding a column age to table person requires a default value annotation";
    assert_eq!(manual, ServerPlan::Manual { reason: reason.to_owned() });
}

#[test]
fn a_server_that_says_no_is_quoted() {
    for (name, words, hint) in [
        ("17-pre_publish-other-identity", "is not authorized to perform action", "stdbctl identity"),
        ("18-pre_publish-bad-token", "Invalid token", "stdbctl identity"),
        ("10-pre_publish-unknown-database", "`game` not found", "mend the module"),
    ] {
        let error = ServerPlan::read(&recorded(name)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hints().join("").contains(hint), "{:?}", error.hints());
    }
    let odd = Answer { status: 200, body: "{\"Other\":1}".to_owned() };
    assert!(matches!(ServerPlan::read(&odd), Err(PublishError::Answer(_))));
}

fn record(kind: &str, text: &str) -> Record {
    Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }
}

#[test]
fn what_the_host_answers_is_read() {
    let records = [
        record("tick", ""),
        record("rows", "person 3\nscore 0\n"),
        record("room", "4096 90000 reflink"),
        record("schema", ""),
    ];
    let answered = Answered::read(&records, "game").unwrap();
    assert_eq!(answered.rows, BTreeMap::from([("person".to_owned(), 3), ("score".to_owned(), 0)]));
    let room = SnapshotFacts { bytes: 4096, free: 90000, kind: CopyKind::Reflink };
    assert_eq!(answered.room, Some(room));
    assert!(answered.definition.is_none() && answered.migration.is_none() && answered.live.is_none());
}

#[test]
fn what_went_wrong_on_the_way_has_its_own_error() {
    let unowned = Answered::read(&[record("unowned", "no key")], "game").unwrap_err();
    assert_eq!(unowned.to_string(), "no token that fits the owner of `game`: no key");
    let unreceived = Answered::read(&[record("unreceived", "no room")], "game").unwrap_err();
    assert_eq!(unreceived.to_string(), "upload: no room");
}
