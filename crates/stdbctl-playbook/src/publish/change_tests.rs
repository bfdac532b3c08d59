use super::super::error::Kind;
use super::*;

fn record(kind: &str, text: &str) -> Record {
    Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }
}

fn ended(records: &[(&str, &str)]) -> Result<Published, PublishError> {
    let records: Vec<_> = records.iter().map(|(kind, text)| record(kind, text)).collect();
    Ended::read(&records).result(Operation::Create)
}

#[test]
fn an_end_is_a_success_or_says_why_not() {
    let done = ended(&[
        ("finished:lock", "0"),
        ("identity", "c200"),
        ("after", "person 2\n"),
        ("log", "5\n{\"level\":\"Info\",\"ts\":5000000,\"message\":\"init\"}"),
        ("outcome", "done "),
    ]);
    let done = done.unwrap();
    assert_eq!((done.identity.as_str(), done.locked), ("c200", true));
    assert_eq!(
        (done.rows.get("person"), done.log.as_slice()),
        (Some(&2), ["info: init".to_owned()].as_slice())
    );

    let error = ended(&[("outcome", "rejected 500 The instance\nencountered")]).unwrap_err();
    assert_eq!(error.to_string(), "the server refused the module: The instance\nencountered");
    assert!(matches!(error.kind(), Kind::Refused));
    let error = ended(&[("undone", "the old module is live again"), ("outcome", "rolled_back it fails")])
        .unwrap_err();
    assert_eq!(error.to_string(), "it fails; the old module is live again");
    assert!(matches!(error.kind(), Kind::RolledBack));
    let error = ended(&[("outcome", "step snapshot no room")]).unwrap_err();
    assert_eq!(error.to_string(), "snapshot: no room");
    assert!(error.hints().join("").contains("--no-snapshot"));
    let error = ended(&[("undone", "no way"), ("outcome", "stuck it fails")]).unwrap_err();
    assert_eq!(error.to_string(), "it fails, and the new module could not be taken back: no way");
    assert!(matches!(ended(&[("outcome", "down refused")]), Err(PublishError::Down { .. })));
    assert!(matches!(ended(&[]), Err(PublishError::Host(Failure::Protocol(_)))));
}

#[test]
fn records_become_events_and_no_step_is_without_an_end() {
    let (events, mut readers) = Sender::channel();
    let mut progress = Progress::new("web1", &events, 100);
    for (kind, text) in [
        ("started:upload", ""),
        ("received", "60"),
        ("tick", ""),
        ("finished:upload", "0"),
        ("started:publish", ""),
        ("finished:publish", "1 it panics\nat once"),
        ("undone", "taken back"),
        ("skipped:lock", "cannot"),
    ] {
        progress.take(&record(kind, text));
    }
    progress.leave_out(["upload", "publish", "proof", "lock"].into_iter(), true);
    let mut told = Vec::new();
    while let Ok(event) = readers.try_recv() {
        told.push(match event.kind {
            EventKind::TaskStarted { task, .. } => format!("{task} started"),
            EventKind::TaskFinished { task, outcome, .. } => format!("{task} {outcome:?}"),
            EventKind::Uploaded { task, bytes, total, .. } => format!("{task} {bytes} of {total}"),
            EventKind::Warning { message, .. } => format!("warning {message}"),
            other => panic!("{other:?}"),
        });
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    upload started
    upload 60 of 100
    upload Changed
    publish started
    publish Failed { why: "it panics\nat once" }
    warning taken back
    warning cannot
    lock Skipped { why: "cannot" }
    proof Skipped { why: "not begun" }
    "#);
}
