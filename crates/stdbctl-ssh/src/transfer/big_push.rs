//! A big file to the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::Side;
use super::blocks::{self, Block, Queue};
use super::error::TransferError;
use super::host::Order;
use super::local::{LocalFile, PIECE, Stamp};
use super::name::{hex, key};
use super::talk::{Deaf, Hearing, Saying};

/// OpenSSH takes 2 MiB of a channel before it says that there is room again, so that many of them are on their way
/// at most. These and one more are all that it allows.
const LANES: usize = 7;

/// Sends a file to its place on the host. False if it was there already.
pub(super) async fn run(
    far: &Side<'_>,
    local: &Path,
    remote: &str,
    mode: u32,
) -> Result<bool, TransferError> {
    let file = LocalFile::open(local)?;
    let stamp = file.stamp()?;
    let size = stamp.size;
    let key = name_of_part(&file, &stamp, remote)?;
    let order = |verb| Order { verb, path: remote, key: &key, size, mode };

    let there = look(far, order("look")).await?;
    let all: Vec<_> = blocks::of(size).collect();
    if there.target == Some(size)
        && blocks::matching(far, order("target"), &file, &all).await?.len() == all.len()
    {
        far.ask(order("drop")).await?;
        far.meter.kept(size);
        return Ok(false);
    }
    let kept = kept(far, order("part"), &file, &all, there.part).await?;
    let queue = Queue::new(all.iter().copied().filter(|block| !kept.contains(&block.number)));
    blocks::travel(&queue, LANES, async || lane(far, order("part"), &file, &queue).await).await?;

    if file.stamp()? != stamp {
        return Err(TransferError::Changed(local.display().to_string()));
    }
    match far.ask(order("finish")).await?.as_slice() {
        [done] if done == "done" => Ok(true),
        other => Err(TransferError::Protocol(crate::printable::printable(other.concat()))),
    }
}

/// The same for the same content on its way to the same place, and no other. So that two who send different things
/// there never write into one file, and he who was cut off finds his own again.
fn name_of_part(file: &LocalFile, stamp: &Stamp, remote: &str) -> Result<String, TransferError> {
    let Stamp { size, modified: (seconds, nanoseconds) } = stamp;
    let numbers = format!("{size} {seconds} {nanoseconds}");
    Ok(key(&[remote.as_bytes(), numbers.as_bytes(), &file.samples(*size)?]))
}

/// What the host has already.
#[derive(Default)]
struct There {
    target: Option<u64>,
    part: u64,
}

async fn look(far: &Side<'_>, order: Order<'_>) -> Result<There, TransferError> {
    let mut there = There::default();
    for line in far.ask(order).await? {
        match line.split_once(' ').map(|(what, size)| (what, size.parse())) {
            Some(("target", Ok(size))) => there.target = Some(size),
            Some(("part", Ok(size))) => there.part = size,
            _ => return Err(TransferError::Protocol(crate::printable::printable(line))),
        }
    }
    Ok(there)
}

/// The blocks that have arrived in an earlier attempt.
async fn kept(
    far: &Side<'_>,
    order: Order<'_>,
    file: &LocalFile,
    all: &[Block],
    there: u64,
) -> Result<BTreeSet<u64>, TransferError> {
    let perhaps: Vec<_> =
        all.iter().copied().filter(|block| block.offset() + block.length <= there).collect();
    let kept = blocks::matching(far, order, file, &perhaps).await?;
    let bytes = perhaps.iter().filter(|block| kept.contains(&block.number)).map(|block| block.length).sum();
    far.meter.kept(bytes);
    Ok(kept)
}

/// One channel: blocks go out one behind the other, and the host says of each what it has written.
async fn lane(
    far: &Side<'_>,
    order: Order<'_>,
    file: &LocalFile,
    queue: &Queue,
) -> Result<(), TransferError> {
    let sent: Mutex<BTreeMap<u64, (Block, String)>> = Mutex::default();
    let lock = || sent.lock().unwrap_or_else(PoisonError::into_inner);
    let say = async |saying: Saying| {
        while let Some(block) = queue.next() {
            let mut gone = 0;
            let mut hasher = Sha256::new();
            let mut piece = block.order('w');
            loop {
                if gone == block.length {
                    // Noted before the host can have answered.
                    lock().insert(block.number, (block, hex(&hasher.clone().finalize())));
                }
                if saying.say(piece).await.is_err() {
                    lock().remove(&block.number);
                    far.meter.lost(gone);
                    return Ok(Err(Deaf));
                }
                if gone == block.length {
                    break;
                }
                let length = usize::try_from(block.length - gone).unwrap_or(PIECE).min(PIECE);
                (piece, hasher) = file.read(block.offset() + gone, length, hasher).await?;
                gone += length as u64;
                far.meter.moved(length as u64);
            }
        }
        Ok(Ok(()))
    };
    let hear = async |mut hearing: Hearing| {
        let heard = async {
            while let Some(line) = hearing.line().await? {
                let (number, theirs) = blocks::answer(&line)?;
                let Some((block, ours)) = lock().remove(&number) else {
                    return Err(TransferError::Protocol(crate::printable::printable(line)));
                };
                if ours == theirs {
                    queue.arrived(block);
                    continue;
                }
                far.meter.lost(block.length);
                if !queue.again(block) {
                    return Err(TransferError::Damaged(order.path.to_owned()));
                }
            }
            Ok(())
        }
        .await;
        (hearing, heard)
    };
    let ended = far.talk(order, say, hear).await;
    for (block, _) in std::mem::take(&mut *lock()).into_values() {
        far.meter.lost(block.length);
    }
    ended
}
