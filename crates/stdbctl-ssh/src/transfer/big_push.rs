//! A big file to the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::Side;
use super::blocks::{self, Block, Queue};
use super::error::TransferError;
use super::host::Order;
use super::local::{LocalFile, PIECE, Stamp};
use super::name::{hex, key};
use super::pace::Mark;
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
    let there = look(far, Order { verb: "look", path: remote, key: &key, size, mode, id: "" }).await?;
    let order = |verb| Order { verb, path: remote, key: &key, size, mode, id: &there.id };
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
    blocks::travel(&queue, LANES, async || travel(far, order("part"), &file, &queue).await).await?;

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
    /// Which file the part is. It may be another's work by now that has its name.
    id: String,
}

async fn look(far: &Side<'_>, order: Order<'_>) -> Result<There, TransferError> {
    let mut there = There::default();
    for line in far.ask(order).await? {
        let wrong = || TransferError::Protocol(crate::printable::printable(&line));
        let size = |word: &str| word.parse().map_err(|_| wrong());
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["target", bytes] => there.target = Some(size(bytes)?),
            ["part", bytes, id] => (there.part, there.id) = (size(bytes)?, (*id).to_owned()),
            _ => return Err(wrong()),
        }
    }
    if there.id.is_empty() {
        return Err(TransferError::Protocol("it names no part".to_owned()));
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

/// What has been said of a block that is on its way.
struct Sent {
    block: Block,
    sum: String,
    packed: bool,
    /// As how many bytes it travels.
    crossing: u64,
    since: Mark,
}

/// One channel's blocks: what is read, what was sent, and who counts.
struct Lane<'a> {
    far: &'a Side<'a>,
    file: &'a LocalFile,
    sent: Mutex<BTreeMap<u64, Sent>>,
}

impl Lane<'_> {
    fn sent(&self) -> MutexGuard<'_, BTreeMap<u64, Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the host can have answered.
    fn note(&self, block: Block, sum: &[u8], crossing: u64, since: Mark) {
        let packed = crossing < block.length;
        self.sent().insert(block.number, Sent { block, sum: hex(sum), packed, crossing, since });
    }

    async fn send(&self, block: Block, saying: &Saying) -> Result<Result<(), Deaf>, TransferError> {
        if self.far.pace.packs()
            && let Some((packed, sum)) = self.file.pack(block.offset(), block.length).await?
        {
            return Ok(self.send_packed(block, &packed, &sum, saying).await);
        }
        self.send_plain(block, saying).await
    }

    async fn send_packed(
        &self,
        block: Block,
        packed: &[u8],
        sum: &[u8],
        saying: &Saying,
    ) -> Result<(), Deaf> {
        let crossing = packed.len() as u64;
        self.note(block, sum, crossing, self.far.mark());
        let (mut told, mut gone) = (0, 0);
        let mut piece = format!("z {} {} {crossing}\n", block.number, block.length).into_bytes();
        let mut pieces = packed.chunks(PIECE);
        loop {
            if saying.say(piece).await.is_err() {
                self.sent().remove(&block.number);
                self.far.meter.lost(told, gone);
                return Err(Deaf);
            }
            let Some(next) = pieces.next() else { return Ok(()) };
            piece = next.to_vec();
            gone += piece.len() as u64;
            // Each piece stands for its share of the block.
            let content = block.length * gone / crossing - told;
            told += content;
            self.far.meter.moved(content, piece.len() as u64);
        }
    }

    async fn send_plain(&self, block: Block, saying: &Saying) -> Result<Result<(), Deaf>, TransferError> {
        let since = self.far.mark();
        let (mut gone, mut hasher) = (0, Sha256::new());
        let mut piece = block.order('w');
        loop {
            if gone == block.length {
                self.note(block, &hasher.clone().finalize(), gone, since);
            }
            if saying.say(piece).await.is_err() {
                self.sent().remove(&block.number);
                self.far.meter.lost(gone, gone);
                return Ok(Err(Deaf));
            }
            if gone == block.length {
                return Ok(Ok(()));
            }
            let length = usize::try_from(block.length - gone).unwrap_or(PIECE).min(PIECE);
            (piece, hasher) = self.file.read(block.offset() + gone, length, hasher).await?;
            gone += length as u64;
            self.far.meter.moved(length as u64, length as u64);
        }
    }

    /// The host says which block it has written, and what is there now.
    fn answered(&self, line: &str, queue: &Queue, path: &str) -> Result<(), TransferError> {
        let (number, theirs) = blocks::answer(line)?;
        let Some(sent) = self.sent().remove(&number) else {
            return Err(TransferError::Protocol(crate::printable::printable(line)));
        };
        if sent.sum == theirs {
            self.far.crossed(sent.since, sent.packed);
            queue.arrived(sent.block);
            return Ok(());
        }
        self.far.meter.lost(sent.block.length, sent.crossing);
        if queue.again(sent.block) { Ok(()) } else { Err(TransferError::Damaged(path.to_owned())) }
    }
}

/// One channel: blocks go out one behind the other, and the host says of each what it has written.
async fn travel(
    far: &Side<'_>,
    order: Order<'_>,
    file: &LocalFile,
    queue: &Queue,
) -> Result<(), TransferError> {
    let lane = Lane { far, file, sent: Mutex::default() };
    let say = async |saying: Saying| {
        while let Some(block) = queue.next() {
            if let Err(deaf) = lane.send(block, &saying).await? {
                return Ok(Err(deaf));
            }
        }
        Ok(Ok(()))
    };
    let hear = async |mut hearing: Hearing| {
        let heard = async {
            while let Some(line) = hearing.line().await? {
                lane.answered(&line, queue, order.path)?;
            }
            Ok(())
        }
        .await;
        (hearing, heard)
    };
    let ended = far.talk(order, say, hear).await;
    for sent in std::mem::take(&mut *lane.sent()).into_values() {
        far.meter.lost(sent.block.length, sent.crossing);
    }
    ended
}
