//! What goes wrong halfway: the host's own words in the last line, and the next run goes on from there.

use std::time::Duration;

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::{Operator, Run};

const APT_CONF: &str = "/etc/apt/apt.conf.d/95lab";

#[test]
fn a_run_that_failed_is_continued_by_the_next() {
    let host = LabHost::up("failures");
    let operator = Operator::new();
    let deploy = |wish: &[String], more: &[&str]| {
        operator
            .run(&line(&[&host.reach(), wish], &[&["deploy", "--yes", "--output", "json"], more].concat()))
    };

    apt_mirror_down(&host, &deploy);
    dpkg_lock_held(&host, &operator);
    wrong_archives(&host, &operator, &deploy);
    ca_refuses(&host, &deploy);

    let run = host.deploy(&operator);
    assert!(run.ok(), "{run}");
    assert_eq!(host.status("GET", "/v1/ping"), 200);
    assert!(host.deploy(&operator).tasks("changed").is_empty());
    disk_full(&host, &deploy);
}

type Deploy<'a> = dyn Fn(&[String], &[&str]) -> Run + 'a;

fn apt_mirror_down(host: &LabHost, deploy: &Deploy<'_>) {
    host.sh(&format!("cp {APT_CONF} /root/95lab; sed -i 's/apt.lab.test:3142/127.0.0.1:9/' {APT_CONF}"));
    let run = deploy(&host.wish(), &[]);
    run.failed(1, &["failed to download"]);
    assert!(run.stdout.contains("Could not connect to 127.0.0.1:9"), "all that apt says is told\n{run}");
    assert!(!run.ok(), "{run}");
    assert!(!run.tasks("failed").is_empty(), "{run}");
    assert!(!host.holds("command -v nginx"), "what needs the packages was not done");
    host.sh(&format!("mv /root/95lab {APT_CONF}"));
}

/// Another program holds dpkg's lock, as unattended-upgrades does: the run waits for it.
fn dpkg_lock_held(host: &LabHost, operator: &Operator) {
    host.sh("echo 'Debug::Locking \"true\";' >/etc/apt/apt.conf.d/96locking");
    host.sh(
        "systemd-run --quiet --collect --unit=dpkg-holder perl -e 'open F, \">>/var/lib/dpkg/lock-frontend\"; \
         $$lock = pack(\"s s x4 q q i x4\", 1, 0, 0, 0, 0); fcntl(F, 6, $$lock) or die; \
         open G, \">/run/dpkg-held\"; sleep 3600'",
    );
    wait_for("the lock is held", Duration::from_secs(60), || {
        host.holds("test -e /run/dpkg-held").then_some(())
    });
    // The archive is wrong on purpose: only the packages are of interest, and what depends on it stays undone.
    let zeros = format!("spacetimedb.sha256={}", "0".repeat(64));
    let arguments =
        line(&[&host.reach(), &host.wish()], &["deploy", "--yes", "--output", "json", "--set", &zeros]);
    let running = operator.start(&arguments);
    running.wait_for_line(r#""event":"task_started""#, Duration::from_secs(60));
    wait_for("apt waits for the lock", Duration::from_secs(120), || {
        host.holds("grep -q 'Lock: .*lock-frontend wait' /var/lib/stdbctl/run/*/apt.log").then_some(())
    });
    host.sh("systemctl stop dpkg-holder; rm /etc/apt/apt.conf.d/96locking");
    let run = running.wait();
    run.failed(1, &["sha256"]);
    assert!(host.holds("command -v nginx"), "the packages were installed once the lock was free\n{run}");
}

fn wrong_archives(host: &LabHost, operator: &Operator, deploy: &Deploy<'_>) {
    let zeros = "0".repeat(64);
    let run = deploy(&host.wish(), &["--set", &format!("spacetimedb.sha256={zeros}")]);
    run.failed(1, &["sha256", &zeros]);
    let garbage = operator.write("garbage.tar.gz", "this is not an archive\n");
    let archive = format!("spacetimedb.archive={}", garbage.display());
    let run = deploy(
        &host.wish(),
        &["--version", "9.9.8", "--set", "spacetimedb.source=archive", "--set", &archive],
    );
    run.failed(1, &["9.9.8", "not a release archive"]);
    deploy(&host.wish(), &["--version", "9.9.9"]).failed(1, &["9.9.9", "404"]);
    assert_eq!(host.sh("ls -A /stdb/bin"), "1.3.0\ncurrent\n", "nothing half unpacked is left");
}

fn ca_refuses(host: &LabHost, deploy: &Deploy<'_>) {
    let wish: Vec<_> =
        host.wish().iter().map(|argument| argument.replace(&host.domain, &host.refused_domain)).collect();
    let run = deploy(&wish, &[]);
    run.failed(1, &["certificate"]);
    assert!(run.stderr.contains(&host.refused_domain) || run.stdout.contains(&host.refused_domain), "{run}");
    assert!(host.holds("nginx -t"), "nginx still has a configuration that it takes");
}

/// A disk that fills up while a file is written: no half file, and the old one still there.
fn disk_full(host: &LabHost, deploy: &Deploy<'_>) {
    let before = host.state();
    host.sh("mount -t tmpfs -o size=64k tmpfs /var/lib/stdbctl && head -c 65536 /dev/zero >/var/lib/stdbctl/full; true");
    host.sh("sed -i s/SIGINT/SIGTERM/ /etc/systemd/system/spacetimedb.service");
    let run = deploy(&host.wish(), &[]);
    assert!(run.code == Some(1), "{run}");
    assert!(host.holds("grep -q SIGTERM /etc/systemd/system/spacetimedb.service"), "untouched");
    wait_for("the run lets go of the disk", Duration::from_secs(60), || {
        host.holds("umount /var/lib/stdbctl").then_some(())
    });
    deploy(&host.wish(), &[]).exited(0);
    before.differences(&host.state()).assert_none("mended once there is room again");
}
