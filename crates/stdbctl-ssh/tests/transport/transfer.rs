//! Files to and from a real sshd: whatever their size and name, cut off, damaged, and without permission.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stdbctl_ssh::{Progress, Session, TransferError, TransferOptions, Transferred, connect, pull, push};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::proxy::{DISTANCE, Fault, Proxy};
use crate::sshd::{DEADLINE, Sshd};

pub(crate) const BLOCK: usize = 4 << 20;
const SMALL: usize = 1 << 20;

/// Bytes that repeat nowhere near a block.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Two directories: one is this side's, the other the host's.
pub(crate) struct Desk {
    pub(crate) session: Session,
    pub(crate) sshd: Sshd,
    here: TempDir,
    there: TempDir,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::with(Sshd::start()).await
    }

    pub(crate) async fn with(sshd: Sshd) -> Self {
        let session = sshd.connect().await;
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self { session, sshd, here, there }
    }

    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.here.path().join(name)
    }

    pub(crate) fn there(&self, name: &str) -> String {
        self.there.path().join(name).to_str().unwrap().to_owned()
    }

    /// The same sshd behind a proxy.
    pub(crate) async fn through(&self, delay: Duration, fault: Fault) -> (Session, Proxy) {
        let proxy = Proxy::start(self.sshd.address(), delay, fault).await;
        let known = self.sshd.public_key("host_ed25519");
        self.sshd.write("known_hosts_proxy", &format!("[127.0.0.1]:{} {known}", proxy.port));
        let mut options = self.sshd.options();
        options.target.port = Some(proxy.port);
        options.known_hosts = vec![self.sshd.path("known_hosts_proxy")];
        (connect(options).await.unwrap(), proxy)
    }

    pub(crate) async fn push(&self, from: &str, to: &str) -> Result<Transferred, TransferError> {
        push_over(&self.session, &self.here(from), &self.there(to)).await
    }

    pub(crate) async fn pull(&self, from: &str, to: &str) -> Result<Transferred, TransferError> {
        let options = TransferOptions::default();
        let there = self.there(from);
        // A path that ends in a slash must keep it.
        let here = format!("{}/{to}", self.here.path().display());
        timeout(DEADLINE, pull(&self.session, &there, Path::new(&here), &options)).await.expect("it hangs")
    }
}

pub(crate) async fn pull_over(
    session: &Session,
    from: &str,
    to: &Path,
) -> Result<Transferred, TransferError> {
    timeout(DEADLINE, pull(session, from, to, &TransferOptions::default())).await.expect("it hangs")
}

pub(crate) async fn push_over(
    session: &Session,
    from: &Path,
    to: &str,
) -> Result<Transferred, TransferError> {
    timeout(DEADLINE, push(session, from, to, &TransferOptions::default())).await.expect("it hangs")
}

/// What a transfer leaves behind beside its target.
fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap_or("").starts_with(".stdbctl-")).collect()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn files_of_every_size_go_there_and_back() {
    let desk = Desk::new().await;
    let sizes = [0, 1, 1000, SMALL, SMALL + 1, BLOCK - 1, BLOCK, BLOCK + 1];
    for size in sizes {
        let content = noise(size, size as u64);
        fs::write(desk.here("a"), &content).unwrap();
        fs::set_permissions(desk.here("a"), fs::Permissions::from_mode(0o640)).unwrap();
        let name = format!("f{size}");
        let pushed = desk.push("a", &name).await.unwrap();
        let (changed, moved) = (pushed.changed, pushed.moved);
        assert_eq!((changed, pushed.unchanged, pushed.bytes, moved), (1, 0, size as u64, size as u64));
        assert!(fs::read(desk.there(&name)).unwrap() == content, "{size}");
        assert_eq!(mode(desk.there(&name)), 0o640, "{size}");

        let pulled = desk.pull(&name, "back").await.unwrap();
        assert_eq!((pulled.changed, pulled.moved), (1, size as u64));
        assert!(fs::read(desk.here("back")).unwrap() == content, "{size}");
        assert_eq!(mode(desk.here("back")), 0o640, "{size}");

        let pushed = desk.push("a", &name).await.unwrap();
        assert_eq!((pushed.changed, pushed.unchanged, pushed.moved), (0, 1, 0), "{size} again");
        let pulled = desk.pull(&name, "back").await.unwrap();
        assert_eq!((pulled.changed, pulled.unchanged), (0, 1), "{size} again");
        fs::remove_file(desk.here("back")).unwrap();
    }
    assert!(leftovers(desk.here.path()).is_empty() && leftovers(desk.there.path()).is_empty());
}

#[tokio::test]
async fn what_is_there_keeps_its_mode_and_its_link() {
    let desk = Desk::new().await;
    for size in [10, SMALL + 10] {
        fs::write(desk.here("a"), noise(size, 1)).unwrap();
        fs::write(desk.there("real"), "old").unwrap();
        fs::set_permissions(desk.there("real"), fs::Permissions::from_mode(0o604)).unwrap();
        let _is_there_the_second_time = symlink("real", desk.there("link"));
        desk.push("a", "link").await.unwrap();
        assert_eq!(mode(desk.there("real")), 0o604);
        assert!(fs::read(desk.there("real")).unwrap() == noise(size, 1));
        assert!(fs::symlink_metadata(desk.there("link")).unwrap().is_symlink());

        fs::write(desk.here("mine"), "old").unwrap();
        fs::set_permissions(desk.here("mine"), fs::Permissions::from_mode(0o606)).unwrap();
        desk.pull("link", "mine").await.unwrap();
        assert_eq!(mode(desk.here("mine")), 0o606);
        assert!(fs::read(desk.here("mine")).unwrap() == noise(size, 1));
    }
}

#[tokio::test]
async fn names_may_be_anything() {
    let desk = Desk::new().await;
    for (number, name) in ["a b", "it's", "new\nline\n", "-rf", "$(id)`id`\\n!", "\"ü\" *"].iter().enumerate()
    {
        for size in [9, SMALL + 9] {
            let content = noise(size, number as u64);
            fs::write(desk.here(name), &content).unwrap();
            desk.push(name, name).await.unwrap();
            assert!(fs::read(desk.there(name)).unwrap() == content, "{name:?}");
            fs::remove_file(desk.here(name)).unwrap();
            desk.pull(name, name).await.unwrap();
            assert!(fs::read(desk.here(name)).unwrap() == content, "{name:?}");
        }
    }
    fs::create_dir(desk.there("into")).unwrap();
    desk.push("it's", "into/").await.unwrap();
    assert!(Path::new(&desk.there("into/it's")).exists());
}

#[tokio::test]
async fn fifty_megabytes_cut_off_at_random_go_on_where_they_were() {
    const SIZE: usize = 50_000_000;
    let desk = Desk::new().await;
    let content = noise(SIZE, 5);
    fs::write(desk.here("a"), &content).unwrap();
    // The proxy counts what the server says, so an upload is given up at some progress instead.
    for percent in [30, 60, 90] {
        let stop = Arc::new(Notify::new());
        let heard = Arc::clone(&stop);
        let watch = Arc::new(move |progress: Progress| {
            if progress.done > (SIZE / 100 * percent) as u64 {
                heard.notify_one();
            }
        });
        let options = TransferOptions { watch: Some(watch), ..TransferOptions::default() };
        let session = desk.sshd.connect().await;
        let (from, to) = (desk.here("a"), desk.there("up"));
        tokio::select! {
            ended = push(&session, &from, &to, &options) => panic!("{ended:?}"),
            () = stop.notified() => {}
        }
        drop(session);
        assert!(!Path::new(&to).exists(), "not before it is whole");
    }
    let pushed = desk.push("a", "up").await.unwrap();
    assert!(fs::read(desk.there("up")).unwrap() == content);
    // What each channel was in the middle of is lost: with a busy host that may be two blocks of each.
    assert!(pushed.kept >= BLOCK as u64, "{pushed:?}");
    assert_eq!(pushed.moved, pushed.bytes - pushed.kept);
    assert!(leftovers(desk.there.path()).is_empty());

    // Once: what is on its way then comes too, and may be half of it.
    let (session, proxy) = desk.through(Duration::ZERO, Fault::None).await;
    let watch = Arc::new(move |progress: Progress| {
        if progress.done > progress.kept + (SIZE / 100 * 35) as u64 {
            proxy.cut();
        }
    });
    let options = TransferOptions { watch: Some(watch), ..TransferOptions::default() };
    let (from, to) = (desk.there("up"), desk.here("down"));
    let error = timeout(DEADLINE, pull(&session, &from, &to, &options)).await.unwrap().unwrap_err();
    assert!(matches!(error, TransferError::Lost(_) | TransferError::Command(_)), "{error:?}");
    assert!(!to.exists());
    let pulled = desk.pull("up", "down").await.unwrap();
    assert!(fs::read(desk.here("down")).unwrap() == content);
    // A third has come, and of that what three channels were in the middle of is lost.
    assert!(pulled.kept >= BLOCK as u64, "{pulled:?}");
    assert_eq!(pulled.moved, pulled.bytes - pulled.kept);
    assert!(leftovers(desk.here.path()).is_empty());
}

#[tokio::test]
async fn a_wrong_block_that_has_the_right_size_is_sent_again() {
    let desk = Desk::new().await;
    let content = noise(5 * BLOCK, 6);
    fs::write(desk.here("a"), &content).unwrap();
    let stop = Arc::new(Notify::new());
    let heard = Arc::clone(&stop);
    let watch = Arc::new(move |progress: Progress| {
        if progress.done == progress.total && progress.total > 0 {
            heard.notify_one();
        }
    });
    let options = TransferOptions { watch: Some(watch), ..TransferOptions::default() };
    let session = desk.sshd.connect().await;
    let (from, to) = (desk.here("a"), desk.there("up"));
    tokio::select! {
        biased;
        () = stop.notified() => {}
        ended = push(&session, &from, &to, &options) => panic!("{ended:?}"),
    }
    session.close().await;
    // All was sent; what is there is replaced by something that is right but for one byte.
    let part = leftovers(desk.there.path()).pop().unwrap();
    let mut planted = content.clone();
    planted[2 * BLOCK + 77] ^= 1;
    fs::write(&part, &planted).unwrap();
    let pushed = desk.push("a", "up").await.unwrap();
    assert_eq!(pushed.moved, BLOCK as u64);
    assert!(fs::read(desk.there("up")).unwrap() == content);

    fs::write(desk.here("down"), &planted).unwrap();
    let pulled = desk.pull("up", "down").await.unwrap();
    assert!(fs::read(desk.here("down")).unwrap() == content);
    assert_eq!(pulled.changed, 1);
}

#[tokio::test]
async fn a_directory_goes_there_and_back_as_it_is() {
    let desk = Desk::new().await;
    let tree = desk.here("tree");
    fs::create_dir_all(tree.join("in/side/empty")).unwrap();
    for number in 0..60 {
        fs::write(tree.join(format!("in/f {number}")), noise(number * 100, 7)).unwrap();
    }
    fs::write(tree.join("in/side/big"), noise(SMALL + 3, 3)).unwrap();
    fs::set_permissions(tree.join("in/f 7"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(tree.join("in/side"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("../in/f 7", tree.join("in/link")).unwrap();
    symlink("/nowhere", tree.join("dangling")).unwrap();

    let pushed = desk.push("tree", "up").await.unwrap();
    // Four directories, two links, 61 files.
    assert_eq!((pushed.changed, pushed.unchanged), (67, 0));
    let again = desk.push("tree", "up").await.unwrap();
    assert_eq!((again.changed, again.unchanged, again.moved), (0, 67, 0));
    same_tree(&tree, Path::new(&desk.there("up")));

    let pulled = desk.pull("up", "down").await.unwrap();
    assert_eq!((pulled.changed, pulled.unchanged), (67, 0));
    same_tree(&tree, &desk.here("down"));
    fs::write(desk.here("down/in/f 9"), noise(900, 1)).unwrap();
    fs::write(desk.here("down/own"), "stays").unwrap();
    let again = desk.pull("up/", "down").await.unwrap();
    assert_eq!((again.changed, again.unchanged, again.moved), (1, 66, 900));
    fs::remove_file(desk.here("down/own")).unwrap();
    same_tree(&tree, &desk.here("down"));
    desk.pull("up", "down/").await.unwrap();
    same_tree(&tree, &desk.here("down/up"));
}

fn same_tree(one: &Path, other: &Path) {
    let diff =
        std::process::Command::new("diff").args(["-r", "--no-dereference"]).args([one, other]).output();
    let diff = diff.unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    for name in ["in", "in/side", "in/side/empty", "in/f 7", "in/f 8", "in/side/big"] {
        assert_eq!(mode(one.join(name)), mode(other.join(name)), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let desk = Desk::new().await;
    fs::write(desk.here("a"), noise(10, 1)).unwrap();
    fs::write(desk.here("big"), noise(SMALL + 1, 1)).unwrap();
    fs::create_dir(desk.there("dir")).unwrap();
    for from in ["a", "big"] {
        let error = desk.push(from, "no/such/dir").await.unwrap_err();
        assert!(matches!(error, TransferError::NotFound { .. }), "{error:?}");
        let error = desk.push(from, "dir").await.unwrap_err();
        assert!(matches!(error, TransferError::Directory(_)), "{error:?}");
        assert_eq!(error.hints().len(), 1);
        let error = push_over(&desk.session, &desk.here(from), "/proc/version").await.unwrap_err();
        assert!(
            matches!(
                error,
                TransferError::Denied { .. } | TransferError::NotFound { .. } | TransferError::Host { .. }
            ),
            "{error:?}"
        );
    }
    let error = desk.push("none", "x").await.unwrap_err();
    assert!(matches!(error, TransferError::Local { .. }), "{error:?}");
    let error = desk.pull("none", "x").await.unwrap_err();
    assert!(matches!(error, TransferError::NotFound { .. }), "{error:?}");
    fs::create_dir(desk.here("mine")).unwrap();
    fs::write(desk.there("f"), "1").unwrap();
    let error = desk.pull("f", "mine").await.unwrap_err();
    assert!(matches!(error, TransferError::Directory(_)), "{error:?}");
    let error = desk.pull("f", "no/such").await.unwrap_err();
    assert!(matches!(error, TransferError::Local { .. }), "{error:?}");
    let session = &desk.session;
    let error =
        pull(session, "/dev/null", &desk.here("null"), &TransferOptions::default()).await.unwrap_err();
    assert!(matches!(error, TransferError::NotAFile(_)), "{error:?}");
    // Files of the kernel have a size only once they are read.
    pull(session, "/proc/version", &desk.here("version"), &TransferOptions::default()).await.unwrap();
    assert_eq!(fs::read(desk.here("version")).unwrap(), fs::read("/proc/version").unwrap());
    assert!(leftovers(desk.there.path()).is_empty());
}

#[tokio::test]
async fn a_small_file_costs_three_round_trips_up_and_two_down() {
    let desk = Desk::new().await;
    let (session, _proxy) = desk.through(DISTANCE, Fault::None).await;
    fs::write(desk.here("a"), noise(1000, 1)).unwrap();
    let before = session.stats().round_trips;
    push_over(&session, &desk.here("a"), &desk.there("a")).await.unwrap();
    let between = session.stats().round_trips;
    pull(&session, &desk.there("a"), &desk.here("b"), &TransferOptions::default()).await.unwrap();
    let after = session.stats().round_trips;
    assert!(between - before <= 3 && after - between <= 2, "{before} {between} {after}");
    assert_eq!(fs::read(desk.here("b")).unwrap(), noise(1000, 1));
}

#[tokio::test]
async fn a_server_with_few_sessions_is_enough() {
    let desk = Desk::with(Sshd::start_with(&["ed25519"], "MaxSessions 2")).await;
    let content = noise(6 * BLOCK, 2);
    fs::write(desk.here("a"), &content).unwrap();
    desk.push("a", "b").await.unwrap();
    assert!(fs::read(desk.there("b")).unwrap() == content);
    desk.pull("b", "c").await.unwrap();
    assert!(fs::read(desk.here("c")).unwrap() == content);
}

/// Many small files, and a big one that is compared on several channels when it is there already.
#[tokio::test]
async fn a_tree_needs_no_more_than_one_session() {
    for most in ["MaxSessions 1", "MaxSessions 2"] {
        let desk = Desk::with(Sshd::start_with(&["ed25519"], most)).await;
        fs::create_dir(desk.here("a")).unwrap();
        for number in 0..12 {
            fs::write(desk.here("a").join(format!("f{number}")), noise(number * 100, 7)).unwrap();
        }
        fs::write(desk.here("a").join("big"), noise(BLOCK + 1, 3)).unwrap();
        assert_eq!(desk.push("a", "b").await.unwrap().changed, 14, "{most}");
        assert_eq!(desk.push("a", "b").await.unwrap().changed, 0, "{most}");
        desk.pull("b", "c").await.unwrap();
        for entry in fs::read_dir(desk.here("a")).unwrap() {
            let name = entry.unwrap().file_name();
            let [sent, come] = ["a", "c"].map(|side| fs::read(desk.here(side).join(&name)).unwrap());
            assert!(sent == come, "{most} {name:?}");
        }
    }
}

#[tokio::test]
async fn a_source_that_changes_meanwhile_is_not_put_in_place() {
    let desk = Desk::new().await;
    let content = noise(12 * BLOCK, 2);
    fs::write(desk.here("a"), &content).unwrap();
    let (path, once) = (desk.here("a"), Mutex::new(false));
    let watch = Arc::new(move |progress: Progress| {
        let mut once = once.lock().unwrap();
        if progress.done * 2 > progress.total && !std::mem::replace(&mut *once, true) {
            fs::write(&path, noise(12 * BLOCK, 3)).unwrap();
        }
    });
    let options = TransferOptions { watch: Some(watch), ..TransferOptions::default() };
    let session = &desk.session;
    let error = push(session, &desk.here("a"), &desk.there("b"), &options).await.unwrap_err();
    assert!(matches!(error, TransferError::Changed(_)), "{error:?}");
    assert!(!Path::new(&desk.there("b")).exists());
    let (path, once) = (desk.there("b"), Mutex::new(false));
    fs::write(&path, &content).unwrap();
    let watch = Arc::new(move |progress: Progress| {
        let mut once = once.lock().unwrap();
        if progress.done * 2 > progress.total && !std::mem::replace(&mut *once, true) {
            fs::write(&path, noise(12 * BLOCK - 5, 3)).unwrap();
        }
    });
    let options = TransferOptions { watch: Some(watch), ..TransferOptions::default() };
    let error = pull(session, &desk.there("b"), &desk.here("c"), &options).await.unwrap_err();
    assert!(matches!(error, TransferError::Changed(_)), "{error:?}");
    assert!(!desk.here("c").exists());
}
