//! A host that changes its keys: the user's files follow it as OpenSSH has them follow, and only then.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::future::join_all;
use stdbctl_ssh::{Recording, UnknownKey, connect};
use tokio::process::Command;
use tokio::time::timeout;

use crate::configured::{Operator, host};
use crate::sshd::{DEADLINE, Sshd, generate_key, output_of};

/// Runs until the file is no longer what it was. One that is left alone needs no waiting: the list of keys comes before
/// any command begins, and nobody leaves undecided.
const WAIT: &str = "while cmp -s FILE FILE.before; do sleep 0.05; done";

/// Whether the file is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Same,
    Changed,
}

/// A line for a server under its name, with one of its keys.
fn line(sshd: &Sshd, kind: &str) -> String {
    format!("[127.0.0.1]:{} {}", sshd.port, sshd.public_key(&format!("host_{kind}")))
}

/// What stdbctl and `ssh` make of this file, in this order. `FILE` in the lines of the configuration is its name.
async fn follow(sshd: &Sshd, known_hosts: &str, lines: &str, expected: Expected) -> (String, String) {
    let operator = Operator::knowing(&[]);
    let file = |name: &str| {
        operator.write(name, known_hosts);
        operator.write(&format!("{name}.before"), known_hosts);
        let lines = format!("{lines}UserKnownHostsFile DIR/FILE DIR/FILE.second\nUpdateHostKeys yes\n");
        operator.configure(&(host("web1", sshd) + &lines.replace("FILE", name)));
        operator.path(name)
    };
    let command = |file: &Path| match expected {
        Expected::Same => "true".to_owned(),
        Expected::Changed => WAIT.replace("FILE", &file.display().to_string()),
    };
    let ours = file("ours");
    let session = operator.connect("web1").await.unwrap();
    output_of(&session, &command(&ours)).await;
    session.close().await;
    let theirs = file("theirs");
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(operator.path("config")).arg("web1").arg(command(&theirs)).stdin(Stdio::null());
    let output = timeout(DEADLINE, ssh.kill_on_drop(true).output()).await.expect("ssh hangs").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (std::fs::read_to_string(ours).unwrap(), std::fs::read_to_string(theirs).unwrap())
}

/// The same for files and configurations that have names.
async fn follow_all<'t>(
    sshd: &Sshd,
    table: &'t [(&'t str, String, &'t str)],
    expected: Expected,
) -> Vec<(&'t str, &'t String, String, String)> {
    let each = table.iter().map(async |(name, before, lines)| {
        let (ours, theirs) = follow(sshd, before, lines, expected).await;
        (*name, before, ours, theirs)
    });
    join_all(each).await
}

#[tokio::test]
async fn a_rotation_is_followed_as_ssh_follows_it() {
    let mut sshd = Sshd::start_with(&["ed25519"], "");
    let before = format!("# mine\n{}other.example {}", line(&sshd, "ed25519"), sshd.public_key("id_ed25519"));
    let (ours, theirs) = follow(&sshd, &before, "", Expected::Same).await;
    assert_eq!((&ours, &theirs), (&before, &before), "nothing is to be done");
    // The server gets two more keys, and is still known by the first.
    sshd.change_host_keys(&["ed25519", "ecdsa", "rsa"]);
    let (ours, theirs) = follow(&sshd, &before, "", Expected::Changed).await;
    assert_eq!(ours, before.clone() + &line(&sshd, "ecdsa") + &line(&sshd, "rsa"));
    assert_eq!(ours, theirs);
    // The first is taken away, and it is known by the others.
    sshd.change_host_keys(&["ecdsa", "rsa"]);
    let (ours, theirs) = follow(&sshd, &ours, "", Expected::Changed).await;
    assert_eq!(
        ours,
        before.replace(&line(&sshd, "ed25519"), "") + &line(&sshd, "ecdsa") + &line(&sshd, "rsa")
    );
    assert_eq!(ours, theirs);
    let (again, _) = follow(&sshd, &ours, "", Expected::Same).await;
    assert_eq!(again, ours);
}

#[tokio::test]
async fn hands_are_kept_off_where_ssh_keeps_off() {
    let sshd = Sshd::start_with(&["ed25519", "ecdsa"], "");
    generate_key(&sshd.path("other"), "ed25519", "");
    let (known, port) = (line(&sshd, "ed25519"), sshd.port);
    let (key, other) = (sshd.public_key("host_ed25519"), sshd.public_key("other"));
    let ecdsa = sshd.public_key("host_ecdsa");
    let table = [
        ("a wildcard", format!("[127.0.0.*]:{port} {key}"), ""),
        ("a wildcard beside it", format!("{known}[127.0.0.?]:{port} {key}"), ""),
        ("three names", format!("[127.0.0.1]:{port},a,b {key}"), ""),
        ("an authority", format!("{known}@cert-authority * {other}"), ""),
        ("a revoked key", format!("{known}@revoked * {other}"), ""),
        ("another name with the key", format!("{known}web2 {key}"), ""),
        ("another name with the new key", format!("{known}web2 {ecdsa}"), ""),
        ("the name without its port", format!("127.0.0.1 {key}"), ""),
        ("the name of the machine's file", known.clone(), "GlobalKnownHostsFile DIR/FILE\n"),
        ("not wanted", known.clone(), "UpdateHostKeys no\n"),
        ("not to be asked", known.clone(), "UpdateHostKeys ask\n"),
        ("types that may not be used", known.clone(), "HostKeyAlgorithms ssh-ed25519\n"),
    ];
    for (name, before, ours, theirs) in follow_all(&sshd, &table, Expected::Same).await {
        assert_eq!((&ours, &theirs), (before, before), "{name}");
    }
}

#[tokio::test]
async fn files_are_followed_wherever_ssh_follows_them() {
    let sshd = Sshd::start_with(&["ed25519", "ecdsa"], "");
    generate_key(&sshd.path("other"), "ed25519", "");
    let (known, port) = (line(&sshd, "ed25519"), sshd.port);
    let (key, other) = (sshd.public_key("host_ed25519"), sshd.public_key("other"));
    let table = [
        ("two names", format!("[127.0.0.1]:{port},web1 {key}"), ""),
        ("an alias", format!("web1 {key}"), "HostKeyAlias web1\n"),
        ("another host's authority", format!("{known}@cert-authority *.example {other}"), ""),
        ("an old key", format!("{known}[127.0.0.1]:{port} {}", sshd.public_key("id_ed25519")), ""),
        ("no end", known.trim_end().to_owned(), ""),
        ("an address", known.clone(), "CheckHostIP yes\n"),
    ];
    for (name, before, ours, theirs) in follow_all(&sshd, &table, Expected::Changed).await {
        assert_ne!(ours, *before, "{name}");
        assert_eq!(ours, theirs, "{name}");
    }
}

#[tokio::test]
async fn what_is_added_can_be_hashed() {
    let sshd = Sshd::start_with(&["ed25519", "ecdsa"], "");
    let (known, lines) = (line(&sshd, "ed25519"), "HashKnownHosts yes\n");
    let (ours, theirs) = follow(&sshd, &known, lines, Expected::Changed).await;
    for text in [ours, theirs] {
        assert!(text.starts_with(&line(&sshd, "ed25519")), "{text}");
        let added = text.lines().nth(1).unwrap();
        assert!(added.starts_with("|1|") && added.ends_with(sshd.public_key("host_ecdsa").trim()), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_was_just_accepted_vouches_for_no_other() {
    let sshd = Sshd::start_with(&["ed25519", "ecdsa"], "");
    for (unknown_key, lines) in [(UnknownKey::AcceptNew, 1), (UnknownKey::Ask(Arc::new(|_| true)), 2)] {
        sshd.write("known_hosts", "");
        let mut options = sshd.options();
        options.unknown_key = unknown_key;
        options.recording = Recording { hash_names: true, follow_changes: true, with_address: false };
        let session = connect(options).await.unwrap();
        let file = sshd.path("known_hosts");
        // The first line is there before the login.
        let wait = format!("until test $(wc -l < {}) -ge {lines}; do sleep 0.05; done", file.display());
        output_of(&session, &wait).await;
        session.close().await;
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(text.lines().all(|line| line.starts_with("|1|")), "{text}");
    }
}

#[tokio::test]
async fn hosts_of_one_run_lose_none_of_each_others_lines() {
    let servers: Vec<_> = (0..8).map(|_| Sshd::start_with(&["ed25519", "ecdsa"], "")).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    let lines: Vec<_> = servers.iter().map(|sshd| line(sshd, "ed25519")).collect();
    std::fs::write(&file, lines.concat()).unwrap();
    join_all(servers.iter().map(async |sshd| {
        let mut options = sshd.options();
        options.known_hosts = vec![file.clone()];
        options.recording.follow_changes = true;
        let session = connect(options).await.unwrap();
        let new = line(sshd, "ecdsa");
        let wait = format!("until grep -qF '{}' {}; do sleep 0.05; done", new.trim_end(), file.display());
        output_of(&session, &wait).await;
        session.close().await;
    }))
    .await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(&lines.concat()), "{text}");
    assert_eq!(text.lines().count(), 16, "{text}");
    for sshd in &servers {
        assert!(text.contains(&line(sshd, "ecdsa")), "{text}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}
