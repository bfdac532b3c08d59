//! What a script answers.

use std::io;
use std::time::Duration;

use stdbctl_tests::operator::Operator;
use stdbctl_tests::rogue::{Rogue, Visit};

use super::meeting::{
    Behaviour, ESCAPES, LITTLE, LONGEST, MEGABYTE, MUCH, assert_plain, for_ever, plan, reach, words,
};

#[test]
fn records_that_claim_gigabytes() {
    plan(|visit| {
        let command = visit.take_script()?;
        let header = format!("\n@{} paths 99999999999\n", command.nonce());
        visit.write(&command, header.as_bytes())?;
        for_ever(|| visit.write(&command, &MUCH))
    })
    .failed(1, &["claims to hold 99999999999 bytes"]);
}

#[test]
fn records_without_end() {
    let met = plan(|visit| {
        let command = visit.take_script()?;
        let record = format!("\n@{} x 1000000\n{}", command.nonce(), "x".repeat(1_000_000));
        for_ever(|| visit.write(&command, record.as_bytes()))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), 160 * MEGABYTE);
    let met = plan(|visit| {
        let command = visit.take_script()?;
        let records = format!("\n@{} x 0\n", command.nonce()).repeat(500);
        for_ever(|| visit.write(&command, records.as_bytes()))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), 160 * MEGABYTE);
}

#[test]
fn noise_without_end() {
    let met = plan(|visit| {
        let command = visit.take_script()?;
        for_ever(|| visit.write(&command, &b"Welcome!\n".repeat(3000)))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), LITTLE);
    let met = plan(|visit| {
        let command = visit.take_script()?;
        for_ever(|| visit.complain(&command, &ESCAPES.as_bytes().repeat(300)))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), LITTLE);
}

#[test]
fn records_under_a_forged_nonce() {
    plan(|visit| {
        let command = visit.take_script()?;
        let nonce = command.nonce();
        let (short, swapped) = (&nonce[1..], nonce.chars().rev().collect::<String>());
        for nonce in [short, &swapped, "", "0", &format!("{nonce}0")] {
            visit.write(&command, format!("\n@{nonce} end 0\n").as_bytes())?;
        }
        visit.exit(&command, 0)
    })
    .failed(1, &["ended early"]);
}

#[test]
fn records_that_contradict_themselves() {
    for record in ["x -1\n", "x +4\nabcd", "x 18446744073709551616\n", "\n", "x\n"] {
        let rogue = Rogue::start(move |visit| {
            let command = visit.take_script()?;
            let text = format!("\n@NONCE {record}").replace("NONCE", &command.nonce());
            visit.write(&command, text.as_bytes())?;
            visit.exit(&command, 0)
        });
        let operator = Operator::new();
        let arguments = words(&["plan"], &reach(&operator, &rogue), &["--set", "tls.mode=off"]);
        let run = operator.run(&arguments);
        run.exited(1);
        assert_plain(&run.stderr);
        assert!(!run.stderr.contains("panicked"), "{run}");
    }
}

/// Answers every script with what a host is, and with nothing else.
pub(super) fn claim(visit: &mut Visit, id: &str, clock: &str) -> io::Result<()> {
    visit.admit()?;
    for_ever(|| answer(visit, id, clock))
}

fn answer(visit: &mut Visit, id: &str, clock: &str) -> io::Result<()> {
    let command = visit.next_script()?;
    let host = format!("id={id}\nversion=24.04\nmachine=x86_64\nclock={clock}\nmemory_kb=4018192\nssh=\n");
    let nonce = command.nonce();
    visit.write(&command, format!("\n@{nonce} host {}\n{host}\n@{nonce} end 0\n", host.len()).as_bytes())?;
    visit.exit(&command, 0)
}

#[test]
fn a_clock_of_another_age() {
    let clocks: [Behaviour; 5] = [
        |visit| claim(visit, "ubuntu", "0"),
        |visit| claim(visit, "ubuntu", "-9223372036854775808"),
        |visit| claim(visit, "ubuntu", "2147483648"),
        |visit| claim(visit, "ubuntu", "9223372036854775807"),
        |visit| claim(visit, "ubuntu", "yesterday"),
    ];
    for clock in clocks {
        let met = plan(clock);
        met.run.exited(1);
        assert!(met.run.stderr.contains("timedatectl set-ntp true"), "{}", met.run);
        assert!(met.run.took < LONGEST && met.peak < LITTLE, "{}", met.run);
    }
}
