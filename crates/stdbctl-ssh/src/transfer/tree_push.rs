//! A directory to the host: each file as atomic as one alone, the small ones many at a time.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::error::TransferError;
use super::host::Order;
use super::lanes::{is_refused, share};
use super::local::LocalFile;
use super::name::{encode, hex};
use super::push::{read, record};
use super::talk::{Hearing, Saying};
use super::{SMALL, Side, Transferred, big_push};

/// How many channels small files take.
const LANES: usize = 4;

/// The host answers in one short word.
const LONGEST_ANSWER: usize = 16;

/// Something in the directory.
struct Entry {
    local: PathBuf,
    remote: Vec<u8>,
    kind: Kind,
}

enum Kind {
    Directory { mode: u32 },
    File { mode: u32, size: u64 },
    Link { to: Vec<u8> },
}

/// Everything in a directory, each directory before what is in it.
fn walk(
    local: &Path,
    remote: &[u8],
    found: &mut Vec<Entry>,
    skipped: &mut Vec<String>,
) -> Result<(), TransferError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |error| TransferError::local("read", &path, error)
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(local).map_err(wrong(local))? {
        names.push(entry.map_err(wrong(local))?.file_name());
    }
    names.sort();
    for name in names {
        let path = local.join(&name);
        let place = [remote, b"/", name.as_bytes()].concat();
        let metadata = fs::symlink_metadata(&path).map_err(wrong(&path))?;
        let mode = metadata.permissions().mode() & 0o777;
        let kind = if metadata.is_dir() {
            Kind::Directory { mode }
        } else if metadata.is_symlink() {
            Kind::Link { to: fs::read_link(&path).map_err(wrong(&path))?.as_os_str().as_bytes().to_vec() }
        } else if metadata.is_file() {
            Kind::File { mode, size: metadata.len() }
        } else {
            skipped.push(path.display().to_string());
            continue;
        };
        let is_directory = metadata.is_dir();
        found.push(Entry { local: path.clone(), remote: place.clone(), kind });
        if is_directory {
            walk(&path, &place, found, skipped)?;
        }
    }
    Ok(())
}

pub(super) async fn run(far: &Side<'_>, local: &Path, remote: &str) -> Result<Transferred, TransferError> {
    let mut sum = Transferred::default();
    let metadata = fs::metadata(local).map_err(|error| TransferError::local("read", local, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    let root = remote.trim_end_matches('/').as_bytes().to_vec();
    let mut entries =
        vec![Entry { local: local.to_owned(), remote: root.clone(), kind: Kind::Directory { mode } }];
    walk(local, &root, &mut entries, &mut sum.skipped)?;
    let sizes = entries.iter().map(|entry| if let Kind::File { size, .. } = entry.kind { size } else { 0 });
    sum.bytes = sizes.sum();
    far.meter.expect(sum.bytes);

    let answers = prepare(far, remote, &entries).await?;
    let (mut small, mut big, mut directories) = (VecDeque::new(), Vec::new(), Vec::new());
    for (entry, answer) in entries.iter().zip(&answers) {
        let is_same = answer == "same";
        match &entry.kind {
            Kind::File { mode, size } if *size > SMALL => {
                big.push((entry, *mode));
                continue;
            }
            Kind::File { size, .. } if is_same => far.meter.kept(*size),
            Kind::File { mode, .. } => small.push_back((entry, *mode)),
            Kind::Directory { mode } => directories.push((entry, (!is_same).then_some(*mode))),
            Kind::Link { .. } => {}
        }
        *(if is_same { &mut sum.unchanged } else { &mut sum.changed }) += 1;
    }
    let lanes = LANES.min(small.len());
    let small = Mutex::new(small);
    share(lanes, async || lane(far, remote, &small).await).await?;
    for (entry, mode) in big {
        let place = String::from_utf8(entry.remote.clone()).map_err(|_| {
            TransferError::Protocol(format!("the name of {} is not UTF-8", entry.local.display()))
        })?;
        let is_new = big_push::run(far, &entry.local, &place, mode).await?;
        *(if is_new { &mut sum.changed } else { &mut sum.unchanged }) += 1;
    }
    settle(far, remote, &directories).await?;
    Ok(far.meter.settle(sum))
}

/// Makes directories and links, and asks which small files are there already. One answer an entry.
async fn prepare(far: &Side<'_>, remote: &str, entries: &[Entry]) -> Result<Vec<String>, TransferError> {
    let mut records = Vec::with_capacity(entries.len());
    for Entry { local, remote, kind } in entries {
        records.push(match kind {
            Kind::Directory { .. } => record('d', 0, "-", "-", remote),
            Kind::Link { to } => record('l', 0, "-", &encode(to), remote),
            Kind::File { size, .. } if *size > SMALL => record('u', 0, "-", "-", remote),
            Kind::File { size, .. } => {
                let sum = LocalFile::open(local)?.sum(0, *size).await?;
                record('q', 0, "-", &sum.map_or("-".to_owned(), |sum| hex(&sum)), remote)
            }
        });
    }
    tell(far, remote, records).await
}

/// Gives directories that were made their mode, the innermost first, and syncs all.
async fn settle(
    far: &Side<'_>,
    remote: &str,
    directories: &[(&Entry, Option<u32>)],
) -> Result<(), TransferError> {
    let records = directories.iter().rev().map(|(entry, mode)| {
        let rights = mode.map_or("-".to_owned(), |mode| format!("{mode:o}"));
        record('m', 0, &rights, "-", &entry.remote)
    });
    tell(far, remote, records.collect()).await.map(drop)
}

/// Records without content, and the host's answer to each.
async fn tell(far: &Side<'_>, remote: &str, records: Vec<Vec<u8>>) -> Result<Vec<String>, TransferError> {
    let expected = records.len();
    let say = async |saying: Saying| Ok(saying.say(records.concat()).await);
    let hear = async |mut hearing: Hearing| {
        let mut answers = Vec::new();
        let heard = loop {
            match hearing.line().await {
                Ok(Some(answer)) if answers.len() < expected && answer.len() < LONGEST_ANSWER => {
                    answers.push(answer);
                }
                Ok(Some(_)) => break Err(TransferError::Protocol("it says too much".to_owned())),
                Ok(None) if answers.len() == expected => break Ok(answers),
                Ok(None) => break Err(left_out()),
                Err(error) => break Err(error),
            }
        };
        (hearing, heard)
    };
    far.talk(Order::new("put", remote), say, hear).await
}

/// One channel: small files go out one behind the other.
async fn lane(
    far: &Side<'_>,
    remote: &str,
    queue: &Mutex<VecDeque<(&Entry, u32)>>,
) -> Result<(), TransferError> {
    let waiting = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    let sent = Mutex::new(VecDeque::new());
    let unanswered = || sent.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || waiting().pop_front();
    let say = async |saying: Saying| {
        while let Some((entry, mode)) = next() {
            let bytes = read(&entry.local)?;
            let size = bytes.len() as u64;
            let sum = hex(&Sha256::digest(&bytes));
            let head = record('f', size, &format!("{mode:o}"), &sum, &entry.remote);
            unanswered().push_back((entry, mode, size));
            if let Err(deaf) = saying.say([head.as_slice(), &bytes].concat()).await {
                return Ok(Err(deaf));
            }
        }
        Ok(Ok(()))
    };
    let hear = async |mut hearing: Hearing| {
        let heard = loop {
            let line = hearing.line().await;
            let mut unanswered = unanswered();
            match line {
                Ok(Some(answer)) => match unanswered.pop_front().filter(|_| answer == "new") {
                    Some((_, _, size)) => far.meter.moved(size, size),
                    None => break Err(TransferError::Protocol(crate::printable::printable(answer))),
                },
                Ok(None) if unanswered.is_empty() => break Ok(()),
                Ok(None) => break Err(left_out()),
                Err(error) => break Err(error),
            }
        };
        (hearing, heard)
    };
    let ended = far.talk(Order::new("put", remote), say, hear).await;
    if is_refused(&ended) {
        waiting().extend(unanswered().drain(..).map(|(entry, mode, _)| (entry, mode)));
    }
    ended
}

fn left_out() -> TransferError {
    TransferError::Protocol("it leaves something unanswered".to_owned())
}
