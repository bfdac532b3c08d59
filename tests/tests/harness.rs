//! The harness itself, on a real host: what the other tests believe must be true.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::lab::LabHost;
use stdbctl_tests::proxy::Proxy;

#[test]
fn the_harness_sees_what_happens_on_a_host() {
    let host = LabHost::up("harness");

    let (before, state) = (host.snapshot(), host.state());
    before.differences(&host.snapshot()).assert_none("nothing happened");
    host.sh("touch /etc/hostname");
    let touched = before.differences(&host.snapshot());
    assert!(touched.lines().iter().any(|line| line.contains("path /etc/hostname")), "{touched}");
    state.differences(&host.state()).assert_none("a time is not part of the state");
    host.sh("systemctl restart ssh; sleep 60 & chmod 0700 /srv");
    let restarted = before.differences(&host.snapshot()).to_string();
    for what in ["unit ssh.service", "path /srv"] {
        assert!(restarted.contains(what), "{what} is not seen\n{restarted}");
    }
    assert!(state.differences(&host.state()).to_string().contains("path /srv"));

    let cursor = host.journal_cursor();
    // A journal that is behind is waited for: it goes on once somebody has looked at it in vain.
    let busy = "(until pgrep -x journalctl; do :; done; while pgrep -x journalctl; do :; done; \
                systemctl kill -s CONT systemd-journald) >/dev/null 2>&1 &";
    host.sh(&format!("systemctl kill -s STOP systemd-journald; logger -t witness 'I was here'; {busy}"));
    assert!(host.journal_since(&cursor).iter().any(|line| line == "witness: I was here"));

    host.reboot();
    assert!(host.holds("test -d /run/sshd"));
    openssh_needs_the_round_trips_it_is_known_for(&host);
}

/// The proxy's count against a client whose cost is known: TCP 1, version and kex 3, auth 3, channel and command 2.
fn openssh_needs_the_round_trips_it_is_known_for(host: &LabHost) {
    let rtt = Duration::from_millis(100);
    let proxy = Proxy::in_front_of(host.ssh_socket(), rtt).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let known_hosts = host.reach_through(&proxy, folder.path()).pop().unwrap();
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"]).arg(&host.identity);
    ssh.args(["-o", &format!("UserKnownHostsFile={known_hosts}"), "-p", &proxy.address().port().to_string()]);
    ssh.args([&format!("ubuntu@{}", proxy.address().ip()), "true"]);
    let finished = finish(&mut ssh, Duration::from_secs(30));
    assert!(finished.status.success(), "{}", finished.stderr);
    let counts = proxy.counts();
    assert_eq!(counts.connections, 1);
    assert!((8..=10).contains(&counts.round_trips), "{counts:?} in {:?}", finished.took);
    let waited = rtt * u32::try_from(counts.round_trips).unwrap();
    assert!(finished.took >= waited, "{counts:?} cannot be done in {:?}", finished.took);
}
