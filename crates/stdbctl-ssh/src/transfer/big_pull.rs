//! A big file from the host.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::Side;
use super::blocks::{self, Block, Queue};
use super::error::TransferError;
use super::host::Order;
use super::local::{self, Growing, LocalFile, PIECE};
use super::name::hex;
use super::pull::{RemoteFile, show};
use super::talk::{Hearing, Saying};

/// A channel lets this side have 16 MiB on their way, so it takes no more of them than the host has processors.
const LANES: usize = 3;
/// How many blocks of a channel are asked for and have not come yet.
const AHEAD: usize = 3;

/// Fetches a file to its place here. False if it was there already.
pub(super) async fn run(
    far: &Side<'_>,
    remote: &str,
    there: &RemoteFile,
    local: &Path,
) -> Result<bool, TransferError> {
    let target = local::place(local)?;
    let order = Order::new("source", remote);
    let all: Vec<_> = blocks::of(there.size).collect();
    if is_there(far, order, &target, &all, there.size).await? {
        far.meter.kept(there.size);
        return Ok(false);
    }
    let growing = Growing::resumable(&target)?;
    let kept = kept(far, order, &growing.file, &all).await?;
    growing.set_size(there.size)?;
    let queue = Queue::new(all.iter().copied().filter(|block| !kept.contains(&block.number)));
    blocks::travel(&queue, LANES, async || lane(far, order, &growing.file, &queue).await).await?;

    let now = show(far, remote).await?.file();
    if now.is_none_or(|now| now.stamp != there.stamp) {
        return Err(TransferError::Changed(format!("{remote} on the host")));
    }
    growing.finish(there.mode).await?;
    Ok(true)
}

async fn is_there(
    far: &Side<'_>,
    order: Order<'_>,
    target: &Path,
    all: &[Block],
    size: u64,
) -> Result<bool, TransferError> {
    let Ok(file) = LocalFile::open(target) else { return Ok(false) };
    Ok(file.stamp()?.size == size && blocks::matching(far, order, &file, all).await?.len() == all.len())
}

/// The blocks that have arrived in an earlier attempt.
async fn kept(
    far: &Side<'_>,
    order: Order<'_>,
    file: &LocalFile,
    all: &[Block],
) -> Result<BTreeSet<u64>, TransferError> {
    let size = file.stamp()?.size;
    let perhaps: Vec<_> = all.iter().copied().filter(|block| block.offset() + block.length <= size).collect();
    let kept = blocks::matching(far, order, file, &perhaps).await?;
    let bytes = perhaps.iter().filter(|block| kept.contains(&block.number)).map(|block| block.length).sum();
    far.meter.kept(bytes);
    Ok(kept)
}

/// One channel: blocks are asked for a little ahead of what has come, and the host says of each what it read.
async fn lane(
    far: &Side<'_>,
    order: Order<'_>,
    file: &LocalFile,
    queue: &Queue,
) -> Result<(), TransferError> {
    let asked: Mutex<VecDeque<Block>> = Mutex::default();
    let lock = || asked.lock().unwrap_or_else(PoisonError::into_inner);
    let ahead = Semaphore::new(AHEAD);
    let say = async |saying: Saying| {
        while let Ok(place) = ahead.acquire().await {
            place.forget();
            let Some(block) = queue.next() else { break };
            lock().push_back(block);
            if let Err(deaf) = saying.say(block.order('r')).await {
                return Ok(Err(deaf));
            }
        }
        Ok(Ok(()))
    };
    let hear = async |mut hearing: Hearing| {
        let heard = async {
            while !hearing.is_over().await {
                let first = lock().front().copied();
                let Some(block) = first else { return Err(TransferError::Protocol("unasked".to_owned())) };
                let ours = receive(far, &mut hearing, file, block).await?;
                let line = hearing.line().await?.unwrap_or_default();
                let (number, theirs) = blocks::answer(&line)?;
                lock().pop_front();
                if (number, &theirs) == (block.number, &ours) {
                    queue.arrived(block);
                } else {
                    far.meter.lost(block.length);
                    if !queue.again(block) {
                        return Err(TransferError::Changed(format!("{} on the host", order.path)));
                    }
                }
                ahead.add_permits(1);
            }
            Ok(())
        }
        .await;
        (hearing, heard)
    };
    far.talk(order, say, hear).await
}

/// Takes a block in, and gives back its sha256.
async fn receive(
    far: &Side<'_>,
    hearing: &mut Hearing,
    file: &LocalFile,
    block: Block,
) -> Result<String, TransferError> {
    let (mut come, mut hasher) = (0, Sha256::new());
    while come < block.length {
        let length = usize::try_from(block.length - come).unwrap_or(PIECE).min(PIECE);
        let mut piece = Vec::with_capacity(length);
        while piece.len() < length {
            let some = hearing.some(length - piece.len()).await;
            if some.is_empty() {
                far.meter.lost(come);
                return Err(TransferError::Protocol("it ends in the middle of a block".to_owned()));
            }
            piece.extend(some);
        }
        hasher = file.write(block.offset() + come, piece, hasher).await?;
        come += length as u64;
        far.meter.moved(length as u64);
    }
    Ok(hex(&hasher.finalize()))
}
