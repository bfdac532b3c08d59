//! When this side exchanges the keys of a connection anew.

use std::time::Duration;

use russh::Limits;

/// After how much, or after how long, whichever comes first. The server has limits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RekeyLimit {
    /// Bytes in either direction.
    pub bytes: usize,
    /// Since the last time.
    pub time: Duration,
}

impl Default for RekeyLimit {
    /// One GiB and one hour, as RFC 4253 recommends.
    fn default() -> Self {
        let Limits { rekey_write_limit, rekey_time_limit, .. } = Limits::default();
        Self { bytes: rekey_write_limit, time: rekey_time_limit }
    }
}

impl RekeyLimit {
    /// Limits of the configuration. What it leaves open, and what is longer than usual, is as usual.
    pub(crate) fn new(bytes: Option<usize>, time: Option<Duration>) -> Self {
        let usual = Self::default();
        let bytes = bytes.map_or(usual.bytes, |bytes| bytes.min(usual.bytes));
        let time = time.map_or(usual.time, |time| time.min(usual.time));
        Self { bytes, time }
    }

    pub(crate) fn limits(self) -> Limits {
        Limits::new(self.bytes, self.bytes, self.time)
    }
}
