//! A change: what the plan shows of it, and the piece of sh that makes it.

use crate::host::Stdin;
use crate::plan::{Action, FileDiff};

/// What one task would do.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) details: Vec<String>,
    pub(crate) exact: bool,
    pub(crate) diffs: Vec<FileDiff>,
    /// The sha256 of the file it replaces. Nobody is shown it: of a content that is not shown, it alone tells whether
    /// it is still the one that was approved.
    pub(crate) replaces: Option<String>,
    /// Whether what runs with it must take it up: not when only an owner or a mode changes.
    pub(crate) content: bool,
    /// The body of the task's function in the apply script: run under `set -eu`, with `$number` and `$run` set.
    pub(crate) script: String,
    /// What the script reads from `$run/payload.$number`.
    pub(crate) payload: Option<Payload>,
    /// What it must not share with another task at the same time.
    pub(crate) lock: Option<&'static str>,
}

/// Bytes that go to the host with the script.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) stdin: Stdin,
    pub(crate) len: u64,
}

impl Payload {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len() as u64, stdin: Stdin::Bytes(bytes) }
    }
}

impl Change {
    /// A change whose effect is known exactly.
    pub(crate) fn new(action: Action, details: Vec<String>, script: String) -> Self {
        Self {
            action,
            details,
            exact: true,
            content: true,
            diffs: Vec::new(),
            replaces: None,
            script,
            payload: None,
            lock: None,
        }
    }

    /// The same, but with an effect that can only be estimated.
    pub(crate) fn inexact(mut self) -> Self {
        self.exact = false;
        self
    }

    /// The same, but of no concern to what runs with it.
    pub(crate) fn of_attributes(mut self) -> Self {
        self.content = false;
        self
    }

    pub(crate) fn under(mut self, lock: &'static str) -> Self {
        self.lock = Some(lock);
        self
    }

    pub(crate) fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = Some(payload);
        self
    }
}
