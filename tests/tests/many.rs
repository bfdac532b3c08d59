//! Three hosts at once, one of them down: the others are done, and the last line says which was not, and why.

use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::Operator;

#[test]
fn one_host_that_is_down_does_not_stop_the_others() {
    let hosts = LabHost::up_all(&["one", "down", "two"]);
    let operator = Operator::new();
    let known: String =
        hosts.iter().map(|host| std::fs::read_to_string(&host.known_hosts).unwrap()).collect();
    let known = operator.write("known_hosts", &known);
    let mut reach = flags(&[
        ("--identity", &hosts[0].identity.to_string_lossy()),
        ("--known-hosts", &known.to_string_lossy()),
    ]);
    for host in &hosts {
        reach.extend(flags(&[("--host", &host.ssh)]));
    }
    let down = &hosts[1];
    down.docker("stop");

    let run =
        operator.run(&line(&[&reach, &hosts[0].wish_private()], &["deploy", "--yes", "--output", "json"]));
    let address = down.ip().to_string();
    run.failed(4, &[&address, "1 of 3"]);
    assert!(!run.ok(), "{run}");
    for host in [&hosts[0], &hosts[2]] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10"]);
        let answer = finish(curl.arg(format!("http://{}/v1/ping", host.ip())), Duration::from_secs(30));
        assert_eq!(answer.stdout, "200", "{} serves\n{run}", host.name);
    }

    let everywhere = line(&[&reach], &["exec", "--output", "json", "--", "hostname"]);
    let said = operator.run(&everywhere);
    said.failed(4, &[&address]);
    for host in [&hosts[0], &hosts[2]] {
        assert!(said.stdout.contains(&host.name), "{said}");
    }
}
