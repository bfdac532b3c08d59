//! How far a transfer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Transferred;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of content that are at the other end.
    pub done: u64,
    /// Bytes of content in all.
    pub total: u64,
    /// Of those done: what did not have to be sent.
    pub kept: u64,
    /// Bytes that crossed the network for the others: fewer where they were packed.
    pub crossed: u64,
}

/// Is called often, from the task that transfers, and must not block.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// Counts bytes, and tells who watches.
pub(super) struct Meter {
    done: AtomicU64,
    total: AtomicU64,
    kept: AtomicU64,
    crossed: AtomicU64,
    watch: Option<Watch>,
}

impl Meter {
    pub(super) fn new(watch: Option<Watch>) -> Self {
        let zero = || AtomicU64::new(0);
        Self { done: zero(), total: zero(), kept: zero(), crossed: zero(), watch }
    }

    pub(super) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// So much content, as so many bytes.
    pub(super) fn moved(&self, content: u64, crossed: u64) {
        self.crossed.fetch_add(crossed, Ordering::Relaxed);
        self.done.fetch_add(content, Ordering::Relaxed);
        self.tell();
    }

    /// These have to be sent again.
    pub(super) fn lost(&self, content: u64, crossed: u64) {
        self.crossed.fetch_sub(crossed, Ordering::Relaxed);
        self.done.fetch_sub(content, Ordering::Relaxed);
        self.tell();
    }

    pub(super) fn kept(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
        self.moved(bytes, 0);
    }

    /// What is at the other end.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Puts what was kept and what crossed into the sum.
    pub(super) fn settle(&self, sum: Transferred) -> Transferred {
        let (kept, moved) = (self.kept.load(Ordering::Relaxed), self.crossed.load(Ordering::Relaxed));
        Transferred { kept, moved, ..sum }
    }

    fn tell(&self) {
        if let Some(watch) = &self.watch {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            watch(Progress {
                done: read(&self.done),
                total: read(&self.total),
                kept: read(&self.kept),
                crossed: read(&self.crossed),
            });
        }
    }
}
