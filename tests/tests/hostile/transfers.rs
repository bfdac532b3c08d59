//! Hosts that answer a push or a pull.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use stdbctl_tests::deadline::{finish, wait_for};
use stdbctl_tests::operator::Operator;
use stdbctl_tests::rogue::{Command, Rogue, Visit};

use super::meeting::{Behaviour, ESCAPES, MEGABYTE, assert_plain, for_ever, meet, reach, words};

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

/// Gives a part of a big file, and then nothing more, with the connection as good as ever.
fn fall_silent(visit: &mut Visit) -> io::Result<()> {
    let command = begin_transfer(visit)?;
    visit.write(&command, b"file 644 4000000 x\n")?;
    visit.exit(&command, 0)?;
    let command = visit.next_script()?;
    visit.write(&command, format!("\n{} gzip\nplain\n", command.nonce()).as_bytes())?;
    visit.write(&command, &vec![7; 1 << 20])
}

/// How much of a file of which only a part has come is on the disk.
fn arrived(operator: &Operator) -> Option<u64> {
    let mut paths = fs::read_dir(operator.home()).unwrap().map(|entry| entry.unwrap().path());
    let part = paths.find(|path| path.extension().is_some_and(|extension| extension == "part"));
    part.map(|path| fs::metadata(path).unwrap().blocks() * 512)
}

#[test]
fn a_transfer_that_stands_still_ends_with_control_c() {
    let rogue = Rogue::start(fall_silent);
    let operator = Operator::new();
    let arguments = words(&["pull"], &reach(&operator, &rogue), &["/a", "back"]);
    let mut command = operator.command(&arguments);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Duration::from_secs(60);
    wait_for("a part of it has come", patience, || arrived(&operator).filter(|&bytes| bytes >= MEGABYTE));
    let pressed = Instant::now();
    let mut interrupt = Program::new("kill");
    assert!(finish(interrupt.args(["-INT", &child.id().to_string()]), patience).status.success());
    let status = wait_for("it ends", patience, || child.try_wait().unwrap());
    let took = pressed.elapsed();
    let said = io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(took < Duration::from_secs(5), "{took:?}\n{said}");
    assert!(said.contains("what has arrived is not sent again"), "{said}");
    assert_plain(&said);
    assert!(arrived(&operator) >= Some(MEGABYTE) && !operator.home().join("back").exists());
}
