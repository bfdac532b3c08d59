//! What crosses a slow line packed, what crosses it as it is, and hosts that pack badly or not at all.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stdbctl_ssh::{Progress, TransferError, TransferOptions, pull, push};
use tokio::sync::Notify;

use crate::proxy::Fault;
use crate::sshd::Sshd;
use crate::transfer::{BLOCK, Desk, noise, pull_over, push_over};

/// 32 Mbit/s.
const SLOW: Fault = Fault::Throttle(4_000_000);

/// Lines as a dump has them.
fn dump(length: usize) -> Vec<u8> {
    let line = |number: u64| {
        let name = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        format!("INSERT INTO player VALUES ({number}, 'player {name:05x}', {}, NULL);\n", name * 7)
            .into_bytes()
    };
    (0..).flat_map(line).take(length).collect()
}

/// An sshd whose every command goes through this `sed` first.
fn altered(how: &str) -> Sshd {
    let directory = tempfile::tempdir().unwrap();
    crate::sshd::generate_key(&directory.path().join("host_ed25519"), "ed25519", "");
    let shell = directory.path().join("shell");
    // The words behind `sh -c ... stdbctl` are the script.
    let text = r#"eval "set -- $SSH_ORIGINAL_COMMAND"; shift 4
s=$(for w; do printf %s "$w"; done | base64 -d | sed 'HOW'); eval "$s""#;
    fs::write(&shell, text.replace("HOW", how)).unwrap();
    Sshd::start_in(directory, &["ed25519"], "ForceCommand sh DIR/shell")
}

#[tokio::test]
async fn a_dump_crosses_a_slow_line_packed() {
    let desk = Desk::new().await;
    let content = dump(20_000_000);
    fs::write(desk.here("a"), &content).unwrap();
    let (session, _proxy) = desk.through(Duration::from_millis(5), SLOW).await;
    let before = session.stats();
    let pushed = push_over(&session, &desk.here("a"), &desk.there("up")).await.unwrap();
    let between = session.stats();
    assert!(fs::read(desk.there("up")).unwrap() == content);
    let pulled = pull_over(&session, &desk.there("up"), &desk.here("down")).await.unwrap();
    let after = session.stats();
    assert!(fs::read(desk.here("down")).unwrap() == content);
    let crossed = [between.bytes_sent - before.bytes_sent, after.bytes_received - between.bytes_received];
    for (done, crossed) in [pushed, pulled].into_iter().zip(crossed) {
        assert_eq!((done.changed, done.bytes, done.kept), (1, 20_000_000, 0));
        assert!(done.moved < 8_000_000, "{done:?}");
        // What is said of it is what the network saw, but for what frames it.
        assert!(crossed > done.moved && crossed < done.moved + 300_000, "{crossed}: {done:?}");
    }
}

#[tokio::test]
async fn what_does_not_shrink_crosses_as_it_is() {
    let desk = Desk::new().await;
    let content = noise(2 * BLOCK + 5, 9);
    fs::write(desk.here("a"), &content).unwrap();
    let (session, _proxy) = desk.through(Duration::ZERO, SLOW).await;
    let before = session.stats();
    let pushed = push_over(&session, &desk.here("a"), &desk.there("up")).await.unwrap();
    let between = session.stats();
    let pulled = pull_over(&session, &desk.there("up"), &desk.here("down")).await.unwrap();
    let after = session.stats();
    assert!(fs::read(desk.here("down")).unwrap() == content);
    let size = content.len() as u64;
    assert_eq!((pushed.moved, pulled.moved), (size, size));
    for crossed in [between.bytes_sent - before.bytes_sent, after.bytes_received - between.bytes_received] {
        assert!(crossed < size / 100 * 101, "{crossed} of {size}");
    }
}

/// Options of a transfer, and what is told once so much of it is done.
fn until(bytes: usize) -> (TransferOptions, Arc<Notify>) {
    let stop = Arc::new(Notify::new());
    let told = Arc::clone(&stop);
    let watch = Arc::new(move |progress: Progress| {
        if progress.done > bytes as u64 {
            told.notify_one();
        }
    });
    (TransferOptions { watch: Some(watch), ..TransferOptions::default() }, stop)
}

#[tokio::test]
async fn packed_and_plain_runs_go_on_from_each_other() {
    let desk = Desk::new().await;
    let content = [dump(5 * BLOCK), noise(BLOCK, 4), dump(BLOCK + 9)].concat();
    fs::write(desk.here("a"), &content).unwrap();
    for (first, second) in [(SLOW, Fault::None), (Fault::None, SLOW)] {
        let (from, to, back) = (desk.here("a"), desk.there("up"), desk.here("down"));
        let (options, stop) = until(5 * BLOCK);
        let (session, _proxy) = desk.through(Duration::ZERO, first).await;
        tokio::select! {
            ended = push(&session, &from, &to, &options) => panic!("{ended:?}"),
            () = stop.notified() => {}
        }
        drop(session);
        let (session, _proxy) = desk.through(Duration::ZERO, second).await;
        let pushed = push_over(&session, &from, &to).await.unwrap();
        assert!(fs::read(&to).unwrap() == content);
        assert!(pushed.moved <= pushed.bytes - pushed.kept, "{pushed:?}");

        let (options, stop) = until(5 * BLOCK);
        let (session, _proxy) = desk.through(Duration::ZERO, first).await;
        tokio::select! {
            ended = pull(&session, &to, &back, &options) => panic!("{ended:?}"),
            () = stop.notified() => {}
        }
        drop(session);
        let (session, _proxy) = desk.through(Duration::ZERO, second).await;
        let pulled = pull_over(&session, &to, &back).await.unwrap();
        assert!(fs::read(&back).unwrap() == content);
        // Three channels were in the middle of a block.
        assert!(pulled.kept >= 2 * BLOCK as u64 && pulled.moved <= pulled.bytes - pulled.kept, "{pulled:?}");
        fs::remove_file(&to).unwrap();
        fs::remove_file(&back).unwrap();
    }
}

#[tokio::test]
async fn a_host_without_gzip_gets_and_gives_everything_plain() {
    let desk = Desk::with(altered("s/command -v gzip/false/; s/gzip /no-gzip /g")).await;
    let content = dump(2 * BLOCK);
    fs::write(desk.here("a"), &content).unwrap();
    let pushed = desk.push("a", "up").await.unwrap();
    let pulled = desk.pull("up", "down").await.unwrap();
    assert!(fs::read(desk.here("down")).unwrap() == content);
    assert_eq!((pushed.moved, pulled.moved), (content.len() as u64, content.len() as u64));
}

#[tokio::test]
async fn a_host_that_packs_badly_puts_nothing_in_place() {
    let wrong = [
        ("s/gzip -1c >&3/{ gzip -1c; head -c 200000000 \\/dev\\/zero; } | gzip -1c >\\&3/", "more than"),
        ("s/gzip -1c >&3/{ gzip -1c | head -c 9999; cat; } >\\&3/", "unpack"),
        ("s/gzip -1c >&3/cat >\\&3/", "unpack"),
        ("s/gzip -1c >&3/gzip -1c | tr a b >\\&3/", "unpack"),
        ("s/gzip -1c >&3/{ gzip -1c | head -c 9999 >\\&3; kill $$; }/", ""),
    ];
    for (how, why) in wrong {
        let desk = Desk::with(altered(how)).await;
        fs::write(desk.there("a"), dump(2 * BLOCK)).unwrap();
        let error = desk.pull("a", "b").await.unwrap_err();
        let is_told = match &error {
            TransferError::Protocol(_) => error.to_string().contains(why),
            TransferError::Host { .. } => why.is_empty(),
            _ => false,
        };
        assert!(is_told, "{how}: {error:?}");
        assert!(!Path::new(&desk.here("b")).exists());
    }
}
