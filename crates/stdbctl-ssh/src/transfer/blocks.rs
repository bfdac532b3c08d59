//! Big files in blocks: which of them are at the other end, and what still has to travel, on several channels.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;

use super::Side;
use super::error::TransferError;
use super::host::Order;
use super::lanes::unless_refused;
use super::local::LocalFile;
use super::name::hex;
use super::talk::{Hearing, Saying};

/// What is compared, and sent again, as one.
pub(super) const SIZE: u64 = 4 << 20;
/// How many channels compare: hosts have few processors.
const COMPARING: usize = 2;
/// How often a block may arrive damaged, or a source change under it.
const ATTEMPTS: u32 = 3;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) number: u64,
    pub(super) length: u64,
}

impl Block {
    pub(super) fn offset(self) -> u64 {
        self.number * SIZE
    }

    /// An order to the host's loop.
    pub(super) fn order(self, what: char) -> Vec<u8> {
        format!("{what} {} {}\n", self.number, self.length).into_bytes()
    }
}

/// The blocks of a file of so many bytes.
pub(super) fn of(size: u64) -> impl Iterator<Item = Block> {
    (0..size.div_ceil(SIZE)).map(move |number| Block { number, length: SIZE.min(size - number * SIZE) })
}

/// The host's word about a block: its number and its sha256.
pub(super) fn answer(line: &str) -> Result<(u64, String), TransferError> {
    let mut words = line.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok());
    let sum = words.next().filter(|sum| sum.len() == 64);
    match (number, sum) {
        (Some(number), Some(sum)) => Ok((number, sum.to_owned())),
        _ => Err(TransferError::Protocol(crate::printable::printable(line))),
    }
}

/// Which of these blocks hold the same here and there.
pub(super) async fn matching(
    far: &Side<'_>,
    order: Order<'_>,
    file: &LocalFile,
    blocks: &[Block],
) -> Result<BTreeSet<u64>, TransferError> {
    let share = blocks.len().div_ceil(COMPARING).max(1);
    let chunks = blocks.chunks(share);
    let lanes = chunks.clone().map(|blocks| unless_refused(compare(far, order, file, blocks)));
    let mut matching = BTreeSet::new();
    for (blocks, compared) in chunks.zip(try_join_all(lanes).await?) {
        matching.extend(match compared {
            Some(same) => same,
            // Once the others have ended there is room.
            None => compare(far, order, file, blocks).await?,
        });
    }
    Ok(matching)
}

async fn compare(
    far: &Side<'_>,
    order: Order<'_>,
    file: &LocalFile,
    blocks: &[Block],
) -> Result<Vec<u64>, TransferError> {
    let say = async |saying: Saying| {
        let orders: Vec<_> = blocks.iter().flat_map(|block| block.order('h')).collect();
        Ok(saying.say(orders).await)
    };
    let hear = async |mut hearing: Hearing| {
        let heard = same(&mut hearing, file, blocks).await;
        (hearing, heard)
    };
    far.talk(order, say, hear).await
}

async fn same(hearing: &mut Hearing, file: &LocalFile, blocks: &[Block]) -> Result<Vec<u64>, TransferError> {
    let mut same = Vec::new();
    for block in blocks {
        let Some(line) = hearing.line().await? else { break };
        let (number, theirs) = answer(&line)?;
        let ours = file.sum(block.offset(), block.length).await?;
        if number == block.number && ours.is_some_and(|ours| hex(&ours) == theirs) {
            same.push(number);
        }
    }
    Ok(same)
}

/// What still has to travel.
pub(super) struct Queue {
    state: Mutex<State>,
}

struct State {
    waiting: VecDeque<Block>,
    /// On its way, by number. Only the other end's word takes a block out of here: a channel that ends in whatever way
    /// loses none.
    travelling: BTreeMap<u64, Block>,
    attempts: BTreeMap<u64, u32>,
}

impl Queue {
    pub(super) fn new(blocks: impl Iterator<Item = Block>) -> Self {
        let waiting = blocks.collect();
        Self { state: Mutex::new(State { waiting, travelling: BTreeMap::new(), attempts: BTreeMap::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next(&self) -> Option<Block> {
        let mut state = self.lock();
        let block = state.waiting.pop_front()?;
        state.travelling.insert(block.number, block);
        Some(block)
    }

    /// It has arrived as what it is.
    pub(super) fn arrived(&self, block: Block) {
        self.lock().travelling.remove(&block.number);
    }

    /// Once no channel is left: what was on its way has to travel again.
    fn gather(&self) {
        let mut state = self.lock();
        let lost = std::mem::take(&mut state.travelling);
        state.waiting.extend(lost.into_values());
    }

    /// It has arrived as something else. False if that has been so too often.
    pub(super) fn again(&self, block: Block) -> bool {
        let mut state = self.lock();
        state.travelling.remove(&block.number);
        state.waiting.push_back(block);
        let attempts = state.attempts.entry(block.number).or_insert(0);
        *attempts += 1;
        *attempts < ATTEMPTS
    }

    fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}

/// Lets all blocks of a queue travel on so many channels, or as many of them as the server allows.
pub(super) async fn travel(
    queue: &Queue,
    mut lanes: usize,
    lane: impl AsyncFn() -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let mut idle = 0;
    while queue.len() > 0 {
        let before = queue.len();
        // The last one must be had.
        let run = async || if lanes > 1 { unless_refused(lane()).await } else { lane().await.map(Some) };
        let ended = try_join_all((0..lanes.min(queue.len())).map(|_| run())).await?;
        queue.gather();
        let refused = ended.iter().filter(|lane| lane.is_none()).count();
        lanes = lanes.saturating_sub(refused).max(1);
        idle = if queue.len() < before { 0 } else { idle + 1 };
        if idle > ATTEMPTS {
            return Err(TransferError::Protocol("it ends before all is done".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CommandError;

    #[test]
    fn blocks_cover_a_file_and_no_more() {
        for size in [0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE] {
            let blocks: Vec<_> = of(size).collect();
            assert_eq!(blocks.iter().map(|block| block.length).sum::<u64>(), size);
            assert!(blocks.iter().all(|block| block.length > 0 && block.offset() + block.length <= size));
        }
    }

    #[test]
    fn an_answer_is_a_number_and_a_sum() {
        let sum = "a".repeat(64);
        assert_eq!(answer(&format!("7 {sum}  -")).unwrap(), (7, sum));
        for wrong in ["", "7", "x y", "7 abc  -"] {
            assert!(matches!(answer(wrong), Err(TransferError::Protocol(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_channel_that_is_refused_loses_no_block() {
        let queue = Queue::new(of(9 * SIZE));
        let arrived = Mutex::new(BTreeSet::new());
        let opened = std::sync::atomic::AtomicUsize::new(0);
        let lane = async || {
            let number = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            while let Some(block) = queue.next() {
                // Everything but the first channel of the first round is refused with a block in its hands.
                if (1..7).contains(&number) {
                    return Err(TransferError::Command(CommandError::Channel("no".to_owned())));
                }
                tokio::task::yield_now().await;
                arrived.lock().unwrap().insert(block.number);
                queue.arrived(block);
            }
            Ok(())
        };
        travel(&queue, 7, lane).await.unwrap();
        assert_eq!(arrived.into_inner().unwrap(), (0..9).collect());
    }

    #[test]
    fn a_block_is_not_sent_for_ever() {
        let queue = Queue::new(of(1));
        let block = queue.next().unwrap();
        assert_eq!([(); 3].map(|()| queue.again(block)), [true, true, false]);
    }
}
