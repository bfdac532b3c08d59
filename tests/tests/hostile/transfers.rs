//! Hosts that answer a push or a pull.

use std::io;
use std::time::Duration;

use stdbctl_tests::rogue::{Command, Visit};

use super::meeting::{Behaviour, ESCAPES, MEGABYTE, for_ever, meet};

/// Lets the script of a transfer begin, and goes on with this, for ever or once.
fn begin_transfer(visit: &mut Visit) -> io::Result<Command> {
    let command = visit.take_script()?;
    let nonce = command.nonce();
    visit.complain(&command, format!("\n{nonce}\n").as_bytes())?;
    visit.write(&command, format!("\n{nonce} gzip\n").as_bytes())?;
    Ok(command)
}

#[test]
fn a_pull_of_more_than_there_can_be() {
    let pull = |behaviour: Behaviour| meet(behaviour, &["pull"], &["/a", "back"]);
    let met = pull(|visit| {
        let command = begin_transfer(visit)?;
        visit.write(&command, b"file 644 18446744073709551615 x\n")?;
        visit.exit(&command, 0)
    });
    met.failed(1, &["answer could not be read"]);
    let met = pull(|visit| {
        let command = begin_transfer(visit)?;
        visit.write(&command, b"file 644 9223372036854775807 x\n")?;
        visit.exit(&command, 0)
    });
    met.failed(1, &["bytes are free there"]);
    let met = pull(|visit| {
        let command = begin_transfer(visit)?;
        visit.write(&command, b"tree 755\n")?;
        for_ever(|| visit.write(&command, &b"f 644 1 a\0\0".repeat(2000)))
    });
    met.failed_within(1, &["lists more than"], Duration::from_secs(60), 192 * MEGABYTE);
}

#[test]
fn transfers_answered_without_end() {
    let binary = stdbctl_tests::operator::binary();
    let big = binary.to_str().unwrap();
    let answers: Behaviour = |visit| {
        let command = begin_transfer(visit)?;
        for_ever(|| visit.write(&command, &b"new\n".repeat(7000)))
    };
    meet(answers, &["push"], &["key", "/a"]).failed(1, &["does not stop talking"]);
    meet(answers, &["push"], &[".", "/a"]).failed(1, &["says too much"]);
    meet(answers, &["push"], &[big, "/a"]).failed(1, &["says too much"]);
    let noise: [Behaviour; 2] = [
        |visit| {
            let command = visit.take_script()?;
            for_ever(|| visit.write(&command, &b"Welcome!\n".repeat(3000)))
        },
        |visit| {
            let command = visit.take_script()?;
            for_ever(|| visit.complain(&command, &ESCAPES.as_bytes().repeat(300)))
        },
    ];
    for noise in noise {
        meet(noise, &["pull"], &["/a", "back"]).failed(1, &["answer could not be read"]);
    }
}
