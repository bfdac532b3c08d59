//! Connections through a real sshd to servers on its side.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;

use stdbctl_ssh::{ForwardError, Forwarded, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::sshd::{DEADLINE, Sshd, closed_port, output_of, run};

const LOCALHOST: &str = "127.0.0.1";

/// A server, and what it does with each connection. Its tasks end with the test's runtime.
async fn serve<F>(with: fn(TcpStream) -> F) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(with(stream));
        }
    });
    port
}

/// Says back what it hears, and then that there is no more.
async fn echo(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await.ok();
    writer.shutdown().await.ok();
}

/// Writes zeros for as long as anybody wants them.
async fn pour(mut stream: TcpStream) {
    let piece = vec![0; 64 * 1024];
    while stream.write_all(&piece).await.is_ok() {}
}

/// Hears everything to its end and only then answers with its length.
async fn measure(mut stream: TcpStream) {
    let length = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap_or_default();
    // sshd closes the channel only when both directions are done.
    let (_, mut writer) = stream.split();
    writer.write_all(length.to_string().as_bytes()).await.ok();
}

async fn forward(session: &Session, port: u16) -> Forwarded {
    in_time(session.forward(LOCALHOST, port)).await.unwrap()
}

async fn refusal(session: &Session, port: u16) -> ForwardError {
    in_time(session.forward(LOCALHOST, port)).await.expect_err("there is nothing to connect to")
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("it hangs")
}

/// Sends all of it while reading what comes back, to the end of both.
async fn there_and_back(stream: Forwarded, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut back = Vec::new();
    let send = async {
        writer.write_all(bytes).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let (read, ()) = in_time(async { tokio::join!(reader.read_to_end(&mut back), send) }).await;
    read.unwrap();
    back
}

fn noise(length: u32, seed: u32) -> Vec<u8> {
    (0..length).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn twenty_streams_at_once_each_get_their_own_words_back() {
    // Streams are no sessions: sshd would allow only one of those here.
    let sshd = Sshd::start_with(&["ed25519"], "MaxSessions 1");
    let session = Arc::new(sshd.connect().await);
    let port = serve(echo).await;
    let mut streams = JoinSet::new();
    for number in 0..20 {
        let session = Arc::clone(&session);
        streams.spawn(async move {
            let sent = noise(300_000, number);
            let back = there_and_back(forward(&session, port).await, &sent).await;
            assert!(back == sent, "stream {number}");
        });
    }
    while let Some(done) = streams.join_next().await {
        done.unwrap();
    }
    assert_eq!(output_of(&session, "echo still").await, "still\n");
}

#[tokio::test]
async fn ten_megabytes_go_there_and_back_at_the_same_time() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let sent = noise(10_000_000, 0);
    let back = there_and_back(forward(&session, serve(echo).await).await, &sent).await;
    assert!(back == sent, "{} bytes came back", back.len());
}

#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other_open() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let back = there_and_back(forward(&session, serve(measure).await).await, &vec![7; 100_000]).await;
    assert_eq!(back, b"100000");
}

#[tokio::test]
async fn an_end_that_hangs_up_fails_what_is_still_written() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let mut stream = forward(&session, serve(|stream| async move { drop(stream) }).await).await;
    let mut nothing = Vec::new();
    in_time(stream.read_to_end(&mut nothing)).await.unwrap();
    assert_eq!(nothing, b"");
    let failure = in_time(async {
        loop {
            if let Err(error) = stream.write_all(&[0; 4096]).await {
                break error;
            }
        }
    })
    .await;
    assert_eq!(failure.kind(), ErrorKind::BrokenPipe);
    in_time(stream.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_stops_nobody_for_good() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let (pouring, echoing) = (serve(pour).await, serve(echo).await);
    let mut slow = forward(&session, pouring).await;
    // Its first bytes are here, so the other end pours; nobody takes more until the others are done.
    in_time(slow.read_exact(&mut [0; 1])).await.unwrap();
    let sent = noise(1_000_000, 1);
    let back = there_and_back(forward(&session, echoing).await, &sent).await;
    assert!(back == sent);
    assert_eq!(output_of(&session, "echo quick").await, "quick\n");
    // It was given up for the others' sake: what was held is gone, and that is an error and not the end.
    let failure = in_time(async {
        let mut piece = vec![0; 65_536];
        loop {
            match slow.read(&mut piece).await {
                Ok(0) => panic!("a stream that was cut off ended as if it were complete"),
                Ok(_) => {}
                Err(error) => break error,
            }
        }
    })
    .await;
    assert!(failure.to_string().contains("nobody took"), "{failure}");
}

#[tokio::test]
async fn a_reader_that_pauses_loses_nothing() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let sent = noise(3_000_000, 2);
    let (mut reader, mut writer) = tokio::io::split(forward(&session, serve(echo).await).await);
    // All is sent and on its way back before any of it is read: it is held meanwhile.
    in_time(async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    })
    .await;
    assert_eq!(output_of(&session, "echo quick").await, "quick\n");
    let mut back = Vec::new();
    in_time(reader.read_to_end(&mut back)).await.unwrap();
    assert!(back == sent, "{} bytes came back", back.len());
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_closed_at_the_other_end() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut stream = forward(&session, port).await;
    let (mut far, _) = in_time(listener.accept()).await.unwrap();
    stream.write_all(b"last words").await.unwrap();
    drop(stream);
    let mut heard = Vec::new();
    in_time(far.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"last words");
    // The other streams of the connection are not touched.
    assert_eq!(there_and_back(forward(&session, serve(echo).await).await, b"more").await, b"more");
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_named() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let (_held, port) = closed_port();
    let error = refusal(&session, port).await;
    assert!(matches!(error, ForwardError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert_eq!(error.hints().len(), 1);
    assert_eq!(output_of(&session, "echo still").await, "still\n");
}

#[tokio::test]
async fn an_sshd_that_forbids_it_says_what_to_change() {
    for forbids in ["AllowTcpForwarding no", "PermitOpen 127.0.0.1:1"] {
        let sshd = Sshd::start_with(&["ed25519"], forbids);
        let session = sshd.connect().await;
        let error = refusal(&session, serve(echo).await).await;
        assert!(matches!(error, ForwardError::Forbidden { .. }), "{forbids}: {error:?}");
        assert!(error.hints().concat().contains("AllowTcpForwarding"), "{:?}", error.hints());
        assert_eq!(output_of(&session, "echo still").await, "still\n");
    }
}

#[tokio::test]
async fn a_lost_connection_is_an_error_on_every_stream_and_for_every_new_one() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    let port = serve(echo).await;
    let mut stream = forward(&session, port).await;
    stream.write_all(b"before").await.unwrap();
    in_time(stream.read_exact(&mut [0; 6])).await.unwrap();
    // The sshd that serves this connection is the parent of the command's shell.
    run(&session, "kill -9 $PPID", tokio::io::empty()).await;
    let failure = in_time(stream.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::BrokenPipe);
    assert!(in_time(stream.write_all(&[0; 1])).await.is_err());
    assert!(matches!(refusal(&session, port).await, ForwardError::Gone(_)));
}
