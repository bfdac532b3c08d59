//! From the host to here: what is there, and which way it takes.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::error::TransferError;
use super::host::{Order, silent};
use super::local::{place, write_small};
use super::name::{anchored, hex};
use super::talk::Hearing;
use super::{SMALL, Side, Transferred, big_pull, tree_pull};
use crate::printable::printable;

/// What is kept in memory of a directory's list: so many entries, and so many bytes of names.
const MOST_ENTRIES: usize = 500_000;
const MOST_NAMES: usize = 64 << 20;

/// A file on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Another one after every change.
    pub(super) stamp: String,
}

/// Something in a directory of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As `find` calls it: `f`, `d`, `l`.
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
}

/// What is at a path of the host.
pub(super) enum Shown {
    /// A small file comes with its content, if it did not change meanwhile.
    Small(RemoteFile, Option<Vec<u8>>),
    Big(RemoteFile),
    Tree(u32, Vec<Entry>),
}

impl Shown {
    pub(super) fn file(self) -> Option<RemoteFile> {
        match self {
            Self::Small(file, _) | Self::Big(file) => Some(file),
            Self::Tree(..) => None,
        }
    }
}

pub(super) async fn run(far: &Side<'_>, remote: &str, local: &Path) -> Result<Transferred, TransferError> {
    let local = into(remote, local)?;
    let remote = anchored(remote);
    let (file, is_new) = match show(far, &remote).await? {
        Shown::Tree(mode, entries) => return tree_pull::run(far, &remote, &local, mode, entries).await,
        Shown::Big(file) => {
            far.meter.expect(file.size);
            let is_new = big_pull::run(far, &remote, &file, &local).await?;
            (file, is_new)
        }
        Shown::Small(_, None) => return Err(TransferError::Changed(format!("{remote} on the host"))),
        Shown::Small(file, Some(content)) => {
            far.meter.expect(file.size);
            far.meter.moved(file.size, file.size);
            let is_new = write(place(&local)?, content, file.mode).await?;
            (file, is_new)
        }
    };
    Ok(far.meter.settle(Transferred::one(is_new, file.size)))
}

/// Writes a small file off the runtime's thread.
pub(super) async fn write(target: PathBuf, content: Vec<u8>, mode: u32) -> Result<bool, TransferError> {
    let path = target.clone();
    let writing = spawn_blocking(move || write_small(&path, &content, mode));
    writing.await.map_err(|error| TransferError::local("write", &target, std::io::Error::other(error)))?
}

/// What ends in a slash is the directory for it.
fn into(remote: &str, local: &Path) -> Result<PathBuf, TransferError> {
    if !local.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(local.to_owned());
    }
    match Path::new(remote).file_name() {
        Some(name) => Ok(local.join(name)),
        None => Err(TransferError::Directory(local.display().to_string())),
    }
}

/// Looks at a path of the host.
pub(super) async fn show(far: &Side<'_>, remote: &str) -> Result<Shown, TransferError> {
    let hear = async |mut hearing: Hearing| {
        let heard = read(&mut hearing).await;
        (hearing, heard)
    };
    far.talk(Order::new("show", remote), silent, hear).await
}

async fn read(hearing: &mut Hearing) -> Result<Shown, TransferError> {
    let line = hearing.line().await?.unwrap_or_default();
    let wrong = || TransferError::Protocol(printable(&line));
    let words: Vec<_> = line.split(' ').collect();
    match words.as_slice() {
        ["tree", mode] => Ok(Shown::Tree(octal(mode).ok_or_else(wrong)?, read_tree(hearing).await?)),
        ["file", mode, size, stamp] => {
            let file = RemoteFile {
                mode: octal(mode).ok_or_else(wrong)?,
                size: self::size(size).ok_or_else(wrong)?,
                stamp: (*stamp).to_owned(),
            };
            if file.size > SMALL {
                return Ok(Shown::Big(file));
            }
            let content = read_content(hearing, file.size).await?;
            Ok(Shown::Small(file, content))
        }
        _ => Err(wrong()),
    }
}

/// So many bytes and their sha256; none if it is that of others.
pub(super) async fn read_content(hearing: &mut Hearing, size: u64) -> Result<Option<Vec<u8>>, TransferError> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut content = Vec::new();
    while content.len() < size {
        let some = hearing.some(size - content.len()).await;
        if some.is_empty() {
            return Ok(None);
        }
        content.extend(some);
    }
    let sum = hearing.line().await?.unwrap_or_default();
    Ok((sum.split(' ').next() == Some(&hex(&Sha256::digest(&content)))).then_some(content))
}

async fn read_tree(hearing: &mut Hearing) -> Result<Vec<Entry>, TransferError> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(fields) = hearing.read_until(0).await? {
        let link = hearing.read_until(0).await?.unwrap_or_default();
        let entry = parse(&fields, link).ok_or_else(|| TransferError::Protocol(printable(&fields)))?;
        bytes += entry.name.len() + entry.link.len();
        entries.push(entry);
        if entries.len() > MOST_ENTRIES || bytes > MOST_NAMES {
            return Err(TransferError::Protocol(format!(
                "it lists more than {MOST_ENTRIES} files, or names of more than 64 MiB; pull parts of it"
            )));
        }
    }
    Ok(entries)
}

fn parse(fields: &[u8], link: Vec<u8>) -> Option<Entry> {
    let mut fields = fields.splitn(4, |&byte| byte == b' ');
    let mut text = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let (kind, mode, size) = (text()?.bytes().next()?, octal(text()?)?, size(text()?)?);
    Some(Entry { kind, mode, size, name: fields.next()?.to_vec(), link })
}

/// No file is larger than an offset can be.
fn size(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|size| u64::try_from(size).ok())
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().map(|mode| mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_find_is_understood_whatever_the_name() {
        let entry = parse(b"f 644 12 a b\n/\xff", Vec::new()).unwrap();
        assert_eq!(
            (entry.kind, entry.mode, entry.size, &entry.name[..]),
            (b'f', 0o644, 12, &b"a b\n/\xff"[..])
        );
        for wrong in [
            &b""[..],
            b"f",
            b"f 644 x a",
            b"f 9 1 a",
            b"f 644 1",
            b"f 644 -1 a",
            b"f 644 9223372036854775808 a",
        ] {
            assert!(parse(wrong, Vec::new()).is_none());
        }
    }

    #[test]
    fn a_slash_at_the_end_is_a_directory() {
        assert_eq!(into("/a/b", Path::new("c")).unwrap(), Path::new("c"));
        assert_eq!(into("/a/b/", Path::new("c/")).unwrap(), Path::new("c/b"));
        assert!(into("/", Path::new("c/")).is_err());
    }
}
