//! How far a transfer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of content that are at the other end, or on their way.
    pub done: u64,
    /// Bytes of content in all.
    pub total: u64,
    /// Of those done: what did not have to be sent.
    pub kept: u64,
}

/// Is called often, from the task that transfers, and must not block.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// Counts bytes, and tells who watches.
pub(super) struct Meter {
    done: AtomicU64,
    total: AtomicU64,
    kept: AtomicU64,
    watch: Option<Watch>,
}

impl Meter {
    pub(super) fn new(watch: Option<Watch>) -> Self {
        Self { done: AtomicU64::new(0), total: AtomicU64::new(0), kept: AtomicU64::new(0), watch }
    }

    pub(super) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    pub(super) fn moved(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// These have to be sent again.
    pub(super) fn lost(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
        self.tell();
    }

    pub(super) fn kept(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
        self.moved(bytes);
    }

    /// What had to be sent.
    pub(super) fn sent(&self) -> u64 {
        self.done.load(Ordering::Relaxed).saturating_sub(self.kept.load(Ordering::Relaxed))
    }

    fn tell(&self) {
        if let Some(watch) = &self.watch {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            watch(Progress { done: read(&self.done), total: read(&self.total), kept: read(&self.kept) });
        }
    }
}
