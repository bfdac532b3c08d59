//! Servers that mean harm with the list of their host keys: it costs little, the run is none the worse for it, and the
//! operator's file says what it said before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stdbctl_ssh::{ConnectOptions, Ending, connect};
use stdbctl_tests::rogue::{Fields, Rogue, Visit, string, uint};

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

fn serve(visit: &mut Visit, lists: Lists, proof: Proof, asked: &AtomicUsize) -> io::Result<()> {
    visit.admit()?;
    for list in lists(&visit.host_key()) {
        let keys = list.iter().flat_map(string);
        let packet: Vec<u8> =
            [vec![80], string("hostkeys-00@openssh.com"), vec![0]].concat().into_iter().chain(keys).collect();
        visit.wire.send(&packet)?;
    }
    let mut channel = 0;
    loop {
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
                let status = [string("exit-status"), vec![0], uint(0)].concat();
                visit.wire.send(&[vec![98], uint(channel), status].concat())?;
                visit.wire.send(&[vec![97], uint(channel)].concat())?;
            }
            _ => {}
        }
    }
}

/// What a session with such a server leaves of the operator's file, what was there before, and how many proofs it was
/// asked for.
async fn meet(lists: Lists, proof: Proof) -> (String, String, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let rogue = Rogue::start(move |visit| serve(visit, lists, proof, &counted));
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut keygen = std::process::Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path("key"));
    assert!(keygen.status().unwrap().success());
    let known = format!("# mine\n{}other.example {}", rogue.known_host, "ssh-ed25519 AAAA\n");
    std::fs::write(path("known_hosts"), &known).unwrap();
    let mut options = ConnectOptions::new(format!("ubuntu@{}", rogue.address).parse().unwrap());
    options.agent_socket = None;
    options.identity_files = vec![path("key")];
    (options.known_hosts, options.global_known_hosts) = (vec![path("known_hosts")], Vec::new());
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
    (std::fs::read_to_string(path("known_hosts")).unwrap(), known, asked.load(Ordering::SeqCst))
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
        let (after, before, asked) = meet(one_new, proof).await;
        assert_eq!((after, asked), (before, 1), "{name}");
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
        let (after, before, asked) = meet(lists, || None).await;
        assert_eq!((after, asked), (before, 0), "{name}");
    }
}

#[tokio::test]
async fn only_the_first_list_counts() {
    let lists: Lists = |own| {
        let first = std::iter::once(vec![own.to_vec()]);
        first.chain((0..500).map(|number| vec![new_key(number)])).collect()
    };
    let (after, before, asked) = meet(lists, || None).await;
    assert_eq!((after, asked), (before, 0));
}
