//! Connections whose keys are exchanged anew while they are in use: by the server, and by this side.

use std::fs;
use std::time::{Duration, Instant};

use stdbctl_ssh::{Ending, RekeyLimit, Session, connect};

use crate::configured::{Operator, host};
use crate::sshd::{DEADLINE, Sshd, output_of, run};
use crate::transfer::{Desk, noise};

const SIZE: usize = 20_000_000;
/// For either side. sshd does so some earlier: it counts the bytes of the next packet as blocks.
const OFTEN: &str = "RekeyLimit 2M\n";

fn sshd(extra: &str) -> Sshd {
    Sshd::start_with(&["ed25519"], &format!("{extra}LogLevel DEBUG1"))
}

/// How often it has been done, on all of its connections.
fn rekeys(sshd: &Sshd) -> usize {
    let log = sshd.log();
    let count = |words| log.matches(words).count();
    count("SSH2_MSG_NEWKEYS received") - count("Accepted publickey")
}

/// A file goes there and back. How often keys were exchanged on each way.
async fn carry(desk: &Desk) -> (usize, usize) {
    let content = noise(SIZE, 1);
    fs::write(desk.here("a"), &content).unwrap();
    desk.push("a", "b").await.unwrap();
    assert!(fs::read(desk.there("b")).unwrap() == content);
    let up = rekeys(&desk.sshd);
    desk.pull("b", "c").await.unwrap();
    assert!(fs::read(desk.here("c")).unwrap() == content);
    (up, rekeys(&desk.sshd) - up)
}

/// Input and output of one command at once, beside others.
async fn talk(session: &Session) {
    let content = noise(SIZE / 5, 2);
    let numbers: Vec<_> = (1..=100_000).map(|number| format!("{number}\n")).collect();
    let numbers = numbers.concat();
    let echo = run(session, "cat", content.as_slice());
    let count = run(session, "seq 100000 | tee /dev/stderr", tokio::io::empty());
    let short = async {
        for number in 0..5 {
            assert_eq!(output_of(session, &format!("echo {number}")).await, format!("{number}\n"));
        }
    };
    let (echo, count, ()) = tokio::join!(echo, count, short);
    assert_eq!((echo.ending.unwrap(), count.ending.unwrap()), (Ending::Status(0), Ending::Status(0)));
    assert!(echo.stdout == content && count.stdout == numbers.as_bytes());
    // A talkative sshd has its own words there, before the command's.
    assert!(count.stderr.ends_with(numbers.as_bytes()));
}

#[tokio::test]
async fn a_server_does_so_in_a_transfer() {
    let desk = Desk::with(sshd(OFTEN)).await;
    let (up, down) = carry(&desk).await;
    // What is on its way to the server, up to 2 MB a channel, is let through each time.
    assert!(up >= 2 && down >= 8, "{up} {down}");
}

#[tokio::test]
async fn this_side_does_so_in_a_transfer() {
    let mut desk = Desk::with(sshd("")).await;
    let mut options = desk.sshd.options();
    options.rekey_limit.bytes = 2 << 20;
    desk.session = connect(options).await.unwrap();
    let (up, down) = carry(&desk).await;
    // What is on its way to this side, up to 16 MiB a channel, is let through each time.
    assert!(up >= 2 && down >= 1, "{up} {down}");
}

#[tokio::test]
async fn a_server_does_so_while_commands_talk() {
    let sshd = sshd(OFTEN);
    talk(&sshd.connect().await).await;
    let rekeys = rekeys(&sshd);
    assert!(rekeys >= 2, "{rekeys}");
}

#[tokio::test]
async fn all_ends_of_a_way_through_a_bastion_do_so() {
    let (hop, web) = (sshd(OFTEN), sshd(OFTEN));
    let operator = Operator::knowing(&[&hop, &web]);
    operator
        .configure(&(host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\nHost *\n" + OFTEN));
    talk(&operator.connect("web1").await.unwrap()).await;
    let rekeys = (rekeys(&hop), rekeys(&web));
    assert!(rekeys.0 >= 2 && rekeys.1 >= 2, "{rekeys:?}");
}

#[tokio::test]
async fn both_sides_do_so_while_nothing_happens() {
    for (extra, time) in
        [("RekeyLimit default 1s\n", RekeyLimit::default().time), ("", Duration::from_secs(1))]
    {
        let sshd = sshd(extra);
        let mut options = sshd.options();
        options.rekey_limit.time = time;
        // Without a packet in between, sshd waits.
        options.keep_alive = Duration::from_millis(300);
        let session = connect(options).await.unwrap();
        let started = Instant::now();
        while rekeys(&sshd) < 2 {
            assert!(started.elapsed() < DEADLINE && !session.is_closed(), "{}", sshd.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(output_of(&session, "echo there").await, "there\n");
    }
}
