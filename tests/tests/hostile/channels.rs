//! Channels, their windows, and how a command ends.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::operator::Operator;
use stdbctl_tests::rogue::{Command, Fields, Rogue, Visit, string, uint};

use super::meeting::{
    Behaviour, ESCAPES, LITTLE, LONGEST, MEGABYTE, MUCH, assert_plain, exec, for_ever, peak_of, reach, words,
};

#[test]
fn a_channel_that_is_refused_in_colours() {
    exec(|visit| {
        visit.admit()?;
        let packet = visit.wire.receive()?;
        let mut fields = Fields(&packet);
        let (_open, _kind, channel) = (fields.byte(), fields.string(), fields.uint());
        visit
            .wire
            .send(&[vec![92], channel.to_be_bytes().to_vec(), uint(2), string(ESCAPES), string("")].concat())
    })
    .failed(4, &["MaxSessions"]);
}

/// What is not about the one channel there is must not end, or stand for, what happens on it.
fn strangers(visit: &mut Visit, channel: usize) -> io::Result<()> {
    visit.wire.send(&[vec![98], uint(channel), string("exit-status"), vec![0], uint(0)].concat())?;
    visit.wire.send(&[vec![94], uint(channel), string("forged\n")].concat())?;
    visit.wire.send(&[vec![93], uint(channel), uint(usize::MAX)].concat())?;
    visit.wire.send(&[vec![96], uint(channel)].concat())?;
    visit.wire.send(&[vec![97], uint(channel)].concat())
}

#[test]
fn word_of_channels_that_were_never_opened() {
    let met = exec(|visit| {
        let command = visit.take_command()?;
        strangers(visit, command.channel + 1)?;
        strangers(visit, 0xffff_fff0)?;
        visit.write(&command, b"own\n")?;
        visit.exit(&command, 3)
    });
    met.failed(1, &["exit status 3"]);
    assert_eq!(met.run.stdout, "own\n", "{}", met.run);
}

/// Of every kind that there is, and one that is none.
#[test]
fn a_channel_that_nobody_asked_for() {
    fn open(visit: &mut Visit, kind: &str, details: &[Vec<u8>]) -> io::Result<()> {
        let command = visit.take_command()?;
        let head = [vec![90], string(kind), uint(9), uint(1 << 20), uint(1 << 15)].concat();
        visit.wire.send(&[head, details.concat()].concat())?;
        visit.write(&command, b"own\n")?;
        visit.exit(&command, 0)
    }
    fn place() -> [Vec<u8>; 4] {
        [string("localhost"), uint(22), string("localhost"), uint(22)]
    }
    let kinds: [Behaviour; 8] = [
        |visit| open(visit, "session", &[]),
        |visit| open(visit, "auth-agent@openssh.com", &[]),
        |visit| open(visit, "x11", &[string("localhost"), uint(22)]),
        |visit| open(visit, "forwarded-tcpip", &place()),
        |visit| open(visit, "forwarded-streamlocal@openssh.com", &[string("/socket"), string("")]),
        |visit| open(visit, "direct-tcpip", &place()),
        |visit| open(visit, "direct-streamlocal@openssh.com", &[string("/socket"), string(""), uint(0)]),
        |visit| open(visit, ESCAPES, &[]),
    ];
    for kind in kinds {
        exec(kind).failed(4, &["opened a channel that nobody had asked for"]);
    }
}

#[test]
fn windows_that_overflow() {
    let met = exec(|visit| {
        visit.admit()?;
        let command = visit.next_command(0)?;
        for window in [usize::MAX, usize::MAX, 1, 0, 0x7fff_ffff] {
            visit.wire.send(&[vec![93], uint(command.channel), uint(window)].concat())?;
        }
        visit.exit(&command, 0)
    });
    met.run.exited(0);
    assert!(met.run.took < LONGEST && met.peak < LITTLE, "{}", met.run);
}

#[test]
fn a_channel_confirmed_twice() {
    let met = exec(|visit| {
        let command = visit.take_command()?;
        for _ in 0..100 {
            visit.wire.send(&[vec![91], uint(command.channel), uint(5), uint(0), uint(0)].concat())?;
        }
        visit.exit(&command, 4)
    });
    assert!(met.run.code != Some(0) && met.run.took < LONGEST, "{}", met.run);
    assert_plain(&met.run.stderr);
}

#[test]
fn data_that_lies_about_its_length() {
    exec(|visit| {
        let command = visit.take_command()?;
        visit.wire.send(&[vec![94], uint(command.channel), uint(usize::MAX), b"short".to_vec()].concat())
    })
    .failed(4, &[]);
}

#[test]
fn a_status_without_an_end_is_none() {
    exec(|visit| {
        let command = visit.take_command()?;
        visit
            .wire
            .send(&[vec![98], uint(command.channel), string("exit-status"), vec![0], uint(0)].concat())?;
        visit.disconnect(b"bye")
    })
    .failed(4, &["bye"]);
}

#[test]
fn the_name_of_a_signal_is_only_a_name() {
    let met = exec(|visit| {
        let command = visit.take_command()?;
        let channel = uint(command.channel);
        let words = [vec![0], string(ESCAPES), vec![0], string(ESCAPES), string("")].concat();
        visit.wire.send(&[vec![98], channel.clone(), string("exit-signal"), words].concat())?;
        visit.wire.send(&[vec![97], channel].concat())
    });
    met.failed(1, &["killed by"]);
}

/// A server that pours something over whoever runs a command there, so many bytes at a time: peak memory once it has
/// poured enough, or long enough.
fn poured(bytes: u64, pour: fn(&mut Visit, &Command) -> io::Result<()>) -> u64 {
    let all = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&all);
    let rogue = Rogue::start(move |visit| {
        let command = visit.take_command()?;
        for_ever(|| {
            pour(visit, &command)?;
            counted.fetch_add(bytes, Ordering::Relaxed);
            Ok(())
        })
    });
    let operator = Operator::new();
    let arguments = words(&["exec"], &reach(&operator, &rogue), &["--", "true"]);
    let mut command = operator.command(&arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let patience = Duration::from_secs(60);
    let began =
        wait_for("it is poured over", patience, || (all.load(Ordering::Relaxed) > 0).then(Instant::now));
    let mut peak = 0;
    wait_for("it has enough, or hangs up", patience, || {
        peak = peak.max(peak_of(child.id()).unwrap_or(0));
        let enough = all.load(Ordering::Relaxed) > 150_000_000 || began.elapsed() > Duration::from_secs(3);
        (enough || child.try_wait().unwrap().is_some()).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    peak
}

#[test]
fn floods_take_little_memory() {
    type Pour = fn(&mut Visit, &Command) -> io::Result<()>;
    let floods: [(&str, u64, Pour); 5] = [
        ("stdout", 30_000, |visit, command| visit.write(command, &MUCH)),
        ("lines of stdout", 30_000, |visit, command| visit.write(command, &b"x\n".repeat(15_000))),
        ("stderr", 30_000, |visit, command| visit.complain(command, &MUCH)),
        ("questions", 21, |visit, _| {
            visit.wire.send(&[vec![80], string("keepalive@rogue"), vec![1; 1]].concat())
        }),
        ("debug", 150, |visit, _| visit.wire.send(&[vec![4, 1], string(ESCAPES), string("")].concat())),
    ];
    for (what, bytes, pour) in floods {
        let peak = poured(bytes, pour);
        assert!(peak > MEGABYTE && peak < LITTLE, "{what}: {} MB", peak / MEGABYTE);
    }
}
