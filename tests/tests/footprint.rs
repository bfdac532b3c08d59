//! What the tool itself costs: start, size, memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::{Operator, binary};

const MEGABYTE: u64 = 1024 * 1024;

/// The binary that people get: built by `tests/run`, absent when tests are run by hand without it.
fn release() -> PathBuf {
    let path = binary().ancestors().nth(2).unwrap().join("release/stdbctl");
    assert!(
        path.is_file(),
        "{} is missing: `cargo build --release -p stdbctl`, or tests/run",
        path.display()
    );
    path
}

#[test]
fn help_comes_at_once() {
    let operator = Operator::new();
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let mut command = operator.command_of(&release(), &["--help"]);
            let began = Instant::now();
            let output = command.output().unwrap();
            assert!(output.status.success());
            began.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[4] < Duration::from_millis(50), "{times:?}");
}

#[test]
fn the_release_binary_is_small() {
    let size = fs::metadata(release()).unwrap().len();
    assert!(size < 12 * MEGABYTE, "{size} bytes");
}

/// The most memory a process has had so far; None once it is gone.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[test]
fn a_deployment_needs_little_memory() {
    let host = LabHost::up("footprint");
    let operator = Operator::new();
    let arguments = line(&[&host.reach(), &host.wish_private()], &["deploy", "--yes"]);
    let mut child = operator.command_of(&release(), &arguments).spawn().unwrap();
    let mut most = 0;
    let status = wait_for("the deployment ends", Duration::from_secs(420), || {
        most = most.max(peak(child.id()).unwrap_or(0));
        child.try_wait().unwrap()
    });
    assert!(status.success());
    assert!(most > MEGABYTE && most < 40 * MEGABYTE, "{most} bytes");
}
