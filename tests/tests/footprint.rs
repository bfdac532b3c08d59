//! What the tool itself costs: start, size, memory.

use std::fs;
use std::time::{Duration, Instant};

use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::{Operator, release_binary};

const MEGABYTE: u64 = 1024 * 1024;

#[test]
fn help_comes_at_once() {
    let operator = Operator::new();
    let times: Vec<Duration> = (0..9)
        .map(|_| {
            let mut command = operator.command_of(&release_binary(), &["--help"]);
            let began = Instant::now();
            let output = command.output().unwrap();
            assert!(output.status.success());
            began.elapsed()
        })
        .collect();
    // What it takes when nothing else wants the processor.
    assert!(times.iter().min() < Some(&Duration::from_millis(50)), "{times:?}");
}

#[test]
fn the_release_binary_is_small() {
    let size = fs::metadata(release_binary()).unwrap().len();
    assert!(size < 12 * MEGABYTE, "{size} bytes");
}

#[test]
fn a_deployment_needs_little_memory() {
    let host = LabHost::up("footprint");
    let operator = Operator::new();
    let arguments = line(&[&host.reach(), &host.wish_private()], &["deploy", "--yes"]);
    let (run, most) = operator.measure(&release_binary(), &arguments);
    run.exited(0);
    assert!(most > MEGABYTE && most < 40 * MEGABYTE, "{most} bytes");
}
