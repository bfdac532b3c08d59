//! Runs whose connection is lost and made anew: they end as if nothing had happened, or say why not.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::{Operator, Run, Running};
use stdbctl_tests::proxy::{Direction, Proxy};

const SOON: Duration = Duration::from_secs(120);
const RTT: Duration = Duration::from_millis(20);

/// Takes a finished host some way back, so that a run has work to be cut at: files, a directory, a release to fetch.
const UNDO: &str = "systemctl stop spacetimedb; chmod 0700 /stdb/bin; rm -rf /stdb/bin/1.3.0 \
    /etc/nginx/snippets/spacetimedb-*.conf /etc/systemd/system/spacetimedb.service";

/// An operator on a line that can be cut.
struct Desk<'a> {
    host: &'a LabHost,
    operator: Operator,
    proxy: Proxy,
}

impl<'a> Desk<'a> {
    fn at(host: &'a LabHost, rtt: Duration) -> Self {
        let proxy = Proxy::in_front_of(host.ssh_socket(), rtt).unwrap();
        Self { host, operator: Operator::new(), proxy }
    }

    fn arguments(&self) -> Vec<String> {
        let near = self.host.reach_through(&self.proxy, self.operator.home());
        line(&[&near, &self.host.wish()], &["deploy", "--yes", "--output", "json"])
    }

    /// Starts a deployment that cannot end before its line is cut.
    fn start(&self) -> Running {
        self.host.hold_deployments();
        self.operator.start(&self.arguments())
    }

    fn cut(&self) {
        self.proxy.cut();
        self.host.let_deployments_end();
    }

    /// Deploys, and cuts the line once this task has begun.
    fn deploy_cut_at(&self, task: &str) -> Run {
        let running = self.start();
        running.wait_for_line(
            &format!(r#""event":"task_started","host":"{}","task":"{task}""#, self.name()),
            SOON,
        );
        self.cut();
        running.wait()
    }

    fn name(&self) -> String {
        let near = self.host.reach_through(&self.proxy, self.operator.home());
        let at = near.iter().position(|argument| argument == "--host").unwrap();
        near.get(at + 1).unwrap().clone()
    }
}

fn count(run: &Run, event: &str) -> usize {
    run.events().iter().filter(|found| found["event"] == event).count()
}

/// The run lost its connection once, has done all of its plan, and tells so in its events and its numbers.
fn went_on(run: &Run) {
    run.exited(0);
    assert_eq!((count(run, "connection_lost"), count(run, "reconnected")), (1, 1), "{run}");
    let event = run.events().into_iter().find(|event| event["event"] == "planned").unwrap();
    let plan = &event["plans"][0];
    let tasks = plan["changes"].as_array().unwrap().iter();
    let mut planned: Vec<_> = tasks.map(|change| change["task"].as_str().unwrap().to_owned()).collect();
    let mut changed = run.tasks("changed");
    planned.sort();
    changed.sort();
    assert_eq!(changed, planned, "{run}");
    let counts = run.finished()["hosts"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(counts["changed"], planned.len(), "{run}");
    assert_eq!(counts["failed"], 0, "{run}");
    assert_eq!(counts["unchanged"], plan["unchanged"], "{run}");
}

#[test]
fn a_run_goes_on_over_a_new_connection() {
    let mut hosts = LabHost::up_all(&["reconnect-cut", "reconnect-whole"]);
    let (whole, host) = (hosts.pop().unwrap(), hosts.pop().unwrap());
    let other = Operator::new();
    let reference =
        other.start(&line(&[&whole.reach(), &whole.wish()], &["deploy", "--yes", "--output", "json"]));

    // On a fresh host, while apt runs: what it installs and starts was but a prediction in the plan.
    went_on(&Desk::at(&host, RTT).deploy_cut_at("packages"));
    reference.wait().exited(0);
    let same = |when: &str| {
        whole.state().differences(&host.state()).assert_none(when);
        assert!(host.deploy(&other).tasks("changed").is_empty(), "{when}");
    };
    same("cut while apt runs, and not at all");

    cut_while_it_looks(&host);
    same("cut while the host is observed");
    for task in ["bin", "release", "service", "answers"] {
        host.sh(UNDO);
        went_on(&Desk::at(&host, RTT).deploy_cut_at(task));
        same(&format!("cut at {task}"));
    }
    cut_at_the_firewall(&host);
    same("cut while the firewall waits to be confirmed");
    cut_while_sshd_restarts(&host);
    same("cut while sshd restarts");
    cut_twice(&host);
    host.deploy(&other);
    same("cut twice");
    key_changed_in_between(&host);
    host.deploy(&other);
    same("with another host key in between");
    waiting_can_be_interrupted(&host);
}

fn cut_while_it_looks(host: &LabHost) {
    let desk = Desk::at(host, RTT);
    desk.operator.succeed(&desk.arguments());
    let answered = desk.proxy.counts().bytes_to_client;
    let desk = Desk::at(host, RTT);
    desk.proxy.cut_after(Direction::ToClient, answered * 9 / 10);
    let run = desk.operator.run(&desk.arguments());
    went_on(&run);
    assert_eq!(desk.proxy.counts().connections, 2, "{run}");
}

/// Cut as the connection comes that is to confirm it: a firewall that is on and not confirmed goes off with the lost run,
/// and on again with a confirmation of its own.
fn cut_at_the_firewall(host: &LabHost) {
    host.sh("ufw disable");
    let cursor = host.journal_cursor();
    let desk = Desk::at(host, RTT);
    // The one that is to confirm it does not get as far as the host.
    desk.proxy.admit(1);
    let running = desk.operator.start(&desk.arguments());
    wait_for("a connection that is to confirm the firewall", SOON, || {
        (desk.proxy.counts().connections >= 2).then_some(())
    });
    desk.proxy.cut();
    desk.proxy.admit(u64::MAX);
    let run = running.wait();
    went_on(&run);
    assert!(host.holds("ufw status | grep -q '^Status: active'"));
    assert!(host.holds("! systemctl list-units --all 'stdbctl-revert-*' | grep -q stdbctl-revert"));
    let started = host.journal_since(&cursor);
    let started = started.iter().filter(|entry| entry.contains("Started stdbctl-revert-")).count();
    assert!(started >= 1, "there is a way back each time");
    let connections = usize::try_from(desk.proxy.counts().connections).unwrap();
    assert!(connections >= 2 + started, "each time a connection of its own confirms it\n{run}");
}

/// sshd is away until the first try has found nobody there.
fn cut_while_sshd_restarts(host: &LabHost) {
    host.sh(UNDO);
    let desk = Desk::at(host, RTT);
    desk.proxy.admit(2);
    let running = desk.start();
    running.wait_for_line(r#""event":"task_started""#, SOON);
    host.sh("systemctl stop ssh.socket ssh 2>/dev/null; ! systemctl is-active -q ssh");
    desk.cut();
    // The second try waits until it is back.
    wait_for("a try that found nobody", SOON, || (desk.proxy.counts().connections >= 3).then_some(()));
    host.sh("systemctl start ssh");
    desk.proxy.admit(u64::MAX);
    went_on(&running.wait());
    let connections = desk.proxy.counts().connections;
    assert!((3..=4).contains(&connections), "it does not hammer: {connections}");
}

fn cut_twice(host: &LabHost) {
    host.sh(UNDO);
    let desk = Desk::at(host, RTT);
    let running = desk.start();
    running.wait_for_line(r#""event":"task_started""#, SOON);
    desk.proxy.cut();
    running.wait_for_line(r#""event":"reconnected""#, SOON);
    desk.cut();
    let run = running.wait();
    run.failed(4, &["connection was lost"]);
    assert!(!run.ok() && run.stderr.contains("run again"), "{run}");
    host.wait_for_runs_to_end();
}

fn key_changed_in_between(host: &LabHost) {
    host.sh(UNDO);
    let desk = Desk::at(host, RTT);
    let arguments = desk.arguments();
    let running = desk.start();
    running.wait_for_line(r#""event":"task_started""#, SOON);
    let at = arguments.iter().position(|argument| argument == "--known-hosts").unwrap();
    let file = arguments.get(at + 1).unwrap();
    let other = desk.operator.home().join("other");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status();
    assert!(made.unwrap().success());
    let other = std::fs::read_to_string(other.with_extension("pub")).unwrap();
    let address = desk.proxy.address();
    std::fs::write(file, format!("[{}]:{} {other}", address.ip(), address.port())).unwrap();
    desk.cut();
    let run = running.wait();
    run.failed(5, &["connection was lost", "host key"]);
    assert_eq!(count(&run, "reconnected"), 0, "{run}");
    host.wait_for_runs_to_end();
}

/// Somebody else's lost run is in a step that takes long.
fn waiting_can_be_interrupted(host: &LabHost) {
    host.sh(UNDO);
    host.sh(
        "systemd-run -q --unit=eve flock /run/stdbctl/lock sh -c \
         'echo \"eve@home, deploy since noon; its connection is gone\" >/run/stdbctl/holder; exec sleep 300'",
    );
    wait_for("eve holds the host", SOON, || host.holds("grep -q eve /run/stdbctl/holder").then_some(()));
    let desk = Desk::at(host, RTT);
    let running = desk.operator.start(&desk.arguments());
    let waiting = running.wait_for_line(r#""event":"waiting""#, SOON);
    assert!(waiting.contains("eve@home"), "{waiting}");
    let sent = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    assert!(sent.unwrap().success());
    running.wait().exited(130);
    host.sh("systemctl stop eve");
}
