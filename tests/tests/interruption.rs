//! Runs that are killed, cut off, or meet each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::Operator;
use stdbctl_tests::proxy::{Direction, Proxy};

const SOON: Duration = Duration::from_secs(120);
const KILLS: usize = 20;
const SEED: u64 = 0x5eed_2026;

/// xorshift: the same moments each time, so that a failure can be repeated.
struct Moments(u64);

impl Moments {
    fn next(&mut self, longest: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        longest * u32::try_from(self.0 % 10_000).unwrap_or_default() / 10_000
    }
}

fn arguments(host: &LabHost) -> Vec<String> {
    line(&[&host.reach(), &host.wish()], &["deploy", "--yes", "--output", "json"])
}

/// What must hold at every moment that no run is going on.
fn is_between_no_two_states(host: &LabHost, when: &str) {
    assert!(host.holds("! command -v nginx >/dev/null || nginx -t"), "{when}: nginx takes its configuration");
    assert!(
        host.holds("u=/etc/systemd/system/spacetimedb.service; ! test -e $u || systemd-analyze verify $u"),
        "{when}: the unit is whole"
    );
    assert!(
        host.holds("cd /stdb/bin/1.3.0 2>/dev/null || exit 0; ./spacetimedb-cli --version"),
        "{when}: the release is whole"
    );
}

/// Takes a finished host some way back, so that a run has work to be killed at: all but packages and firewall.
const UNDO: &str = "systemctl stop spacetimedb; usermod -s /bin/bash spacetimedb; chmod 0755 /stdb/data; \
    rm -rf /stdb/bin/1.3.0 /stdb/bin/current /etc/systemd/system/spacetimedb.service \
    /etc/letsencrypt/live /etc/letsencrypt/archive /etc/letsencrypt/renewal";

#[test]
fn killed_at_twenty_moments_it_ends_as_if_nothing_had_happened() {
    let mut hosts = LabHost::up_all(&["killed", "whole"]);
    let (whole, killed) = (hosts.pop().unwrap(), hosts.pop().unwrap());
    let (operator, other) = (Operator::new(), Operator::new());
    let reference = other.start(&arguments(&whole));

    let (mut moments, mut kills) = (Moments(SEED), 0);
    while kills < KILLS {
        let mut running = operator.start(&arguments(&killed));
        let moment = moments.next(Duration::from_secs(3));
        if running.ends_within(moment) {
            running.wait().exited(0);
            killed.sh(UNDO);
            continue;
        }
        let run = running.kill();
        kills += 1;
        killed.wait_for_runs_to_end();
        is_between_no_two_states(&killed, &format!("kill {kills} after {moment:?}\n{run}"));
    }
    killed.deploy(&operator);
    reference.wait().exited(0);

    whole.state().differences(&killed.state()).assert_none("killed twenty times, and not once");
    assert_eq!(killed.status("GET", "/v1/ping"), 200);
    assert!(killed.deploy(&operator).tasks("changed").is_empty());
}

#[test]
fn of_two_runs_on_one_host_one_waits_its_turn() {
    let host = LabHost::up("two");
    let (first, second) = (Operator::new(), Operator::new());
    host.hold_deployments();
    let running = first.start(&arguments(&host));
    running.wait_for_line(r#""event":"task_started""#, SOON);

    let refused = second.run(&arguments(&host));
    host.let_deployments_end();
    refused.failed(7, &["another run"]);
    assert!(!refused.ok(), "{refused}");
    assert!(refused.tasks("changed").is_empty(), "{refused}");
    running.wait().exited(0);
    host.deploy(&second);

    a_cut_is_noticed_and_the_run_goes_on(&host, &second);
}

/// The connection is cut while the script of the changes is sent, and while it answers; it is made anew.
fn a_cut_is_noticed_and_the_run_goes_on(host: &LabHost, operator: &Operator) {
    let finished = host.state();
    for (direction, bytes) in
        [(Direction::ToClient, 6_000), (Direction::ToServer, 8_000), (Direction::ToClient, 12_000)]
    {
        host.sh(
            "systemctl stop spacetimedb; rm /etc/nginx/snippets/spacetimedb-*.conf; chmod 0700 /stdb/bin",
        );
        let proxy = Proxy::in_front_of(host.ssh_socket(), Duration::from_millis(20)).unwrap();
        proxy.cut_after(direction, bytes);
        let near = host.reach_through(&proxy, operator.home());
        let run = operator.run(&line(&[&near, &host.wish()], &["deploy", "--yes", "--output", "json"]));
        run.exited(0);
        let lost = run.events().iter().filter(|event| event["event"] == "connection_lost").count();
        assert_eq!(lost, 1, "{run}");
        assert!(host.deploy(operator).tasks("changed").is_empty(), "{run}");
        finished.differences(&host.state()).assert_none(&format!("cut {direction:?} after {bytes} bytes"));
    }
}
