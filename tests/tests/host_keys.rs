//! Servers that mean harm with their host keys. One that lies about its key is refused; one that lies in the list of its
//! keys costs little, the run is none the worse for it, and the operator's file says what it said before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stdbctl_ssh::{ConnectError, ConnectOptions, Ending, HostKeyError, connect};
use stdbctl_tests::rogue::{Fields, HostKey, Rogue, Visit, string, uint};
use tempfile::TempDir;

/// How long a session may take that nobody disturbs, on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// What the server sends once somebody is logged in; it has this key.
type Lists = fn(&[u8]) -> Vec<Vec<Vec<u8>>>;
/// What it answers when it is to prove its keys; None to say nothing.
type Proof = fn() -> Option<Vec<u8>>;

fn new_key(number: usize) -> Vec<u8> {
    let mut key = [9; 32];
    for (byte, from) in key.iter_mut().zip(uint(number)) {
        *byte = from;
    }
    [string("ssh-ed25519"), string(key)].concat()
}

fn rsa_key(bytes: usize) -> Vec<u8> {
    [string("ssh-rsa"), string([1, 0, 1]), string([vec![0], vec![0xff; bytes]].concat())].concat()
}

/// Ends a command once it was asked as often as it is to be.
fn serve(
    visit: &mut Visit,
    lists: Lists,
    proof: Proof,
    asked: &AtomicUsize,
    expected: usize,
) -> io::Result<()> {
    visit.admit()?;
    for list in lists(&visit.host_key()) {
        let keys = list.iter().flat_map(string);
        let packet: Vec<u8> =
            [vec![80], string("hostkeys-00@openssh.com"), vec![0]].concat().into_iter().chain(keys).collect();
        visit.wire.send(&packet)?;
    }
    let (mut channel, mut is_running) = (0, false);
    loop {
        if is_running && asked.load(Ordering::SeqCst) == expected {
            let status = [string("exit-status"), vec![0], uint(0)].concat();
            visit.wire.send(&[vec![98], uint(channel), status].concat())?;
            visit.wire.send(&[vec![97], uint(channel)].concat())?;
            is_running = false;
        }
        let packet = visit.wire.receive()?;
        let mut fields = Fields(&packet);
        match fields.byte() {
            80 if fields.string() == b"hostkeys-prove-00@openssh.com" => {
                asked.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = proof() {
                    visit.wire.send(&answer)?;
                }
            }
            90 => {
                let _kind = fields.string();
                channel = usize::try_from(fields.uint()).map_err(io::Error::other)?;
                visit.wire.send(&[vec![91], uint(channel), uint(0), uint(1 << 20), uint(32768)].concat())?;
            }
            98 => {
                visit.wire.send(&[vec![99], uint(channel)].concat())?;
                is_running = true;
            }
            _ => {}
        }
    }
}

fn generate_key(file: &Path, kind: &str) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", kind, "-m", "PEM", "-N", "", "-f"]).arg(file);
    assert!(keygen.status().unwrap().success());
}

/// An operator whose file says this, on the way to a rogue.
fn operator(rogue: &Rogue, known_hosts: &str) -> (TempDir, ConnectOptions) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    generate_key(&path("key"), "ed25519");
    std::fs::write(path("known_hosts"), known_hosts).unwrap();
    let mut options = ConnectOptions::new(format!("ubuntu@{}", rogue.address).parse().unwrap());
    options.agent_socket = None;
    options.identity_files = vec![path("key")];
    (options.known_hosts, options.global_known_hosts) = (vec![path("known_hosts")], Vec::new());
    (directory, options)
}

/// What a session with such a server leaves of the operator's file, and what was there before. It is to be asked for
/// so many proofs.
async fn meet(lists: Lists, proof: Proof, expected: usize) -> (String, String) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let rogue = Rogue::start(move |visit| serve(visit, lists, proof, &counted, expected));
    let known = format!("# mine\n{}other.example {}", rogue.known_host, "ssh-ed25519 AAAA\n");
    let (directory, mut options) = operator(&rogue, &known);
    options.recording.follow_changes = true;
    let session = async {
        let session = connect(options).await.unwrap();
        let (output, _none) = tokio::sync::mpsc::channel(1);
        let ending = session.exec("true", tokio::io::empty(), output).await.unwrap();
        assert_eq!(ending, Ending::Status(0));
        session.close().await;
    };
    tokio::time::timeout(LONGEST, session).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "nothing is left beside it");
    assert_eq!(asked.load(Ordering::SeqCst), expected);
    (std::fs::read_to_string(directory.path().join("known_hosts")).unwrap(), known)
}

/// One list, with a key that is to be proven.
fn one_new(own: &[u8]) -> Vec<Vec<Vec<u8>>> {
    vec![vec![own.to_vec(), new_key(0)]]
}

#[tokio::test]
async fn what_is_not_proven_is_not_recorded() {
    let proofs: [(&str, Proof); 6] = [
        ("withheld", || None),
        ("refused", || Some(vec![82])),
        ("empty", || Some(vec![81])),
        ("noise", || Some([vec![81], vec![0xff; 30_000]].concat())),
        ("of another kind", || {
            Some([vec![81], string([string("ssh-rsa"), string([7; 256])].concat())].concat())
        }),
        ("wrong", || Some([vec![81], string([string("ssh-ed25519"), string([7; 64])].concat())].concat())),
    ];
    for (name, proof) in proofs {
        let (after, before) = meet(one_new, proof, 1).await;
        assert_eq!(after, before, "{name}");
    }
}

#[tokio::test]
async fn lists_that_no_honest_server_sends_change_nothing() {
    let lists: [(&str, Lists); 8] = [
        ("none", |_| vec![vec![]]),
        ("only noise", |_| vec![vec![vec![0xff; 30_000], Vec::new(), b"ssh-ed25519".to_vec()]]),
        ("hundreds", |own| vec![(0..550).map(new_key).chain([own.to_vec()]).collect()]),
        ("one twice", |own| vec![vec![own.to_vec(), new_key(0), new_key(0)]]),
        ("its own twice", |own| vec![vec![own.to_vec(), own.to_vec()]]),
        ("a giant", |own| vec![vec![own.to_vec(), rsa_key(25_000)]]),
        ("a dwarf", |own| vec![vec![own.to_vec(), rsa_key(64)]]),
        ("only a giant", |_| vec![vec![rsa_key(25_000)]]),
    ];
    for (name, lists) in lists {
        let (after, before) = meet(lists, || None, 0).await;
        assert_eq!(after, before, "{name}");
    }
}

#[tokio::test]
async fn only_the_first_list_counts() {
    let lists: Lists = |own| {
        let first = std::iter::once(vec![own.to_vec()]);
        first.chain((0..500).map(|number| vec![new_key(number)])).collect()
    };
    let (after, before) = meet(lists, || None, 0).await;
    assert_eq!(after, before);
}

/// What comes of logging in to a server that shows this key, which is known.
async fn recognise(host_key: HostKey) -> Result<(), ConnectError> {
    let rogue = Rogue::start_as(host_key, Visit::admit);
    let (_directory, options) = operator(&rogue, &rogue.known_host);
    tokio::time::timeout(LONGEST, connect(options)).await.unwrap().map(drop)
}

#[tokio::test]
async fn a_key_of_a_type_that_was_not_agreed_on_is_refused() {
    recognise(HostKey::ed25519()).await.unwrap();
    for agreed in ["ecdsa-sha2-nistp256", "rsa-sha2-512"] {
        let error = recognise(HostKey::ed25519().agreeing_on(agreed)).await.unwrap_err();
        let ConnectError::HostKey(HostKeyError::OtherType { key_type, .. }) = error else {
            panic!("{agreed}: {error:?}")
        };
        assert_eq!(key_type, "ssh-ed25519");
    }
}

#[tokio::test]
async fn a_signature_by_another_algorithm_than_was_agreed_on_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host_rsa");
    generate_key(&file, "rsa");
    let [sha1, sha256, sha512] =
        [("ssh-rsa", "sha1"), ("rsa-sha2-256", "sha256"), ("rsa-sha2-512", "sha512")];
    let key = |(algorithm, digest)| HostKey::rsa(&file, algorithm, digest);
    for honest in [sha256, sha512] {
        recognise(key(honest)).await.unwrap();
    }
    for (signs, agreed) in [(sha1, sha512), (sha1, sha256), (sha256, sha512), (sha512, sha256)] {
        let error = recognise(key(signs).agreeing_on(agreed.0)).await.unwrap_err();
        let ConnectError::HostKey(HostKeyError::OtherSignature { used, .. }) = error else {
            panic!("{signs:?} for {agreed:?}: {error:?}")
        };
        assert_eq!(used, signs.0);
    }
}
