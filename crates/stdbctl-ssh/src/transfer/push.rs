//! From here to the host: which way a file takes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::error::TransferError;
use super::host::Order;
use super::local::LocalFile;
use super::name::{anchored, encode, hex};
use super::talk::{Hearing, Saying};
use super::{SMALL, Side, Transferred, big_push, tree_push};

pub(super) async fn run(far: &Side<'_>, local: &Path, remote: &str) -> Result<Transferred, TransferError> {
    let metadata = fs::metadata(local).map_err(|error| TransferError::local("read", local, error))?;
    let remote = anchored(&place(local, remote)?);
    if metadata.is_dir() {
        return tree_push::run(far, local, &remote).await;
    }
    if !metadata.is_file() {
        return Err(TransferError::NotAFile(local.display().to_string()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    let is_new = if metadata.len() > SMALL {
        far.meter.expect(metadata.len());
        big_push::run(far, local, &remote, mode).await?
    } else {
        small(far, local, &remote, mode).await?
    };
    Ok(far.meter.settle(Transferred::one(is_new, metadata.len())))
}

/// What ends in a slash is the directory for it.
fn place(local: &Path, remote: &str) -> Result<String, TransferError> {
    if !remote.ends_with('/') {
        return Ok(remote.to_owned());
    }
    let whole = fs::canonicalize(local).map_err(|error| TransferError::local("read", local, error))?;
    // A link to a file goes there under its own name.
    let name = local.file_name().or_else(|| whole.file_name()).and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(TransferError::Protocol(format!("{} has no name for the host", local.display())));
    };
    Ok(format!("{remote}{name}"))
}

/// One command does it all, and leaves nothing behind if it fails.
async fn small(far: &Side<'_>, local: &Path, remote: &str, mode: u32) -> Result<bool, TransferError> {
    let bytes = read(local)?;
    let size = bytes.len() as u64;
    far.meter.expect(size);
    let say = async |saying: Saying| {
        let head = record('o', size, &format!("{mode:o}"), &hex(&Sha256::digest(&bytes)), remote.as_bytes());
        let said = saying.say([head.as_slice(), &bytes].concat()).await;
        Ok(said)
    };
    let hear = async |mut hearing: Hearing| {
        let line = hearing.line().await;
        (hearing, line.map(Option::unwrap_or_default))
    };
    match far.talk(Order::new("put", remote), say, hear).await?.as_str() {
        "new" => far.meter.moved(size, size),
        "same" => {
            far.meter.kept(size);
            return Ok(false);
        }
        other => return Err(TransferError::Protocol(crate::printable::printable(other))),
    }
    Ok(true)
}

/// A small file whole, as it was at one time.
pub(super) fn read(local: &Path) -> Result<Vec<u8>, TransferError> {
    let before = LocalFile::open(local)?.stamp()?;
    let bytes = fs::read(local).map_err(|error| TransferError::local("read", local, error))?;
    if LocalFile::open(local)?.stamp()? != before {
        return Err(TransferError::Changed(local.display().to_string()));
    }
    Ok(bytes)
}

/// A line for the host's `put`.
pub(super) fn record(what: char, length: u64, rights: &str, expected: &str, name: &[u8]) -> Vec<u8> {
    format!("{what} {length} {rights} {expected} {}\n", encode(name)).into_bytes()
}
