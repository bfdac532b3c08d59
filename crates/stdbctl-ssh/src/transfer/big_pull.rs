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
use super::packed::{SAMPLE, Unpacker};
use super::pull::{RemoteFile, show};
use super::talk::{Hearing, Saying};
use crate::printable::printable;

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
    if is_there(far, order, &target, there.size).await? {
        far.meter.kept(there.size);
        return Ok(false);
    }
    let growing = Growing::resumable(&target)?;
    // Whatever size the host claims: what is kept of it in memory is bounded by the disk.
    growing.has_room(there.size)?;
    let all: Vec<_> = blocks::of(there.size).collect();
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

async fn is_there(far: &Side<'_>, order: Order<'_>, target: &Path, size: u64) -> Result<bool, TransferError> {
    let Ok(file) = LocalFile::open(target) else { return Ok(false) };
    if file.stamp()?.size != size {
        return Ok(false);
    }
    let all: Vec<_> = blocks::of(size).collect();
    Ok(blocks::matching(far, order, &file, &all).await?.len() == all.len())
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
    let asked: Mutex<VecDeque<(Block, char)>> = Mutex::default();
    let lock = || asked.lock().unwrap_or_else(PoisonError::into_inner);
    let ahead = Semaphore::new(AHEAD);
    let say = async |saying: Saying| {
        while let Ok(place) = ahead.acquire().await {
            place.forget();
            let Some(block) = queue.next() else { break };
            let what = if block.length >= SAMPLE as u64 && far.pace.packs() { 'p' } else { 'r' };
            lock().push_back((block, what));
            if let Err(deaf) = saying.say(block.order(what)).await {
                return Ok(Err(deaf));
            }
        }
        Ok(Ok(()))
    };
    let hear = async |mut hearing: Hearing| {
        let heard = async {
            while !hearing.is_over().await {
                let first = lock().front().copied();
                let Some((block, what)) = first else {
                    return Err(TransferError::Protocol("unasked".to_owned()));
                };
                let mut arrival = Arrival::new(far, file, block);
                let since = far.mark();
                let packed = what == 'p' && is_packed(&mut hearing).await?;
                let come = if packed {
                    arrival.unpack(&mut hearing).await
                } else {
                    arrival.read(&mut hearing).await
                };
                let arrived = arrival.end(come)?;
                let line = hearing.line().await?.unwrap_or_default();
                let (number, theirs) = blocks::answer(&line)?;
                lock().pop_front();
                if (number, &theirs) == (block.number, &arrived.sum) {
                    far.crossed(since, packed);
                    queue.arrived(block);
                } else {
                    far.meter.lost(arrived.come, arrived.crossed);
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

/// The host decides whether a block that it is asked to pack is worth it.
async fn is_packed(hearing: &mut Hearing) -> Result<bool, TransferError> {
    match hearing.line().await?.unwrap_or_default().as_str() {
        "packed" => Ok(true),
        "plain" => Ok(false),
        other => Err(TransferError::Protocol(printable(other))),
    }
}

/// A block that is arriving.
struct Arrival<'a> {
    far: &'a Side<'a>,
    file: &'a LocalFile,
    block: Block,
    come: u64,
    crossed: u64,
    hasher: Sha256,
}

/// A block that has arrived.
struct Arrived {
    sum: String,
    come: u64,
    crossed: u64,
}

impl<'a> Arrival<'a> {
    fn new(far: &'a Side<'a>, file: &'a LocalFile, block: Block) -> Self {
        Self { far, file, block, come: 0, crossed: 0, hasher: Sha256::new() }
    }

    /// Some of its content has come, as so many bytes.
    async fn take(&mut self, piece: Vec<u8>, crossed: u64) -> Result<(), TransferError> {
        let length = piece.len() as u64;
        let offset = self.block.offset() + self.come;
        self.hasher = self.file.write(offset, piece, std::mem::take(&mut self.hasher)).await?;
        self.come += length;
        self.crossed += crossed;
        self.far.meter.moved(length, crossed);
        Ok(())
    }

    async fn read(&mut self, hearing: &mut Hearing) -> Result<(), TransferError> {
        while self.come < self.block.length {
            let length = usize::try_from(self.block.length - self.come).unwrap_or(PIECE).min(PIECE);
            let mut piece = Vec::with_capacity(length);
            while piece.len() < length {
                let some = hearing.some(length - piece.len()).await;
                if some.is_empty() {
                    return Err(cut_off());
                }
                piece.extend(some);
            }
            self.take(piece, length as u64).await?;
        }
        Ok(())
    }

    async fn unpack(&mut self, hearing: &mut Hearing) -> Result<(), TransferError> {
        let mut unpacker = Unpacker::new(self.block.length);
        let mut crossed = 0;
        loop {
            let some = hearing.peek().await;
            if some.is_empty() {
                return Err(cut_off());
            }
            let taken = unpacker.take(some)?;
            if taken == 0 {
                break;
            }
            hearing.skip(taken);
            crossed += taken as u64;
            if unpacker.ready() >= PIECE {
                self.take(unpacker.fetch(), std::mem::take(&mut crossed)).await?;
            }
        }
        let rest = unpacker.finish()?;
        self.take(rest, crossed).await
    }

    /// It has come, or it has not and is not counted.
    fn end(self, come: Result<(), TransferError>) -> Result<Arrived, TransferError> {
        if let Err(error) = come {
            self.far.meter.lost(self.come, self.crossed);
            return Err(error);
        }
        Ok(Arrived { sum: hex(&self.hasher.finalize()), come: self.come, crossed: self.crossed })
    }
}

fn cut_off() -> TransferError {
    TransferError::Protocol("it ends in the middle of a block".to_owned())
}
