//! Commands on a real sshd: output, input, endings, and many at once.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use stdbctl_ssh::{Chunk, CommandError, Ending, quote};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, empty};

use crate::sshd::{DEADLINE, Done, Sshd, output_of, run};

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
async fn a_receiver_that_went_away_does_not_end_the_command() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let command = format!("head -c 3000000 /dev/zero; touch '{}'; exit 3", sshd.path("done").display());
    let ending = tokio::time::timeout(DEADLINE, session.exec(&command, empty(), sender)).await.unwrap();
    assert_eq!(ending.unwrap(), Ending::Status(3));
    assert!(sshd.path("done").exists());
}

#[tokio::test]
async fn many_at_once_wait_for_their_turn() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let mut texts: Vec<_> = (0..24).map(|number| number.to_string()).collect();
    let commands: Vec<_> = texts.iter().map(|text| format!("cat; echo {text}")).collect();
    let runs = commands.iter().map(|command| run(&session, command, &b"in "[..]));
    let mut wrote: Vec<_> = join_all(runs).await;
    texts.sort();
    wrote.sort();
    assert_eq!(wrote, texts.iter().map(|text| format!("in {text}\n")).collect::<Vec<_>>());
}

#[tokio::test]
async fn input_is_not_read_before_there_is_a_channel() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let (held, taken): (Vec<_>, Vec<_>) = (0..8).map(|_| tokio::io::duplex(1)).unzip();
    let is_free = AtomicBool::new(false);
    let eight = join_all(taken.into_iter().map(|input| run(&session, "cat", input)));
    let free = async {
        is_free.store(true, Ordering::SeqCst);
        drop(held);
    };
    // Each is begun in this order.
    let (_, ninth, ()) = tokio::join!(eight, run(&session, "cat", Late(&is_free)), free);
    assert_eq!(ninth.ending.unwrap(), Ending::Status(0));
}

async fn join_all(runs: impl Iterator<Item = impl Future<Output = Done>>) -> Vec<String> {
    let mut runs: Vec<_> = runs.map(Box::pin).map(Some).collect();
    let mut wrote = Vec::new();
    std::future::poll_fn(|context| {
        for run in &mut runs {
            if let Some(future) = run
                && let Poll::Ready(done) = future.as_mut().poll(context)
            {
                assert_eq!(done.ending.unwrap(), Ending::Status(0));
                wrote.push(String::from_utf8(done.stdout).unwrap());
                *run = None;
            }
        }
        if runs.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    wrote
}

#[tokio::test]
async fn a_slow_receiver_stops_no_other_command() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let (sender, mut slow) = tokio::sync::mpsc::channel(1);
    let writing = session.exec("head -c 2000000 /dev/zero", empty(), sender);
    let meanwhile = async {
        // The first piece is here, so the command writes; nobody takes the rest until the other one has run.
        let mut bytes = slow.recv().await.map_or(0, |chunk| size(&chunk));
        assert_eq!(output_of(&session, "echo quick").await, "quick\n");
        while let Some(chunk) = slow.recv().await {
            bytes += size(&chunk);
        }
        bytes
    };
    let both = async { tokio::join!(writing, meanwhile) };
    let (ending, bytes) = tokio::time::timeout(DEADLINE, both).await.unwrap();
    assert_eq!(ending.unwrap(), Ending::Status(0));
    assert_eq!(bytes, 2_000_000);
}

fn size(chunk: &Chunk) -> usize {
    let (Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = chunk;
    bytes.len()
}

#[tokio::test]
async fn a_command_that_is_given_up_frees_its_channel() {
    let sshd = Sshd::start_with(&["ed25519"], "MaxSessions 1");
    let session = sshd.connect().await;
    let (sender, mut output) = tokio::sync::mpsc::channel(1);
    let forever = session.exec("echo started; cat", Waiting, sender);
    tokio::select! {
        _ = forever => panic!("it has no end"),
        _ = output.recv() => {}
    }
    let end = Instant::now() + DEADLINE;
    while !matches!(run(&session, "true", empty()).await.ending, Ok(Ending::Status(0))) {
        assert!(Instant::now() < end, "the channel is never closed");
    }
}

/// Right behind each other, and where one was asked for ahead while another still ran.
#[tokio::test]
async fn commands_follow_each_other_where_one_session_is_allowed() {
    let sshd = Sshd::start_with(&["ed25519"], "MaxSessions 1");
    let session = sshd.connect().await;
    for _ in 0..5 {
        assert_eq!(output_of(&session, "echo one").await, "one\n");
    }
    let (mut input, stdin) = tokio::io::duplex(16);
    let (sender, mut output) = tokio::sync::mpsc::channel(4);
    let other = async {
        output.recv().await.unwrap();
        session.start_ahead("echo two");
        tokio::io::AsyncWriteExt::write_all(&mut input, b"end\n").await.unwrap();
    };
    let (ended, ()) = tokio::join!(session.exec("echo begun; read line", stdin, sender), other);
    assert_eq!(ended.unwrap(), Ending::Status(0));
    assert_eq!(output_of(&session, "echo two").await, "two\n");
}

#[tokio::test]
async fn a_server_that_allows_fewer_sessions_says_so() {
    let sshd = Sshd::start_with(&["ed25519"], "MaxSessions 0");
    let session = sshd.connect().await;
    let done = run(&session, "true", empty()).await;
    assert!(matches!(done.ending, Err(CommandError::Channel(_))), "{done:?}");
}

#[tokio::test]
async fn input_that_cannot_be_read_is_an_error_and_not_the_end_of_input() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let command = format!("cat > '{}'", sshd.path("copy").display());
    let broken = (&b"begin"[..]).chain(Broken);
    let done = run(&session, &command, broken).await;
    assert!(matches!(done.ending, Err(CommandError::Stdin(_))), "{done:?}");
}

#[tokio::test]
async fn commands_can_run_in_tasks_of_their_own() {
    let sshd = Sshd::start();
    let session = std::sync::Arc::new(sshd.connect().await);
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let session = std::sync::Arc::clone(&session);
            tokio::spawn(async move { output_of(&session, "echo task").await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "task\n");
    }
}

#[tokio::test]
async fn a_nul_byte_is_refused_here() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let done = run(&session, "echo a\0b", empty()).await;
    assert!(matches!(done.ending, Err(CommandError::Nul)));
}

/// Input that never comes.
struct Waiting;

impl AsyncRead for Waiting {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Input that is empty, and that nobody may ask before this is true.
struct Late<'a>(&'a AtomicBool);

impl AsyncRead for Late<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        assert!(self.0.load(Ordering::SeqCst), "it is read too early");
        Poll::Ready(Ok(()))
    }
}

/// Input that cannot be read.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
    }
}
