//! A second deployment does nothing, and says so after one flight.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::Duration;

use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::Operator;
use stdbctl_tests::proxy::Proxy;

/// So far that what a host says unasked is told from an answer, even on a busy machine.
const RTT: Duration = Duration::from_millis(200);
/// What any login leaves in the journal, whoever logs in; and what the services say when they are looked at.
const LOGIN: [&str; 6] = ["sshd: ", "sshd-session: ", "sudo: ", "systemd: ", "dbus-daemon: ", "spacetime"];

#[test]
fn a_second_deployment_changes_nothing_in_eight_round_trips() {
    let host = LabHost::up("noop");
    let operator = Operator::new();
    host.deploy(&operator);

    let (before, cursor) = (host.snapshot(), host.journal_cursor());
    let proxy = Proxy::in_front_of(host.ssh_socket(), RTT).unwrap();
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

#[test]
fn a_hop_adds_no_more_than_its_own_handshake() {
    let hosts = LabHost::up_all(&["noop-behind", "noop-hop"]);
    let (host, hop) = (&hosts[0], &hosts[1]);
    let operator = Operator::new();
    let wish = host.wish_private();
    operator.succeed(&line(&[&host.reach(), &wish], &["deploy", "--yes"]));

    let counted = |door: SocketAddr, arguments: &dyn Fn(&Proxy) -> Vec<String>| {
        let proxy = Proxy::in_front_of(door, RTT).unwrap();
        operator.succeed(&arguments(&proxy));
        let counts = proxy.counts();
        assert_eq!(counts.connections, 1, "{counts:?}");
        counts.round_trips
    };
    let near = counted(host.ssh_socket(), &|proxy| {
        line(&[&host.reach_through(proxy, operator.home()), &wish], &["deploy", "--yes"])
    });
    // A command without input costs a channel and an answer; the rest is what it costs to get in.
    let login = counted(hop.ssh_socket(), &|proxy| {
        line(&[&hop.reach_through(proxy, operator.home())], &["exec", "--", "true"])
    }) - 2;
    let behind = counted(hop.ssh_socket(), &|proxy| {
        line(&[&through(&operator, proxy, host, hop), &wish], &["deploy", "--yes"])
    });
    assert!(near <= 8 && behind <= near + login, "{near} near, {behind} behind a login of {login}");
}

/// The flags that reach a host behind a hop that stands behind a proxy.
fn through(operator: &Operator, proxy: &Proxy, host: &LabHost, hop: &LabHost) -> Vec<String> {
    let to_hop = hop.reach_through(proxy, operator.home());
    let known = std::fs::read_to_string(to_hop.last().unwrap()).unwrap();
    let keys = std::fs::read_to_string(&host.known_hosts).unwrap();
    let inside = |line: &str| format!("{} {}\n", host.address, line.split_once(' ').unwrap().1);
    let known = operator.write("known", &(known + &keys.lines().map(inside).collect::<String>()));
    let (address, key) = (proxy.address(), host.identity.display());
    let config = format!(
        "Host hop\nHostName {}\nPort {}\nHost behind\nHostName {}\nProxyJump hop\n\
         Host *\nUser ubuntu\nIdentityFile {key}\nUserKnownHostsFile {}\n",
        address.ip(),
        address.port(),
        host.address,
        known.display()
    );
    operator.write("config", &config);
    flags(&[("--ssh-config", "config"), ("--host", "behind")])
}
