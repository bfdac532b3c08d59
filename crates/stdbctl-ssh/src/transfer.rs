//! Files to and from a host, over commands that need nothing there but sh, coreutils and find.
//!
//! A small file costs one command. A big one travels in blocks on several channels at once, because OpenSSH lets no
//! channel be more than 2 MiB ahead; each block is compared by its sha256 with what is at the other end, so what is
//! there already is not sent again. New content grows in a file beside its place, is synced, and is renamed last.

mod big_pull;
mod big_push;
mod blocks;
mod error;
mod host;
mod local;
mod name;
mod progress;
mod pull;
mod push;
mod talk;
mod tree_pull;
mod tree_push;

pub use error::TransferError;
pub use progress::{Progress, Watch};

use std::path::Path;

use crate::session::Session;
use progress::Meter;

/// Files up to this size travel whole, in one command.
const SMALL: u64 = 1 << 20;

/// How to transfer.
#[derive(Clone, Default)]
pub struct TransferOptions {
    /// As root, through sudo.
    pub sudo: bool,
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
    /// Bytes of content that crossed the network; the rest was there already.
    pub moved: u64,
    /// What is neither file, directory nor link, and was left out.
    pub skipped: Vec<String>,
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
    push::run(&Side { session, sudo: options.sudo, meter: Meter::new(options.watch.clone()) }, local, remote)
        .await
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
    pull::run(&Side { session, sudo: options.sudo, meter: Meter::new(options.watch.clone()) }, remote, local)
        .await
}

/// The host's side of a transfer.
struct Side<'a> {
    session: &'a Session,
    sudo: bool,
    meter: Meter,
}
