//! Before there is a login: versions, packets and offers.

use std::io;
use std::time::Duration;

use stdbctl_tests::rogue::{Visit, string, uint};

use super::meeting::{Behaviour, ESCAPES, MUCH, exec, exec_impatiently, for_ever};

/// One byte at a time, so slowly that no pause is longer than the patience.
fn drip(visit: &mut Visit, bytes: impl Iterator<Item = u8>) -> io::Result<()> {
    for byte in bytes {
        visit.wire.raw(&[byte])?;
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

#[test]
fn a_version_without_end() {
    let versions: [Behaviour; 5] = [
        |visit| for_ever(|| visit.wire.raw(&[b'a'; 4096])),
        |visit| for_ever(|| visit.wire.raw(b"hello\r\n")),
        |visit| for_ever(|| visit.wire.raw(b"SSH-2.0-\x1b[45m")),
        |visit| for_ever(|| visit.wire.raw(b"\n")),
        |visit| for_ever(|| visit.wire.raw(b"\0")),
    ];
    for version in versions {
        exec(version).failed(4, &["127.0.0.1"]);
    }
}

#[test]
fn a_version_that_drips() {
    exec_impatiently(|visit| drip(visit, std::iter::repeat(b's'))).failed(4, &["127.0.0.1"]);
    exec_impatiently(|visit| drip(visit, "SSH-2.0-".bytes().chain(std::iter::repeat(b'x'))))
        .failed(4, &["127.0.0.1"]);
    exec_impatiently(|visit| drip(visit, "hello\n".bytes().cycle())).failed(4, &["127.0.0.1"]);
}

#[test]
fn a_packet_that_claims_gigabytes() {
    exec_impatiently(|visit| {
        visit.wire.greet()?;
        visit.wire.raw(&[0xff; 4])?;
        for_ever(|| visit.wire.raw(&MUCH))
    })
    .failed(4, &["127.0.0.1"]);
    // As large as is allowed, and never whole.
    exec_impatiently(|visit| {
        visit.wire.greet()?;
        visit.wire.raw(&[0, 4, 0, 0])
    })
    .failed(4, &["127.0.0.1"]);
    // The same under the cipher: what comes decrypts to any length.
    exec_impatiently(|visit| {
        visit.agree()?;
        for_ever(|| visit.wire.raw(&MUCH))
    })
    .failed(4, &["127.0.0.1"]);
}

#[test]
fn packets_that_drip() {
    exec_impatiently(|visit| {
        visit.wire.greet()?;
        drip(visit, [0, 0, 8, 0].into_iter().chain(std::iter::repeat(20)))
    })
    .failed(4, &["key exchange"]);
    exec_impatiently(|visit| {
        visit.agree()?;
        drip(visit, std::iter::repeat(20))
    })
    .failed(4, &["authentication"]);
}

#[test]
fn an_offer_that_lies_about_itself() {
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.send(&[vec![20], vec![7; 16], uint(usize::MAX), vec![b'a'; 100]].concat())
    })
    .failed(4, &["127.0.0.1"]);
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.send(&[vec![20], vec![7; 16], string(ESCAPES).repeat(10), vec![0; 5]].concat())
    })
    .failed(4, &["127.0.0.1"]);
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.send(&[vec![20], vec![7; 16], string(vec![b','; 200_000]), vec![0; 41]].concat())
    })
    .failed(4, &["127.0.0.1"]);
}

#[test]
fn packets_that_mean_nothing_without_end() {
    exec_impatiently(|visit| {
        visit.wire.greet()?;
        for_ever(|| visit.wire.send(&[vec![2], string(MUCH)].concat()))
    })
    .failed(4, &["127.0.0.1"]);
    exec_impatiently(|visit| {
        visit.agree()?;
        for_ever(|| visit.wire.send(&[vec![2], string(MUCH)].concat()))
    })
    .failed(4, &["127.0.0.1"]);
}

#[test]
fn silence_at_each_step() {
    let steps: [Behaviour; 4] = [
        |visit| visit.wire.greet().map(drop),
        |visit| visit.agree(),
        |visit| {
            visit.agree()?;
            visit.wire.receive()?;
            visit.wire.send(&[vec![6], string("ssh-userauth")].concat())
        },
        |visit| visit.admit(),
    ];
    let named = ["key exchange", "authentication", "authentication", "opening a channel"];
    for (step, name) in steps.into_iter().zip(named) {
        exec_impatiently(step).failed(4, &[name]);
    }
}
