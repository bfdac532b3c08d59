//! The machine stdbctl runs on, as a host.

#![expect(clippy::unwrap_used, reason = "the functions between the tests fail as the tests do")]

use stdbctl_engine::host::{Ending, Host as _, HostError, Output, Sent, Stdin};
use stdbctl_engine::local::LocalHost;
use stdbctl_engine::root::RootError;
use tokio::sync::mpsc;

/// What a script writes to standard output and standard error, and how it ends.
async fn run(script: &str, payloads: Vec<Stdin>) -> (String, String, Result<Ending, HostError>) {
    let first = Stdin::Bytes(format!("{}\n{script}", script.len()).into_bytes());
    let (sender, mut receiver) = mpsc::channel(1);
    let stdin = std::iter::once(first).chain(payloads).collect();
    let host = LocalHost::default();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let reading = async {
        while let Some(output) = receiver.recv().await {
            match output {
                Output::Stdout(piece) => out.extend(piece),
                Output::Stderr(piece) => err.extend(piece),
            }
        }
    };
    let (ending, ()) = tokio::join!(host.run(stdin, sender), reading);
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), ending)
}

/// Whether this user is root, or may become it without a password.
async fn may_be_root() -> bool {
    let (out, _, ending) = run("id -u", Vec::new()).await;
    match ending {
        Ok(_) => assert_eq!(out, "0\n"),
        Err(error) => assert!(RootError::is_behind(&error), "{}", error.chain()),
    }
    out == "0\n"
}

fn file(directory: &tempfile::TempDir, bytes: &[u8], len: u64) -> (Stdin, Sent) {
    let (path, sent) = (directory.path().join("payload"), Sent::default());
    std::fs::write(&path, bytes).unwrap();
    (Stdin::File { path, len, sent: sent.clone() }, sent)
}

#[tokio::test]
async fn a_script_runs_as_root_and_reads_its_payloads_in_order() {
    if !may_be_root().await {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (large, sent) = file(&directory, &vec![b'x'; 1 << 20], 1 << 20);
    let script = "printf '%s|' \"$0\" \"$1\"; head -c 5; wc -c; echo complaint >&2; exit 3";
    let (out, err, ending) = run(script, vec![Stdin::Bytes(b"hello".to_vec()), large]).await;
    assert_eq!(out, "stdbctl||hello1048576\n", "no connection to tell of");
    assert_eq!(err, "complaint\n");
    assert_eq!(ending.unwrap(), Ending::Status(3));
    assert_eq!(sent.bytes(), 1 << 20);
}

#[tokio::test]
async fn a_script_that_does_not_read_its_payload_ends_as_it_ends() {
    if !may_be_root().await {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (large, _) = file(&directory, &vec![b'x'; 1 << 20], 1 << 20);
    let (_, _, ending) = run("exit 4", vec![large]).await;
    assert_eq!(ending.unwrap(), Ending::Status(4));
}

#[tokio::test]
async fn a_local_file_that_is_gone_or_shorter_is_an_error_that_names_it() {
    if !may_be_root().await {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (short, _) = file(&directory, b"three", 10);
    let (out, _, ending) = run("wc -c", vec![short]).await;
    assert_eq!(out, "5\n");
    assert!(ending.unwrap_err().message.ends_with("payload has become shorter while it was sent"));
    let (gone, _) = file(&directory, b"", 10);
    std::fs::remove_file(directory.path().join("payload")).unwrap();
    let (_, _, ending) = run("wc -c", vec![gone]).await;
    let error = ending.unwrap_err();
    assert!(
        error.message.starts_with("cannot read ") && error.chain().contains("No such file"),
        "{}",
        error.chain()
    );
}
