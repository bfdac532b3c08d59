//! Files on this side: read and written in pieces off the runtime's thread, and put in their place when whole.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::error::TransferError;
use super::name;
use super::packed::{Packer, SAMPLE, shrinks};

/// How much is read or written at once.
pub(super) const PIECE: usize = 256 * 1024;

/// A local file that is read or written in pieces, in any order.
#[derive(Clone)]
pub(super) struct LocalFile {
    file: Arc<File>,
    path: PathBuf,
}

/// What tells whether a file has been written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

impl LocalFile {
    pub(super) fn open(path: &Path) -> Result<Self, TransferError> {
        let file = File::open(path).map_err(|error| TransferError::local("read", path, error))?;
        Ok(Self { file: Arc::new(file), path: path.to_owned() })
    }

    pub(super) fn stamp(&self) -> Result<Stamp, TransferError> {
        let metadata =
            self.file.metadata().map_err(|error| TransferError::local("read", &self.path, error))?;
        Ok(Stamp::of(&metadata))
    }

    /// A few pages from all over it.
    pub(super) fn samples(&self, size: u64) -> Result<Vec<u8>, TransferError> {
        const PAGE: u16 = 4096;
        const PAGES: u64 = 16;
        let mut samples = Vec::new();
        for page in 0..=PAGES {
            let mut bytes = [0; PAGE as usize];
            let offset = size.saturating_sub(PAGE.into()) / PAGES * page;
            let read = self.file.read_at(&mut bytes, offset);
            let read = read.map_err(|error| TransferError::local("read", &self.path, error))?;
            samples.extend(bytes.iter().take(read));
        }
        Ok(samples)
    }

    /// So many bytes, which go into the hash as well. Fewer are a source that has become shorter.
    pub(super) async fn read(
        &self,
        offset: u64,
        length: usize,
        mut hasher: Sha256,
    ) -> Result<(Vec<u8>, Sha256), TransferError> {
        let file = Arc::clone(&self.file);
        let reading = spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            hasher.update(&bytes);
            Ok((bytes, hasher))
        });
        match done(reading.await) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(TransferError::Changed(self.path.display().to_string()))
            }
            result => result.map_err(|error| TransferError::local("read", &self.path, error)),
        }
    }

    /// The sha256 of a part of it; none if it ends before.
    pub(super) async fn sum(&self, offset: u64, length: u64) -> Result<Option<[u8; 32]>, TransferError> {
        let file = Arc::clone(&self.file);
        let summing = spawn_blocking(move || {
            let (mut hasher, mut piece, mut at) = (Sha256::new(), vec![0; PIECE], 0);
            while at < length {
                let most = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
                let Some(piece) = piece.get_mut(..most) else { break };
                match file.read_exact_at(piece, offset + at) {
                    Ok(()) => hasher.update(&*piece),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                    Err(error) => return Err(error),
                }
                at += most as u64;
            }
            Ok(Some(hasher.finalize().into()))
        });
        done(summing.await).map_err(|error| TransferError::local("read", &self.path, error))
    }

    /// A part of it as it is to travel packed, with the sha256 of what it is; none if that would not pay, or if it
    /// ends before.
    pub(super) async fn pack(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<Option<(Vec<u8>, [u8; 32])>, TransferError> {
        let file = Arc::clone(&self.file);
        let packing = spawn_blocking(move || {
            let (mut packer, mut hasher, mut at) = (Packer::new(), Sha256::new(), 0);
            let mut buffer = vec![0; PIECE];
            while at < length {
                let most = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
                let Some(piece) = buffer.get_mut(..most) else { break };
                match file.read_exact_at(piece, offset + at) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                    read => read?,
                }
                let sample = piece.get(..SAMPLE).unwrap_or(piece);
                if at == 0 && !shrinks(sample) || !packer.take(piece) {
                    return Ok(None);
                }
                hasher.update(&*piece);
                at += most as u64;
            }
            Ok(packer.finish().map(|packed| (packed, hasher.finalize().into())))
        });
        done(packing.await).map_err(|error| TransferError::local("read", &self.path, error))
    }

    /// Writes these bytes, and takes them into the hash.
    pub(super) async fn write(
        &self,
        offset: u64,
        bytes: Vec<u8>,
        mut hasher: Sha256,
    ) -> Result<Sha256, TransferError> {
        let file = Arc::clone(&self.file);
        let writing = spawn_blocking(move || {
            file.write_all_at(&bytes, offset)?;
            hasher.update(&bytes);
            Ok(hasher)
        });
        done(writing.await).map_err(|error| TransferError::local("write", &self.path, error))
    }
}

fn done<T>(result: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    result.map_err(io::Error::other)?
}

/// Where a file is in truth, behind symbolic links.
///
/// # Errors
/// If a directory or something else that is no file is there.
pub(super) fn place(path: &Path) -> Result<PathBuf, TransferError> {
    let place = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        _ => path.to_owned(),
    };
    match fs::metadata(&place) {
        Ok(metadata) if metadata.is_dir() => Err(TransferError::Directory(place.display().to_string())),
        Ok(metadata) if !metadata.is_file() => Err(TransferError::NotAFile(place.display().to_string())),
        _ => Ok(place),
    }
}

/// A file beside its place, into which the content grows. Nobody else writes it meanwhile.
pub(super) struct Growing {
    pub(super) file: LocalFile,
    target: PathBuf,
}

impl Growing {
    /// One that is found again for the same place.
    pub(super) fn resumable(target: &Path) -> Result<Self, TransferError> {
        let key = name::key(&[target.file_name().unwrap_or_default().as_encoded_bytes()]);
        let path = beside(target, &key);
        let wrong = |error| TransferError::local("write", &path, error);
        let file = own(&path).map_err(wrong)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(TransferError::Busy(target.to_owned())),
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
            Ok(()) => {}
        }
        Ok(Self { file: LocalFile { file: Arc::new(file), path }, target: target.to_owned() })
    }

    /// Fails if so many bytes have no room where it grows.
    pub(super) fn has_room(&self, size: u64) -> Result<(), TransferError> {
        let LocalFile { file, path } = &self.file;
        let wrong = |error| TransferError::local("write", path, error);
        let disk = rustix::fs::fstatvfs(file).map_err(|error| wrong(error.into()))?;
        let mine = file.metadata().map_err(wrong)?.blocks() * 512;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(mine);
        if free >= size {
            return Ok(());
        }
        let words = format!("{free} bytes are free there, and {size} are needed");
        Err(wrong(io::Error::new(io::ErrorKind::StorageFull, words)))
    }

    pub(super) fn set_size(&self, size: u64) -> Result<(), TransferError> {
        self.file.file.set_len(size).map_err(|error| TransferError::local("write", &self.file.path, error))
    }

    /// Puts it in its place, with the mode of what is there or else this one.
    pub(super) async fn finish(self, mode: u32) -> Result<(), TransferError> {
        let Self { file: LocalFile { file, path }, target } = self;
        let (part, place) = (path.clone(), target.clone());
        let finishing = spawn_blocking(move || {
            adopt(&file, &place, mode)?;
            file.sync_all()?;
            fs::rename(part, &place)?;
            sync_directory(&place)
        });
        done(finishing.await).map_err(|error| TransferError::local("write", &target, error))
    }
}

/// The file at a path that others know: opened if it is one of our own and has no other name, made anew otherwise.
fn own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    if let Ok(file) = options.clone().custom_flags(flags.bits().cast_signed()).open(path) {
        let there = file.metadata()?;
        if there.is_file() && there.uid() == rustix::process::geteuid().as_raw() && there.nlink() == 1 {
            return Ok(file);
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    options.create_new(true).open(path)
}

/// Writes a small file whole. False if it was there already.
pub(super) fn write_small(target: &Path, bytes: &[u8], mode: u32) -> Result<bool, TransferError> {
    let wrong = |error| TransferError::local("write", target, error);
    let same_size =
        fs::symlink_metadata(target).is_ok_and(|it| it.is_file() && it.len() == bytes.len() as u64);
    if same_size && fs::read(target).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let part = beside(target, &name::nonce());
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(bytes)?;
        adopt(&file, target, mode)?;
        file.sync_all()?;
        fs::rename(&part, target)?;
        sync_directory(target)
    })();
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written.map(|()| true).map_err(wrong)
}

fn beside(target: &Path, key: &str) -> PathBuf {
    target.with_file_name(format!(".stdbctl-{key}.part"))
}

fn adopt(file: &File, target: &Path, mode: u32) -> io::Result<()> {
    let kept = fs::symlink_metadata(target).ok().filter(Metadata::is_file);
    if let Some(kept) = &kept {
        // Only root can, and only then does it matter.
        std::os::unix::fs::fchown(file, Some(kept.uid()), Some(kept.gid())).ok();
    }
    let mode = kept.map_or(mode, |kept| kept.permissions().mode());
    file.set_permissions(Permissions::from_mode(mode & 0o777))
}

pub(super) fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = of.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_grows_is_a_file_of_our_own() {
        let directory = tempfile::tempdir().unwrap();
        let (part, victim) = (directory.path().join("part"), directory.path().join("victim"));
        fs::write(&victim, "good").unwrap();
        let plants: [fn(&Path, &Path) -> io::Result<()>; 2] =
            [|victim, part| symlink(victim, part), |victim, part| fs::hard_link(victim, part)];
        for plant in plants {
            fs::remove_file(&part).ok();
            plant(&victim, &part).unwrap();
            own(&part).unwrap().write_all(b"new").unwrap();
            assert_eq!(fs::read(&victim).unwrap(), b"good");
            assert_eq!(fs::read(&part).unwrap(), b"new");
        }
        assert_eq!(own(&part).unwrap().metadata().unwrap().len(), 3, "it goes on from there");
    }

    #[test]
    fn what_has_no_room_is_not_begun() {
        let directory = tempfile::tempdir().unwrap();
        let growing = Growing::resumable(&directory.path().join("a")).unwrap();
        growing.has_room(1).unwrap();
        let error = growing.has_room(i64::MAX as u64).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("are free there"));
    }
}
