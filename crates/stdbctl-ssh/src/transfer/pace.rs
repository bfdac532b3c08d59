//! How fast the line is, and so whether blocks cross it sooner when they are packed first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Side;

/// Bytes a second that a line is fast with. Packing pays where it is faster than the line, and one processor of any
/// host packs this much; what it could win above, nobody waits for.
const FAST: u64 = 20_000_000;
/// Packed content that comes at this rate may wait for the processors, not for the line.
const DOUBTFUL: u64 = 50_000_000;

/// What is known of the line. It may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Known {
    /// Nothing: what is packed cannot be wrong by much.
    #[default]
    Nothing,
    /// A plain block has to tell.
    InDoubt,
    /// It is on its way.
    Asked,
    Slow,
    Fast,
}

/// How fast a block has crossed, in bytes a second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    packed: bool,
    wire: u64,
    content: u64,
}

impl Known {
    fn after(self, rate: Rate) -> Self {
        match rate.packed {
            _ if rate.wire >= FAST => Self::Fast,
            // It had come already, and waited to be read.
            false if rate.content >= FAST => Self::Fast,
            true if self != Self::Nothing => self,
            true if rate.content >= DOUBTFUL => Self::InDoubt,
            _ => Self::Slow,
        }
    }
}

/// Decides whether the next block is packed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    known: Mutex<Known>,
    host_packs: AtomicBool,
}

/// When a block began to cross, and what had crossed before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    at: Instant,
    wire: u64,
    content: u64,
}

impl Pace {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host has said that it has what it takes.
    pub(super) fn host_packs(&self, it_does: bool) {
        self.host_packs.store(it_does, Ordering::Relaxed);
    }

    /// Whether to pack the next block, if it shrinks.
    pub(super) fn packs(&self) -> bool {
        let mut known = self.known();
        match *known {
            _ if !self.host_packs.load(Ordering::Relaxed) => false,
            Known::InDoubt => {
                *known = Known::Asked;
                false
            }
            Known::Fast => false,
            Known::Nothing | Known::Asked | Known::Slow => true,
        }
    }

    fn learn(&self, rate: Rate) {
        let mut known = self.known();
        *known = known.after(rate);
    }
}

impl Side<'_> {
    /// A block begins to cross.
    pub(super) fn mark(&self) -> Mark {
        let stats = self.session.stats();
        let wire = stats.bytes_sent + stats.bytes_received;
        Mark { at: Instant::now(), wire, content: self.meter.done() }
    }

    /// It has crossed.
    pub(super) fn crossed(&self, since: Mark, packed: bool) {
        let now = self.mark();
        let microseconds = u64::try_from(now.at.duration_since(since.at).as_micros()).unwrap_or(u64::MAX);
        let rate =
            |from: u64, to: u64| to.saturating_sub(from).saturating_mul(1_000_000) / microseconds.max(1);
        let (wire, content) = (rate(since.wire, now.wire), rate(since.content, now.content));
        self.pace.learn(Rate { packed, wire, content });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(wire: u64) -> Rate {
        Rate { packed: false, wire, content: wire }
    }

    fn packed(wire: u64, content: u64) -> Rate {
        Rate { packed: true, wire, content }
    }

    #[test]
    fn blocks_are_packed_until_the_line_turns_out_to_be_fast() {
        let pace = Pace::default();
        assert!(!pace.packs(), "the host has not said that it can");
        pace.host_packs(true);
        for (rate, packs) in [
            (packed(1_250_000, 5_000_000), true),
            (packed(1_250_000, 90_000_000), true),
            (plain(1_250_000), true),
            (packed(30_000_000, 90_000_000), false),
            // What was packed before that was known says nothing.
            (packed(1_000_000, 4_000_000), false),
            (plain(12_000_000), true),
            (plain(110_000_000), false),
        ] {
            pace.learn(rate);
            assert_eq!(pace.packs(), packs, "{rate:?}");
        }
    }

    #[test]
    fn where_packing_may_be_the_slower_part_one_plain_block_tells() {
        let pace = Pace::default();
        pace.host_packs(true);
        pace.learn(packed(10_000_000, 100_000_000));
        assert!(!pace.packs(), "this one tells");
        assert!(pace.packs() && pace.packs());
        pace.learn(packed(10_000_000, 100_000_000));
        assert!(pace.packs());
        pace.learn(plain(11_000_000));
        assert!(pace.packs());
        pace.learn(plain(200_000_000));
        assert!(!pace.packs());
    }
}
