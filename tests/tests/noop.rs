//! A second deployment does nothing, and says so after one flight.

use std::time::Duration;

use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::Operator;
use stdbctl_tests::proxy::Proxy;

/// What any login leaves in the journal, whoever logs in; and what the services say when they are looked at.
const LOGIN: [&str; 6] = ["sshd: ", "sshd-session: ", "sudo: ", "systemd: ", "dbus-daemon: ", "spacetime"];

#[test]
fn a_second_deployment_changes_nothing_in_eight_round_trips() {
    let host = LabHost::up("noop");
    let operator = Operator::new();
    host.deploy(&operator);

    let (before, cursor) = (host.snapshot(), host.journal_cursor());
    let proxy = Proxy::in_front_of(host.ssh_socket(), Duration::from_millis(100)).unwrap();
    let near = host.reach_through(&proxy, operator.home());
    let run =
        operator.succeed(&line(&[&near, &host.wish()], &["deploy", "--yes", "--output", "json", "--stats"]));
    let counts = proxy.counts();

    before.differences(&host.snapshot()).assert_none("the second deployment left traces");
    let ours: Vec<_> = host.journal_since(&cursor);
    let ours: Vec<_> =
        ours.iter().filter(|entry| !LOGIN.iter().any(|login| entry.starts_with(login))).collect();
    assert!(ours.is_empty(), "{ours:#?}");

    let finished = run.finished();
    let name = finished["hosts"].as_object().unwrap().keys().next().unwrap();
    let tasks = &finished["hosts"][name];
    assert_eq!((&tasks["changed"], &tasks["failed"]), (&0.into(), &0.into()), "{run}");
    assert!(tasks["unchanged"].as_u64().unwrap() > 20, "{run}");
    let planned = run.events().into_iter().find(|event| event["event"] == "planned").unwrap();
    assert!(planned["plans"][0]["changes"].as_array().unwrap().is_empty(), "{run}");
    assert!(run.tasks("changed").is_empty(), "{run}");

    assert_eq!(counts.connections, 1, "{counts:?}");
    assert!(counts.round_trips <= 8, "{counts:?}\n{run}");
    let told = &finished["stats"];
    // It cannot see whether what arrives is an answer or was on its way already; the proxy can.
    let difference = told["round_trips"].as_u64().unwrap().abs_diff(counts.round_trips);
    assert!(difference <= 1, "what it tells is what it did: {counts:?}\n{run}");
    assert_eq!(told["bytes_sent"], counts.bytes_to_server, "{run}");
    assert_eq!(told["bytes_received"], counts.bytes_to_client, "{run}");

    // Planning is the same without the last step, and so is asking whether anything is pending.
    let plan = operator
        .succeed(&line(&[&host.reach(), &host.wish()], &["plan", "--detailed-exitcode", "--output", "json"]));
    assert!(plan.planned().is_empty(), "{plan}");
    before.differences(&host.snapshot()).assert_none("the plan left traces");
}
