use std::future::pending;

use tempfile::TempDir;

use super::*;

const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
];
/// Much more than any of these takes.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A file that has the first key, and a host that is followed there.
fn host() -> (TempDir, HostKeyUpdate) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    std::fs::write(&file, format!("web1 {}\n", KEYS[0])).unwrap();
    let update = HostKeyUpdate {
        names: Names { host: "web1".to_owned(), address: None },
        files: vec![file],
        hash_names: false,
        algorithms: Arc::default(),
        required_rsa_size: 1024,
    };
    (directory, update)
}

/// A host that has listed both keys.
fn announced() -> oneshot::Receiver<Vec<PublicKey>> {
    let (announce, announced) = oneshot::channel();
    announce.send(KEYS.map(|key| PublicKey::from_openssh(key).unwrap()).to_vec()).unwrap();
    announced
}

fn lines_of(directory: &TempDir) -> usize {
    std::fs::read_to_string(directory.path().join("known_hosts")).unwrap().lines().count()
}

#[tokio::test(start_paused = true)]
async fn hosts_that_owe_a_proof_are_waited_for_together_and_not_for_long() {
    let (mut directories, mut all, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (directory, update) = host();
        let (ask, is_asked) = oneshot::channel();
        all.push(Following::start(update, announced(), async |_| {
            ask.send(()).unwrap();
            pending().await
        }));
        directories.push(directory);
        asked.push(is_asked);
    }
    for is_asked in asked {
        is_asked.await.unwrap();
    }
    let start = Instant::now();
    Following::end(all, FOR_EVER).await;
    let took = start.elapsed();
    assert!((LAST_WAIT..LAST_WAIT * 2).contains(&took), "{took:?}");
    assert!(directories.iter().all(|directory| lines_of(directory) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_comes_at_the_last_moment_counts() {
    let (directory, update) = host();
    let following = Following::start(update, announced(), async |keys| {
        assert_eq!(keys.len(), 1);
        sleep(LAST_WAIT / 2).await;
        Ok(())
    });
    Following::end(vec![following], FOR_EVER).await;
    assert_eq!(lines_of(&directory), 2);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_lists_no_keys_is_not_waited_for() {
    let (_announce, announced) = oneshot::channel();
    let following = Following::start(host().1, announced, async |_| Ok(()));
    let start = Instant::now();
    Following::end(vec![following], FOR_EVER).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_lasts_waits_longer_for_a_proof_but_not_for_ever() {
    let (directory, update) = host();
    let mut following = Following::start(update, announced(), async |_| pending().await);
    let start = Instant::now();
    (&mut following.task).await.unwrap();
    let took = start.elapsed();
    assert!((PATIENCE..PATIENCE + LAST_WAIT).contains(&took), "{took:?}");
    assert_eq!(lines_of(&directory), 1);
}
