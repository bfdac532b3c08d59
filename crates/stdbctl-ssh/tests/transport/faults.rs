//! Servers that are silent, are something else, or die: nothing hangs, and the error says what happened.

use std::cell::OnceCell;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stdbctl_ssh::{
    CommandError, ConnectError, ConnectOptions, Ending, ErrorKind, Progress, Session, Step, TransferError,
    TransferOptions, connect, push,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, empty};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::proxy::{Fault, Proxy};
use crate::sshd::{DEADLINE, Sshd, closed_port, generate_key, options_for, put_forward, run};

/// What `through` has for the time between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Options with a key for a port where no sshd is.
fn options_with_key(port: u16) -> (ConnectOptions, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    generate_key(&key, "ed25519", "");
    let mut options = options_for(port);
    options.identity_files = vec![key];
    (options, directory)
}

async fn refusal(options: ConnectOptions) -> ConnectError {
    match timeout(DEADLINE, connect(options)).await.expect("connecting hangs") {
        Ok(_) => panic!("there is nothing to connect to"),
        Err(error) => error,
    }
}

/// What comes of a server that says this and then, if it shall, waits for ever. Nobody need wait for as long: once the
/// client has spoken, time passes.
async fn refusal_of(words: &'static [u8], waits: bool) -> ConnectError {
    let heard = Arc::new(Notify::new());
    let (options, _keys) = options_with_key(server_that_says(words, waits, Arc::clone(&heard)).await);
    passing_after(heard.notified(), Box::pin(refusal(options))).await.0
}

async fn server_that_says(words: &'static [u8], waits: bool, heard: Arc<Notify>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(words).await.ok();
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let mut nothing = Vec::new();
                if waits {
                    stream.read_u8().await.ok();
                    heard.notify_one();
                    stream.read_to_end(&mut nothing).await.ok();
                } else {
                    // What was sent to it must be read, or closing would take its own words back.
                    stream.read_u8().await.ok();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let (_held, port) = closed_port();
    let (options, _keys) = options_with_key(port);
    let error = refusal(options).await;
    assert_eq!((error.kind(), error.step()), (ErrorKind::Tcp, Step::Tcp));
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_name_without_address_is_named() {
    let (mut options, _keys) = options_with_key(22);
    options.target.host = "no-such-host.invalid".to_owned();
    let error = refusal(options).await;
    assert_eq!((error.kind(), error.step()), (ErrorKind::Resolve, Step::Resolve));
    assert!(error.to_string().contains("no-such-host.invalid"));
}

#[tokio::test]
async fn the_address_can_be_given_beside_the_name() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    options.target.host = "no-such-host.invalid".to_owned();
    options.address = Some(Ipv4Addr::LOCALHOST.into());
    let line = format!("[no-such-host.invalid]:{} {}", sshd.port, sshd.public_key("host_ed25519"));
    sshd.write("known_hosts", &line);
    let session = connect(options).await.unwrap();
    assert_eq!(session.peer_address(), Some(sshd.address()));
}

#[tokio::test]
async fn a_silent_port_is_given_up() {
    let error = refusal_of(b"", true).await;
    assert_eq!((error.kind(), error.step()), (ErrorKind::Silent, Step::Banner));
    let error = refusal_of(b"", false).await;
    assert_eq!(error.kind(), ErrorKind::Silent);
    assert!(error.to_string().contains("hung up"), "{error}");
}

#[tokio::test]
async fn a_port_that_speaks_something_else_is_quoted() {
    let words = b"HTTP/1.1 400 Bad Request\r\nServer: \x1b[31mevil\x07\r\n\r\n";
    for waits in [false, true] {
        let error = refusal_of(words, waits).await;
        assert_eq!(error.kind(), ErrorKind::NotSsh, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("HTTP/1.1 400") && !text.contains('\x1b'), "{text}");
    }
}

#[tokio::test]
async fn a_banner_and_then_nothing_is_the_key_exchange() {
    let error = refusal_of(b"SSH-2.0-Nothing\r\n", true).await;
    assert_eq!((error.kind(), error.step()), (ErrorKind::Timeout, Step::KeyExchange));
    let error = refusal_of(b"SSH-2.0-Nothing\r\n", false).await;
    assert_eq!((error.kind(), error.step()), (ErrorKind::Lost, Step::KeyExchange));
}

#[tokio::test]
async fn nonsense_after_the_banner_is_no_panic() {
    for words in [
        &b"SSH-2.0-X\r\n\0\0\0\x0c\x0a\x14AAAAAAAAAA"[..],
        b"SSH-2.0-X\r\n\xff\xff\xff\xff\xff\xff",
        b"SSH-2.0-X\r\n\0\0\0\0\0\0",
    ] {
        let error = refusal_of(words, true).await;
        assert_eq!(error.step(), Step::KeyExchange, "{error:?}");
    }
}

#[tokio::test]
async fn no_common_algorithm_is_an_error_of_the_key_exchange() {
    let sshd = Sshd::start_with(&["ed25519"], "Ciphers aes128-cbc");
    let error = refusal(sshd.options()).await;
    assert_eq!(error.kind(), ErrorKind::KeyExchange, "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("aes128-cbc"), "{cause}");
}

/// A connection through a proxy.
async fn through(sshd: &Sshd, fault: Fault) -> (Proxy, Result<Session, ConnectError>) {
    let proxy = Proxy::start(sshd.address(), Duration::ZERO, fault).await;
    let mut options = sshd.options();
    options.target.port = Some(proxy.port);
    options.known_hosts = vec![sshd.path(&format!("known_hosts_{}", proxy.port))];
    let line = format!("[127.0.0.1]:{} {}", proxy.port, sshd.public_key("host_ed25519"));
    std::fs::write(&options.known_hosts[0], line).unwrap();
    options.keep_alive = KEEP_ALIVE;
    let session = timeout(DEADLINE, connect(options)).await.expect("connecting hangs");
    (proxy, session)
}

#[tokio::test]
async fn a_server_killed_during_a_command_is_a_lost_connection() {
    let sshd = Sshd::start();
    let session = sshd.connect().await;
    // The sshd that serves this connection is the parent of the command's shell.
    let done = run(&session, "echo before; kill -9 $PPID; sleep 60", empty()).await;
    assert!(matches!(done.ending, Ok(Ending::Lost(_))), "{done:?}");
    assert!(session.is_closed());
    let after = run(&session, "true", empty()).await;
    assert!(matches!(after.ending, Err(CommandError::Gone(_))), "{after:?}");
}

/// What comes of this, and how long it took from the end of `before` on, when time begins to pass.
async fn passing_after<F: Future>(before: impl Future<Output = ()>, done: F) -> (F::Output, Duration) {
    let limit = Instant::now() + DEADLINE;
    let silent_since = OnceCell::new();
    let pass = async {
        before.await;
        silent_since.set(tokio::time::Instant::now()).unwrap();
        while Instant::now() < limit {
            put_forward(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        biased;
        output = done => (output, silent_since.get().map_or(Duration::ZERO, tokio::time::Instant::elapsed)),
        () = pass => panic!("it hangs"),
    }
}

#[tokio::test]
async fn a_pulled_cable_is_noticed() {
    let sshd = Sshd::start();
    let (proxy, session) = through(&sshd, Fault::None).await;
    let session = session.unwrap();
    let (sender, mut output) = tokio::sync::mpsc::channel(1);
    let command = session.exec("echo started; sleep 60", empty(), sender);
    let pull = async {
        output.recv().await.unwrap();
        proxy.fall_silent();
    };
    let (ending, took) = passing_after(pull, command).await;
    assert_eq!(ending.unwrap(), Ending::Lost("the server stopped answering".to_owned()));
    assert!(took < KEEP_ALIVE * 8, "{took:?}");
}

#[tokio::test]
async fn a_cable_pulled_during_an_upload_is_noticed() {
    let sshd = Sshd::start();
    let (proxy, session) = through(&sshd, Fault::None).await;
    let session = session.unwrap();
    let (sender, mut output) = tokio::sync::mpsc::channel(1);
    let command = session.exec("echo started; cat > /dev/null", tokio::io::repeat(7), sender);
    let pull = async {
        output.recv().await.unwrap();
        proxy.fall_silent();
    };
    let (ending, _) = passing_after(pull, command).await;
    assert!(matches!(ending, Ok(Ending::Lost(_))), "{ending:?}");
}

#[tokio::test]
async fn a_cable_pulled_during_a_transfer_is_noticed() {
    let sshd = Sshd::start();
    let (proxy, session) = through(&sshd, Fault::None).await;
    let session = session.unwrap();
    let pulled = Arc::new(Notify::new());
    let pull = Arc::clone(&pulled);
    let watch = Arc::new(move |progress: Progress| {
        if progress.done > 0 {
            proxy.fall_silent();
            pull.notify_one();
        }
    });
    let options = TransferOptions { watch: Some(watch), ..TransferOptions::default() };
    sshd.write("source", &"x".repeat(20 << 20));
    let (from, to) = (sshd.path("source"), sshd.path("target"));
    let pushing = push(&session, &from, to.to_str().unwrap(), &options);
    let error = passing_after(pulled.notified(), pushing).await.0.unwrap_err();
    assert!(matches!(error, TransferError::Lost(_) | TransferError::Command(_)), "{error:?}");
    assert!(!to.exists());
}

#[tokio::test]
async fn a_cut_anywhere_ends_in_an_error_and_never_in_a_status() {
    let sshd = Sshd::start();
    let command = "head -c 5000 /dev/zero; exit 0";
    let (_proxy, whole) = through(&sshd, Fault::None).await;
    let whole = whole.unwrap();
    assert_eq!(run(&whole, command, &b"x"[..]).await.ending.unwrap(), Ending::Status(0));
    let all = usize::try_from(whole.stats().bytes_received).unwrap();
    let mut lost = 0;
    // Closely where the banner is, then in steps that fall anywhere.
    for most in (1..60).step_by(5).chain((60..all - 700).step_by(131)) {
        let (_proxy, session) = through(&sshd, Fault::CutAfter(most)).await;
        match session {
            Err(error) => {
                let expected = [ErrorKind::Lost, ErrorKind::NotSsh, ErrorKind::AuthRefused];
                assert!(expected.contains(&error.kind()), "cut after {most}: {error:?}");
            }
            Ok(session) => {
                let done = run(&session, command, &b"x"[..]).await;
                assert!(
                    !matches!(done.ending, Ok(Ending::Status(_))) || done.stdout.len() == 5000,
                    "{most}: {done:?}"
                );
                lost += usize::from(!matches!(done.ending, Ok(Ending::Status(_))));
            }
        }
    }
    assert!(lost > 10, "{lost} of the cuts hit a command");
}
