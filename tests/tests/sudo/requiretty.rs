//! A sudo that works on a terminal only, with and without a password.

use std::time::Duration;

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::distance::Distance;
use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::{Operator, Run};
use stdbctl_tests::proxy::{Direction, Proxy};

use super::{WRONG, password_file, who_am_i};

const SOON: Duration = Duration::from_secs(60);
const REQUIRETTY: &str = "echo 'Defaults requiretty' >/etc/sudoers.d/tty";
/// Takes a finished host some way back, so that there is work to be cut off at.
const UNDO: &str =
    "systemctl stop spacetimedb; chmod 0700 /stdb/bin; rm -rf /stdb/bin/1.3.0 /stdb/bin/current";

/// How a command of sh ends as root, and what it says.
fn exec(host: &LabHost, operator: &Operator, more: &[String], command: &str) -> Run {
    operator.run(&line(&[&host.reach(), more], &["exec", "--sudo", "--output", "json", "--", command]))
}

/// The status a command ended with, or the signal.
fn ending(run: &Run) -> (Option<u64>, Option<String>) {
    let is_end = |event: &serde_json::Value| event.get("event").is_some_and(|kind| kind == "exec_finished");
    let ended = run.events().into_iter().find(is_end).unwrap();
    let signal = ended.get("signal").and_then(serde_json::Value::as_str).map(str::to_owned);
    (ended.get("status").and_then(serde_json::Value::as_u64), signal)
}

/// Waits until nothing of a run goes on any more, the terminals that were made for it included.
fn quiet(host: &LabHost) {
    host.wait_for_runs_to_end();
    wait_for("the terminal goes away", SOON, || {
        host.holds("! grep -qzs '/dev/ptm[x]' /proc/[0-9]*/cmdline").then_some(())
    });
}

/// Status, signal, both outputs, and no terminal for what runs.
fn a_command_runs_as_without_a_terminal(host: &LabHost, operator: &Operator, more: &[String]) {
    for (command, status) in [("exit 3", 3), ("exit 143", 143), ("(: </dev/tty) 2>/dev/null || exit 7", 7)] {
        let run = exec(host, operator, more, command);
        assert_eq!(ending(&run), (Some(status), None), "{command}\n{run}");
    }
    let run =
        operator.run(&line(&[&host.reach(), more], &["exec", "--sudo", "--", "id -un; echo complaint >&2"]));
    run.exited(0);
    assert_eq!(run.stdout.lines().last(), Some("root"), "{run}");
    assert!(!run.stdout.contains("complaint") && run.stderr.contains("complaint"), "{run}");
}

#[test]
fn a_sudo_that_wants_a_terminal_gets_one() {
    let host = LabHost::up("sudo-tty");
    let operator = Operator::new();
    let deploy = |reach: &[String]| {
        operator.succeed(&line(&[reach, &host.wish_private()], &["deploy", "--yes", "--output", "json"]))
    };
    let afar = Distance::to(&host, &operator);
    host.sh(REQUIRETTY);
    assert!(host.holds("! su ubuntu -c 'sudo -n true' </dev/null"), "sudo is content without a terminal");
    let first = deploy(&host.reach());
    assert!(first.tasks("changed").len() > 10, "{first}");
    let (with, trips_with) = afar.round_trips(deploy);
    assert!(with.tasks("changed").is_empty(), "{with}");

    a_command_runs_as_without_a_terminal(&host, &operator, &[]);
    let run = exec(&host, &operator, &[], "kill -TERM $$");
    assert_eq!(ending(&run), (None, Some("TERM".to_owned())), "{run}");
    for pty in ["use_pty", "!use_pty"] {
        host.sh(&format!("echo 'Defaults {pty}' >/etc/sudoers.d/z-pty"));
        who_am_i(&host, &operator, &[]).exited(0);
        what_has_begun_outlives_the_connection(&host, &operator);
    }
    a_run_that_is_cut_off_ends_on_the_host(&host, &operator);

    host.sh("rm /etc/sudoers.d/tty");
    let (without, trips) = afar.round_trips(deploy);
    assert!(trips <= 8, "{trips} round trips\n{without}");
    // The command is started once more, on a channel of its own.
    assert!(trips_with <= trips + 2, "{trips_with} and {trips} round trips\n{with}\n{without}");
}

/// A command goes on when nobody listens any more, as it does without a terminal, and so does what it left behind.
fn what_has_begun_outlives_the_connection(host: &LabHost, operator: &Operator) {
    let command = "rm -f /root/on /root/ended /root/left; on() { until test -e /root/on; do sleep 0.1; done; }; \
                   (on; touch /root/left) >/dev/null 2>&1 & touch /root/began; on; touch /root/ended";
    let running = operator.start(&line(&[&host.reach()], &["exec", "--sudo", "--", command]));
    wait_for("it begins", SOON, || host.holds("rm /root/began").then_some(()));
    running.kill();
    wait_for("its connection ends", SOON, || host.holds("! pgrep -u ubuntu sshd").then_some(()));
    host.sh("touch /root/on");
    wait_for("both end", SOON, || host.holds("test -e /root/ended && test -e /root/left").then_some(()));
    quiet(host);
}

/// Cut at several places: what has begun runs to its end, nothing new begins, and the next run goes on.
fn a_run_that_is_cut_off_ends_on_the_host(host: &LabHost, operator: &Operator) {
    let finished = host.state();
    for (direction, bytes) in
        [(Direction::ToClient, 6_000), (Direction::ToServer, 8_000), (Direction::ToClient, 12_000)]
    {
        host.sh(UNDO);
        let proxy = Proxy::in_front_of(host.ssh_socket(), Duration::from_millis(20)).unwrap();
        proxy.cut_after(direction, bytes);
        let near = host.reach_through(&proxy, operator.home());
        let cut = line(&[&near, &host.wish_private()], &["deploy", "--yes", "--output", "json"]);
        let run = operator.run(&cut);
        if run.code == Some(0) {
            let is_loss =
                |event: &serde_json::Value| event.get("event").is_some_and(|kind| kind == "connection_lost");
            assert!(run.events().iter().any(is_loss), "not cut {direction:?} after {bytes} bytes\n{run}");
        } else {
            run.failed(4, &["connection"]);
        }
        quiet(host);
        operator
            .succeed(&line(&[&host.reach(), &host.wish_private()], &["deploy", "--yes", "--output", "json"]));
        finished.differences(&host.state()).assert_none(&format!("cut {direction:?} after {bytes} bytes"));
    }
}

#[test]
fn a_sudo_that_wants_a_terminal_and_a_password_gets_both() {
    let host = LabHost::up_as("sudo-tty-asks", &["--image", "sudo-password"]);
    let operator = Operator::new();
    let password = host.sudo_password.clone().unwrap();
    let file = password_file(&operator, "password", &password);
    let with = flags(&[("--sudo-password-file", file.to_str().unwrap())]);
    host.sh(REQUIRETTY);
    a_command_runs_as_without_a_terminal(&host, &operator, &with);

    let deploy = |reach: &[String]| {
        let words = ["deploy", "--yes", "--output", "json"];
        operator.succeed(&line(&[reach, &host.wish_private(), &with], &words))
    };
    assert!(deploy(&host.reach()).tasks("changed").len() > 10);
    let (second, round_trips) = Distance::to(&host, &operator).round_trips(deploy);
    assert!(second.tasks("changed").is_empty(), "{second}");
    // One more than with a password alone.
    assert!(round_trips <= 13, "{round_trips} round trips\n{second}");

    let wrong = password_file(&operator, "wrong", "not the password");
    let cursor = host.journal_cursor();
    who_am_i(&host, &operator, &["--sudo-password-file", wrong.to_str().unwrap()])
        .failed(4, &["sudo did not accept the password"]);
    let attempts: Vec<_> =
        host.journal_since(&cursor).into_iter().filter(|entry| entry.contains(WRONG)).collect();
    assert!(matches!(attempts.as_slice(), [one] if one.contains(": 1 incorrect")), "{attempts:?}");
    quiet(&host);
}
