//! A big file to the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::Side;
use super::blocks::{self, Block, Queue};
use super::error::TransferError;
use super::host::Order;
use super::local::{LocalFile, PIECE, Stamp};
use super::name::{hex, key};
use super::pace::Mark;
use super::progress::Meter;
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

/// A block that is on its way.
struct Sent {
    block: Block,
    /// Empty until all of it has been said.
    sum: String,
    /// As how many bytes it travels, and behind how many of the channel's input.
    crossing: u64,
    behind: u64,
    /// How many of them are counted as arrived.
    counted: u64,
    since: Mark,
}

impl Sent {
    fn is_packed(&self) -> bool {
        self.crossing < self.block.length
    }

    /// Each byte stands for its share of the block.
    fn content(&self, crossed: u64) -> u64 {
        self.block.length * crossed / self.crossing
    }

    /// So many of its bytes have arrived.
    fn count(&mut self, crossed: u64, meter: &Meter) {
        if crossed > self.counted {
            let content = self.content(crossed) - self.content(self.counted);
            meter.moved(content, crossed - self.counted);
            self.counted = crossed;
        }
    }

    /// It has to travel again.
    fn lose(&self, meter: &Meter) {
        meter.lost(self.content(self.counted), self.counted);
    }
}

/// What one channel has been told.
#[derive(Default)]
struct Told {
    bytes: u64,
    sent: BTreeMap<u64, Sent>,
}

/// One channel's blocks: what is read, what was sent, and who counts.
struct Lane<'a> {
    far: &'a Side<'a>,
    file: &'a LocalFile,
    told: Mutex<Told>,
}

impl Lane<'_> {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block begins to travel as so many bytes.
    fn begin(&self, block: Block, order: &[u8], crossing: u64) {
        let since = self.far.mark();
        let mut told = self.told();
        let behind = told.bytes + order.len() as u64;
        told.bytes = behind + crossing;
        let sent = Sent { block, sum: String::new(), crossing, behind, counted: 0, since };
        told.sent.insert(block.number, sent);
    }

    /// All of it has been read. Comes before the host can have answered.
    fn note(&self, block: Block, sum: &[u8]) {
        if let Some(sent) = self.told().sent.get_mut(&block.number) {
            sent.sum = hex(sum);
        }
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
        let order = format!("z {} {} {crossing}\n", block.number, block.length).into_bytes();
        self.begin(block, &order, crossing);
        self.note(block, sum);
        saying.say(order).await?;
        for piece in packed.chunks(PIECE) {
            saying.say(piece.to_vec()).await?;
        }
        Ok(())
    }

    async fn send_plain(&self, block: Block, saying: &Saying) -> Result<Result<(), Deaf>, TransferError> {
        let (mut gone, mut hasher) = (0, Sha256::new());
        let mut piece = block.order('w');
        self.begin(block, &piece, block.length);
        loop {
            if gone == block.length {
                self.note(block, &hasher.clone().finalize());
            }
            if let Err(deaf) = saying.say(piece).await {
                return Ok(Err(deaf));
            }
            if gone == block.length {
                return Ok(Ok(()));
            }
            let length = usize::try_from(block.length - gone).unwrap_or(PIECE).min(PIECE);
            (piece, hasher) = self.file.read(block.offset() + gone, length, hasher).await?;
            gone += length as u64;
        }
    }

    /// Counts what the host takes, for as long as it does.
    async fn count(&self, mut taken: watch::Receiver<u64>) {
        while taken.changed().await.is_ok() {
            let bytes = *taken.borrow_and_update();
            for sent in self.told().sent.values_mut() {
                // Only the host's answer makes it whole.
                let crossed = bytes.saturating_sub(sent.behind).min(sent.crossing - 1);
                sent.count(crossed, &self.far.meter);
            }
        }
    }

    /// The host says which block it has written, and what is there now.
    fn answered(&self, line: &str, queue: &Queue, path: &str) -> Result<(), TransferError> {
        let (number, theirs) = blocks::answer(line)?;
        let sent = self.told().sent.remove(&number).filter(|sent| !sent.sum.is_empty());
        let Some(mut sent) = sent else {
            return Err(TransferError::Protocol(crate::printable::printable(line)));
        };
        if sent.sum == theirs {
            sent.count(sent.crossing, &self.far.meter);
            self.far.crossed(sent.since, sent.is_packed());
            queue.arrived(sent.block);
            return Ok(());
        }
        sent.lose(&self.far.meter);
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
    let lane = Lane { far, file, told: Mutex::default() };
    let say = async |saying: Saying| {
        let taken = saying.taken();
        let send = async {
            while let Some(block) = queue.next() {
                if let Err(deaf) = lane.send(block, &saying).await? {
                    return Ok(Err(deaf));
                }
            }
            drop(saying);
            // Nothing more is said, and what was said is still counted.
            Ok(std::future::pending().await)
        };
        tokio::select! {
            said = send => said,
            () = lane.count(taken) => Ok(Ok(())),
        }
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
    for sent in std::mem::take(&mut lane.told().sent).into_values() {
        sent.lose(&far.meter);
    }
    ended
}
