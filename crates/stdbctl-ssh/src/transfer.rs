//! Files to and from a host, over commands that need nothing there but sh, coreutils, find and /proc; gzip,
//! flock and openssl are used where they are.
//!
//! A small file costs one command. A big one travels in blocks on several channels at once, because OpenSSH lets no
//! channel be more than 2 MiB ahead; each block is compared by its sha256 with what is at the other end, so what is
//! there already is not sent again. Where the line is slow, blocks that shrink are packed on their way: decided by the
//! rate of the line and the beginning of each block, compared and kept as what they are. New content grows in a file beside its place, is synced, and is renamed last.

mod big_pull;
mod big_push;
mod blocks;
mod error;
mod host;
#[cfg(test)]
mod host_tests;
mod input;
mod lanes;
mod local;
mod name;
mod pace;
mod packed;
mod progress;
mod pull;
mod push;
mod talk;
mod tree_pull;
mod tree_push;

pub use error::TransferError;
pub use input::{AsRoot, TransferInput};
pub use progress::{Progress, Watch};

use std::path::Path;
use std::sync::Arc;

use crate::session::Session;
use pace::Pace;
use progress::Meter;

/// Files up to this size travel whole, in one command.
const SMALL: u64 = 1 << 20;

/// How to transfer.
#[derive(Clone, Default)]
pub struct TransferOptions {
    /// As root, with the help of this; otherwise as the login user.
    pub as_root: Option<Arc<dyn AsRoot>>,
    /// Who is told how far it is.
    pub watch: Option<Watch>,
}

/// What was transferred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Files, links and directories that are new or changed.
    pub changed: u64,
    /// Those that were there already as they should be.
    pub unchanged: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Of those: what was there already and did not have to be sent.
    pub kept: u64,
    /// Bytes that crossed the network for the rest: fewer than that where they were packed.
    pub moved: u64,
    /// What is neither file, directory nor link, and was left out.
    pub skipped: Vec<String>,
}

impl Transferred {
    /// One file of so many bytes.
    fn one(is_new: bool, bytes: u64) -> Self {
        Self { changed: u64::from(is_new), unchanged: u64::from(!is_new), bytes, ..Self::default() }
    }
}

/// Copies a local file or directory to a path on the host.
///
/// A `remote` that ends in `/` is the directory to put it in, otherwise the place itself. Cut off, it goes on from
/// there when it is called again.
///
/// # Errors
/// If either side cannot be read or written, or the connection is lost. No file is left half written in its place.
pub async fn push(
    session: &Session,
    local: &Path,
    remote: &str,
    options: &TransferOptions,
) -> Result<Transferred, TransferError> {
    push::run(&Side::new(session, options), local, remote).await
}

/// Copies a file or directory of the host to a local path, under the rules of [`push()`].
///
/// # Errors
/// As [`push()`].
pub async fn pull(
    session: &Session,
    remote: &str,
    local: &Path,
    options: &TransferOptions,
) -> Result<Transferred, TransferError> {
    pull::run(&Side::new(session, options), remote, local).await
}

/// The host's side of a transfer.
struct Side<'a> {
    session: &'a Session,
    as_root: Option<&'a dyn AsRoot>,
    meter: Meter,
    pace: Pace,
}

impl<'a> Side<'a> {
    fn new(session: &'a Session, options: &'a TransferOptions) -> Self {
        let meter = Meter::new(options.watch.clone());
        Self { session, as_root: options.as_root.as_deref(), meter, pace: Pace::default() }
    }
}
