//! Commands on a real sshd: output, input, endings, many at once, and what they cost.

mod sshd;

use sshd::{Sshd, output_of, run};
use stdbctl_ssh::{Ending, quote};
use tokio::io::{AsyncReadExt, empty};

#[tokio::test]
async fn both_streams_and_the_status_come_back() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let done = run(&session, "echo out; echo err >&2; exit 7", empty()).await;
    assert_eq!(done.ending.unwrap(), Ending::Status(7));
    assert_eq!(done.stdout, b"out\n");
    assert_eq!(done.stderr, b"err\n");
    session.close().await;
}

#[tokio::test]
async fn a_signal_is_not_a_status() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let done = run(&session, "kill -TERM $$", empty()).await;
    assert_eq!(done.ending.unwrap(), Ending::Signal("TERM".to_owned()));
    let done = run(&session, "sh -c 'kill -KILL $$'; exit $?", empty()).await;
    assert_eq!(done.ending.unwrap(), Ending::Status(137));
}

#[tokio::test]
async fn ten_megabytes_go_there_and_back_at_the_same_time() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let sent: Vec<u8> = (0..10_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let done = run(&session, "cat", sent.as_slice()).await;
    assert_eq!(done.ending.unwrap(), Ending::Status(0));
    assert!(
        done.stdout == sent,
        "{} of {} bytes came back, or not as they were",
        done.stdout.len(),
        sent.len()
    );
    let stats = session.stats();
    assert!(stats.bytes_sent > 10_000_000 && stats.bytes_received > 10_000_000, "{stats:?}");
}

#[tokio::test]
async fn a_command_that_reads_nothing_ends_all_the_same() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let endless = tokio::io::repeat(b'x');
    let done = run(&session, "exec <&-; echo done", endless).await;
    assert_eq!(done.ending.unwrap(), Ending::Status(0));
    assert_eq!(done.stdout, b"done\n");
}

#[tokio::test]
async fn arguments_arrive_as_they_were_quoted() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let command = quote::join(["printf", "%s|", "a b", "it's", "$(id)", "", "*", "\\n"]).unwrap();
    assert_eq!(output_of(&session, &command).await, "a b|it's|$(id)||*|\\n|");
}

#[tokio::test]
async fn connect_and_first_command_cost_eight_round_trips() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    assert_eq!(run(&session, "cat", &b"hello"[..]).await.stdout, b"hello");
    let first = session.stats().round_trips;
    assert!(first <= 8, "{first}");
}
