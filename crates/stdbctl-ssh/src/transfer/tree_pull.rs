//! A directory from the host. What the host calls its files decides about nothing outside of the one that is written.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::error::TransferError;
use super::host::Order;
use super::lanes::{is_refused, share};
use super::local::{LocalFile, sync_directory};
use super::name::{encode, hex, nonce};
use super::pull::{Entry, read_content, show, write};
use super::talk::{Hearing, Saying};
use super::{SMALL, Side, Transferred, big_pull};
use crate::printable::printable;

/// How many channels small files take.
const LANES: usize = 3;
/// How many of them a channel is asked for ahead.
const AHEAD: usize = 64;

/// A file to fetch.
struct Wanted {
    remote: Vec<u8>,
    local: PathBuf,
    mode: u32,
    size: u64,
}

/// The tree as it takes shape here.
struct Tree<'a> {
    root: &'a Path,
    /// Directories that are there, each with the mode it gets if it is new.
    directories: BTreeMap<PathBuf, Option<u32>>,
    sum: Transferred,
}

pub(super) async fn run(
    far: &Side<'_>,
    remote: &str,
    local: &Path,
    mode: u32,
    entries: Vec<Entry>,
) -> Result<Transferred, TransferError> {
    let mut tree = Tree { root: local, directories: BTreeMap::new(), sum: Transferred::default() };
    tree.directory(local.to_owned(), mode)?;
    let (mut small, mut big) = (VecDeque::new(), Vec::new());
    for entry in entries {
        let path = tree.place(&entry)?;
        match entry.kind {
            b'd' => tree.directory(path, entry.mode)?,
            b'l' => tree.link(&path, &entry.link)?,
            b'f' => {
                let remote = [remote.trim_end_matches('/').as_bytes(), b"/", &entry.name].concat();
                let wanted = Wanted { remote, local: path, mode: entry.mode, size: entry.size };
                far.meter.expect(wanted.size);
                tree.sum.bytes = tree.sum.bytes.saturating_add(wanted.size);
                if wanted.size > SMALL { big.push(wanted) } else { small.push_back(wanted) }
            }
            _ => tree.sum.skipped.push(printable(&entry.name)),
        }
    }
    let missing = missing(far, remote, small, &mut tree.sum).await?;
    tree.sum.changed += missing.len() as u64;
    let lanes = LANES.min(missing.len());
    let queue = Mutex::new(missing);
    share(lanes, async || lane(far, remote, &queue).await).await?;
    for wanted in big {
        let is_new = fetch_big(far, &wanted).await?;
        *(if is_new { &mut tree.sum.changed } else { &mut tree.sum.unchanged }) += 1;
    }
    tree.settle()?;
    Ok(far.meter.settle(tree.sum))
}

impl Tree<'_> {
    /// Where an entry goes: into a directory of the tree, and nowhere else.
    fn place(&self, entry: &Entry) -> Result<PathBuf, TransferError> {
        let escapes = || TransferError::Escapes(printable(&entry.name));
        let mut path = self.root.to_owned();
        for part in entry.name.split(|&byte| byte == b'/') {
            if part.is_empty() || part == b"." || part == b".." {
                return Err(escapes());
            }
            path.push(OsStr::from_bytes(part));
        }
        let parent = path.parent().ok_or_else(escapes)?;
        if !self.directories.contains_key(parent) || self.directories.contains_key(&path) {
            return Err(escapes());
        }
        Ok(path)
    }

    fn directory(&mut self, path: PathBuf, mode: u32) -> Result<(), TransferError> {
        let is_new = match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // The operator may have named a link to a directory; inside of it none is followed.
                let there = if path == self.root { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
                if !there.is_ok_and(|there| there.is_dir()) {
                    return Err(TransferError::local("write", &path, ErrorKind::NotADirectory.into()));
                }
                false
            }
            Err(error) => return Err(TransferError::local("write", &path, error)),
        };
        *(if is_new { &mut self.sum.changed } else { &mut self.sum.unchanged }) += 1;
        self.directories.insert(path, is_new.then_some(mode));
        Ok(())
    }

    fn link(&mut self, path: &Path, to: &[u8]) -> Result<(), TransferError> {
        let to = Path::new(OsStr::from_bytes(to));
        if fs::read_link(path).is_ok_and(|there| there == to) {
            self.sum.unchanged += 1;
            return Ok(());
        }
        let part = path.with_file_name(format!(".stdbctl-{}.part", nonce()));
        let made = symlink(to, &part).and_then(|()| fs::rename(&part, path));
        if let Err(error) = made {
            fs::remove_file(&part).ok();
            return Err(TransferError::local("write", path, error));
        }
        self.sum.changed += 1;
        Ok(())
    }

    /// Gives directories that were made their mode, the innermost first, and syncs all.
    fn settle(&self) -> Result<(), TransferError> {
        for (path, mode) in self.directories.iter().rev() {
            let wrong = |error| TransferError::local("write", path, error);
            sync_directory(&path.join(".")).or_else(|_| sync_directory(path)).map_err(wrong)?;
            if let Some(mode) = mode {
                fs::set_permissions(path, Permissions::from_mode(*mode)).map_err(wrong)?;
            }
        }
        Ok(())
    }
}

async fn fetch_big(far: &Side<'_>, wanted: &Wanted) -> Result<bool, TransferError> {
    if fs::symlink_metadata(&wanted.local).is_ok_and(|there| there.is_symlink()) {
        fs::remove_file(&wanted.local)
            .map_err(|error| TransferError::local("write", &wanted.local, error))?;
    }
    let remote = std::str::from_utf8(&wanted.remote);
    let remote = remote.map_err(|_| {
        TransferError::Protocol(format!("a name is not UTF-8: {}", printable(&wanted.remote)))
    })?;
    match show(far, remote).await?.file() {
        Some(file) if file.size == wanted.size => big_pull::run(far, remote, &file, &wanted.local).await,
        _ => Err(TransferError::Changed(format!("{remote} on the host"))),
    }
}

/// Those that are not here already: what has the right size is compared by its sha256.
async fn missing(
    far: &Side<'_>,
    remote: &str,
    small: VecDeque<Wanted>,
    sum: &mut Transferred,
) -> Result<VecDeque<Wanted>, TransferError> {
    let fits = |wanted: &Wanted| {
        fs::symlink_metadata(&wanted.local).is_ok_and(|there| there.is_file() && there.len() == wanted.size)
    };
    let (perhaps, mut missing): (Vec<_>, VecDeque<_>) = small.into_iter().partition_vec(fits);
    if perhaps.is_empty() {
        return Ok(missing);
    }
    let say = async |saying: Saying| {
        let orders: Vec<_> = perhaps.iter().flat_map(|wanted| order('q', wanted)).collect();
        Ok(saying.say(orders).await)
    };
    let hear = async |mut hearing: Hearing| {
        let heard = async {
            let mut same = Vec::new();
            for wanted in &perhaps {
                let theirs = hearing.line().await?.unwrap_or_default();
                let ours = LocalFile::open(&wanted.local)?.sum(0, wanted.size).await?;
                same.push(ours.is_some_and(|ours| theirs.split(' ').next() == Some(&hex(&ours))));
            }
            Ok(same)
        }
        .await;
        (hearing, heard)
    };
    let same = far.talk(Order::new("fetch", remote), say, hear).await?;
    for (wanted, same) in perhaps.into_iter().zip(same) {
        if same {
            far.meter.kept(wanted.size);
            sum.unchanged += 1;
        } else {
            missing.push_back(wanted);
        }
    }
    Ok(missing)
}

/// Splits in two.
trait PartitionVec: Iterator<Item = Wanted> + Sized {
    fn partition_vec(self, fits: impl Fn(&Wanted) -> bool) -> (Vec<Wanted>, VecDeque<Wanted>) {
        let (mut fitting, mut rest) = (Vec::new(), VecDeque::new());
        for wanted in self {
            if fits(&wanted) { fitting.push(wanted) } else { rest.push_back(wanted) }
        }
        (fitting, rest)
    }
}

impl<I: Iterator<Item = Wanted>> PartitionVec for I {}

fn order(what: char, wanted: &Wanted) -> Vec<u8> {
    format!("{what} {}\n", encode(&wanted.remote)).into_bytes()
}

/// One channel: small files are asked for a little ahead of what has come.
async fn lane(far: &Side<'_>, remote: &str, queue: &Mutex<VecDeque<Wanted>>) -> Result<(), TransferError> {
    let asked: Mutex<VecDeque<Wanted>> = Mutex::default();
    let pop =
        |queue: &Mutex<VecDeque<Wanted>>| queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let ahead = Semaphore::new(AHEAD);
    let say = async |saying: Saying| {
        while let Ok(place) = ahead.acquire().await {
            place.forget();
            let Some(wanted) = pop(queue) else { break };
            let order = order('g', &wanted);
            asked.lock().unwrap_or_else(PoisonError::into_inner).push_back(wanted);
            if let Err(deaf) = saying.say(order).await {
                return Ok(Err(deaf));
            }
        }
        Ok(Ok(()))
    };
    let hear = async |mut hearing: Hearing| {
        let heard = async {
            while !hearing.is_over().await {
                let Some(wanted) = pop(&asked) else {
                    return Err(TransferError::Protocol("unasked".to_owned()));
                };
                receive(far, &mut hearing, wanted).await?;
                ahead.add_permits(1);
            }
            match pop(&asked) {
                None => Ok(()),
                Some(_) => Err(TransferError::Protocol("it leaves something unanswered".to_owned())),
            }
        }
        .await;
        (hearing, heard)
    };
    let ended = far.talk(Order::new("fetch", remote), say, hear).await;
    if is_refused(&ended) {
        let asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
        queue.lock().unwrap_or_else(PoisonError::into_inner).extend(asked);
    }
    ended
}

async fn receive(far: &Side<'_>, hearing: &mut Hearing, wanted: Wanted) -> Result<(), TransferError> {
    let line = hearing.line().await?.unwrap_or_default();
    let changed = || TransferError::Changed(format!("{} on the host", printable(&wanted.remote)));
    let size: u64 = line.trim().parse().map_err(|_| TransferError::Protocol(printable(&line)))?;
    if size > SMALL {
        return Err(changed());
    }
    let content = read_content(hearing, size).await?.ok_or_else(changed)?;
    write(wanted.local, content, wanted.mode).await?;
    far.meter.moved(wanted.size, wanted.size);
    Ok(())
}
