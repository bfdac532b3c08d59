//! Changing a `known_hosts` file that other programs, and other connections of ours, read and change too.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use russh::keys::ssh_key::public::KeyData;

use crate::known_hosts::{hashed, line_for};

/// How long another stdbctl may hold the file.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it still does.
const PAUSE: Duration = Duration::from_millis(5);

/// Adds a line for a host's key, and creates the file (and its directory) as OpenSSH would.
/// Waits so long for the file's lock at most.
pub(crate) fn remember(
    file: &Path,
    name: &str,
    key: &KeyData,
    is_hashed: bool,
    patience: Duration,
) -> io::Result<()> {
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        create_private_directory(directory)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).read(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let deadline = Instant::now() + patience;
    let mut opened = open_locked(&options, file, deadline)?;
    let mut existing = Vec::new();
    opened.read_to_end(&mut existing)?;
    let start = if is_unfinished(&existing) { "\n" } else { "" };
    let name = if is_hashed { hashed(name)? } else { name.to_owned() };
    // One append of one line: OpenSSH, which knows no lock, may be adding its own.
    opened.write_all(format!("{start}{}", line_for(&name, key)?).as_bytes())
}

/// Whether the last line lacks its end.
pub(crate) fn is_unfinished(content: &[u8]) -> bool {
    content.last().is_some_and(|byte| *byte != b'\n')
}

/// A file that nobody else who asks first changes meanwhile.
#[derive(Debug)]
pub(crate) struct LockedFile {
    /// Where it is, behind symbolic links.
    path: PathBuf,
    /// Has the lock.
    opened: File,
    pub(crate) content: Vec<u8>,
}

impl LockedFile {
    /// None if it does not exist.
    ///
    /// # Errors
    /// If it is no regular file, cannot be read, or is locked for longer than `patience`.
    pub(crate) fn open(file: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let path = match fs::canonicalize(file) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Nothing else may be put in the place of a device.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let deadline = Instant::now() + patience;
        let mut opened = open_locked(OpenOptions::new().read(true), &path, deadline)?;
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut content = Vec::new();
        opened.read_to_end(&mut content)?;
        Ok(Some(Self { path, opened, content }))
    }

    /// Whether it is this file, by whatever name.
    pub(crate) fn is(&self, file: &Path) -> bool {
        fs::canonicalize(file).is_ok_and(|path| path == self.path)
    }

    /// Puts this content in the place of what was read, all at once, with the same mode and owner. False if
    /// somebody has changed the file since, who did not ask: nothing is done then.
    ///
    /// # Errors
    /// If it cannot be written. The file is then as it was.
    pub(crate) fn replace(&self, content: &[u8]) -> io::Result<bool> {
        let beside = Beside::create(&self.path)?;
        let replaced = self.write(&beside, content);
        if !matches!(replaced, Ok(true)) {
            fs::remove_file(&beside.path).ok();
        }
        replaced
    }

    fn write(&self, beside: &Beside, content: &[u8]) -> io::Result<bool> {
        let Beside { path, file } = beside;
        (&*file).write_all(content)?;
        keep_owner_and_mode(&self.opened, file)?;
        file.sync_all()?;
        if fs::read(&self.path)? != self.content {
            return Ok(false);
        }
        fs::rename(path, &self.path)?;
        Ok(true)
    }
}

/// A new file that will take another's place.
struct Beside {
    path: PathBuf,
    file: File,
}

impl Beside {
    fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        let random = getrandom::u64().map_err(io::Error::other)?;
        name.push(format!(".{random:016x}"));
        let path = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Self { path, file })
    }
}

/// Opens a file and waits for its lock. Goes on without where there are none, and when it takes too long.
fn open_locked(options: &OpenOptions, path: &Path, deadline: Instant) -> io::Result<File> {
    loop {
        let opened = options.open(path)?;
        while matches!(opened.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
            sleep(PAUSE);
        }
        // Whoever had it may have put another file in its place.
        if is_still_there(&opened, path)? || Instant::now() >= deadline {
            return Ok(opened);
        }
    }
}

#[cfg(unix)]
fn is_still_there(opened: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (ours, there) = (opened.metadata()?, fs::metadata(path));
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

#[cfg(not(unix))]
fn is_still_there(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(unix)]
fn keep_owner_and_mode(from: &File, to: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (old, new) = (from.metadata()?, to.metadata()?);
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(to, Some(old.uid()), Some(old.gid()))?;
    }
    to.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_owner_and_mode(from: &File, to: &File) -> io::Result<()> {
    to.set_permissions(from.metadata()?.permissions())
}

fn create_private_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(test)]
#[path = "known_hosts_file_tests.rs"]
mod tests;
