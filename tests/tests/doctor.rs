//! `stdbctl doctor ssh` on real hosts: healthy ones, and each with something else in the way.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;
use stdbctl_tests::deadline::finish;
use stdbctl_tests::distance::Distance;
use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::{Operator, Run};

/// Every step of a way without a host in between.
const STEPS: [&str; 10] =
    ["keys", "address", "tcp", "banner", "key exchange", "host key", "login", "channel", "shell", "root"];

fn doctor(operator: &Operator, reach: &[String], more: &[&str]) -> Run {
    operator.run(&line(&[&["ssh".to_owned()], reach], &[&["doctor"], more].concat()))
}

/// The document about one host, checked for what holds of all: one failure at most, and nothing reached behind it.
fn document(run: &Run) -> Value {
    let document = run.document();
    let host = document["hosts"][0].clone();
    let steps = host["legs"][0]["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, STEPS, "{run}");
    let failed = steps.iter().position(|step| step["result"] == "failed");
    assert_eq!(failed.is_none(), document["ok"] == true, "{run}");
    let reached = failed.unwrap_or(steps.len());
    assert!(steps.iter().take(reached).all(|step| step["result"] == "ok"), "{run}");
    assert!(steps.iter().skip(reached + 1).all(|step| step["result"] == "not_reached"), "{run}");
    assert_eq!(host["failed"]["step"], failed.map_or(Value::Null, |index| STEPS[index].into()), "{run}");
    host
}

/// A run that fails at this step, for programs and for people.
fn fails(operator: &Operator, reach: &[String], code: i32, step: &str) -> Value {
    let people = doctor(operator, reach, &[]);
    people.exited(code);
    assert!(people.stdout.contains(&format!("fails at: {step}")), "{people}");
    assert!(people.stdout.contains(&format!("  failed  {step}")), "{people}");
    assert!(people.stdout.contains("  try  "), "{people}");
    assert!(!people.stdout.contains('\x1b'), "no colours in a file\n{people}");
    let programs = doctor(operator, reach, &["--output", "json"]);
    programs.exited(code);
    let host = document(&programs);
    assert_eq!(host["failed"]["step"], step, "{programs}");
    assert!(!host["failed"]["hints"].as_array().unwrap().is_empty(), "{programs}");
    host
}

fn generate_key(operator: &Operator, name: &str) -> String {
    let file = operator.home().join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&file);
    assert!(finish(&mut keygen, std::time::Duration::from_secs(30)).status.success());
    std::fs::read_to_string(file.with_extension("pub")).unwrap()
}

#[test]
fn a_healthy_host_and_what_can_be_in_the_way() {
    let host = LabHost::up("doctor");
    let operator = Operator::new();
    let before = host.state();
    let known = std::fs::read_to_string(&host.known_hosts).unwrap();

    let run = doctor(&operator, &host.reach(), &["--output", "json"]);
    run.exited(0);
    let walk = document(&run);
    let leg = &walk["legs"][0];
    assert!(walk["round_trips"].is_u64(), "{run}");
    assert!(leg["server"].as_str().unwrap().starts_with("SSH-2.0-OpenSSH_"), "{run}");
    assert!(leg["algorithms"]["strict"] == true && leg["algorithms"]["post_quantum"].is_boolean(), "{run}");
    let (trusted, number) = (&leg["host_key"]["trusted"], leg["host_key"]["line"].as_u64().unwrap());
    assert_eq!(trusted, "recorded", "{run}");
    let on_record = known.lines().nth(usize::try_from(number).unwrap() - 1).unwrap();
    assert!(on_record.contains(leg["host_key"]["type"].as_str().unwrap()), "{on_record}\n{run}");
    assert_eq!(leg["answers"][0]["answer"], "taken", "{run}");
    let (people, round_trips) =
        Distance::to(&host, &operator).round_trips(|reach| doctor(&operator, reach, &[]));
    assert!(round_trips <= 10, "a login of 6, and two commands: {round_trips}\n{people}");
    people.exited(0);
    assert!(people.stdout.contains("every step works") && people.stderr.is_empty(), "{people}");
    assert!(people.stdout.contains("deploy becomes root with sudo, without a password"), "{people}");

    let with = |name: &str, value: &str| {
        let mut reach = host.reach();
        let at = reach.iter().position(|word| word == name).unwrap();
        reach[at + 1] = value.to_owned();
        reach
    };
    let stranger = generate_key(&operator, "stranger");
    let answers = fails(&operator, &with("--identity", "stranger"), 4, "login")["legs"][0]["answers"].clone();
    assert_eq!(answers[0]["answer"], "refused", "{answers}");
    fails(&operator, &with("--identity", "missing"), 4, "keys");
    fails(&operator, &with("--host", &format!("{}:1", host.ssh)), 4, "tcp");
    fails(&operator, &with("--host", "ubuntu@no-such-host.invalid"), 4, "address");

    let line = format!("{} {stranger}", host.ip());
    let changed = operator.write("changed", &line);
    fails(&operator, &with("--known-hosts", "changed"), 5, "host key");
    assert_eq!(std::fs::read_to_string(changed).unwrap(), line, "nothing is recorded");
    let unknown = operator.write("unknown", "");
    fails(&operator, &with("--known-hosts", "unknown"), 5, "host key");
    assert_eq!(std::fs::read_to_string(unknown).unwrap(), "", "nothing is recorded");

    let first = known.lines().next().unwrap().to_owned() + "\n";
    let incomplete = operator.write("incomplete", &first);
    doctor(&operator, &with("--known-hosts", "incomplete"), &[]).exited(0);
    assert_eq!(std::fs::read_to_string(incomplete).unwrap(), first, "the host's other keys are not added");

    let two = [host.reach(), flags(&[("--host", "ubuntu@no-such-host.invalid")])].concat();
    let run = doctor(&operator, &two, &[]);
    run.failed(4, &["1 of 2 hosts failed", "no-such-host.invalid"]);
    assert!(run.stdout.contains("every step works") && run.stdout.contains("fails at: address"), "{run}");

    host.sh("usermod --shell /usr/sbin/nologin ubuntu");
    let walk = fails(&operator, &host.reach(), 4, "shell");
    assert!(walk["failed"]["cause"].as_str().unwrap().contains("not available"), "{walk}");
    host.sh("usermod --shell /bin/bash ubuntu");
    before.differences(&host.state()).assert_none("it only looks");
}

#[test]
fn sudo_is_given_no_password_but_the_one_of_the_file() {
    let host = LabHost::up_as("doctor-sudo", &["--image", "sudo-password"]);
    let operator = Operator::new();
    let failures = |cursor: &str| {
        let entries = host.journal_since(cursor);
        entries.iter().filter(|entry| entry.contains("incorrect password attempt")).count()
    };
    let cursor = host.journal_cursor();
    let walk = fails(&operator, &host.reach(), 4, "root");
    assert!(walk["failed"]["hints"][0].as_str().unwrap().contains("--sudo-password-file"), "{walk}");
    assert_eq!(failures(&cursor), 0, "none is tried");

    let file = |name: &str, password: &str| {
        let path = operator.write(name, &format!("{password}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        [host.reach(), flags(&[("--sudo-password-file", name)])].concat()
    };
    let password = host.sudo_password.clone().unwrap();
    let run = doctor(&operator, &file("right", &password), &["--output", "json"]);
    run.exited(0);
    document(&run);
    assert!(run.stdout.contains("with the password given") && !run.stdout.contains(&password), "{run}");

    let cursor = host.journal_cursor();
    let run = doctor(&operator, &file("wrong", "not the password"), &[]);
    run.failed(4, &["sudo did not accept the password"]);
    assert_eq!(failures(&cursor), 1, "it is tried once");
}
