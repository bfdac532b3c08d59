//! `stdbctl.lock`: the sha256 of every release archive that was ever deployed. It is committed beside the
//! configuration, so that the next machine and the next colleague unpack the same bytes or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The name of the file.
pub(crate) const FILE_NAME: &str = "stdbctl.lock";

const HEADER: &str =
    "# What stdbctl has deployed, so that later runs unpack the same bytes. Commit this file.\n";

/// Which release: one archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    /// `spacetimedb`.
    pub(crate) product: String,
    /// `1.3.0`.
    pub(crate) version: String,
    /// `x86_64`, as `uname -m` says it.
    pub(crate) machine: String,
}

/// The contents of a lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LockFile {
    releases: BTreeMap<Release, String>,
}

/// A lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockFileError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}:{line}: not a line of the form `spacetimedb 1.3.0 x86_64 sha256:...`", path.display())]
    Syntax { path: PathBuf, line: usize },
    #[error("{}:{line}: this release is there twice", path.display())]
    Twice { path: PathBuf, line: usize },
    #[error(
        "the archive of {} {} for {} on the host has sha256 {found}, and {FILE_NAME} says {locked}",
        release.product,
        release.version,
        release.machine
    )]
    Mismatch { release: Box<Release>, locked: String, found: String },
}

impl LockFile {
    /// The file beside the configuration, or in the current directory if there is none.
    pub(crate) fn path_beside(config: Option<&Path>) -> PathBuf {
        config.and_then(Path::parent).unwrap_or(Path::new("")).join(FILE_NAME)
    }

    /// Reads a file. One that is not there is empty.
    pub(crate) fn read(path: &Path) -> Result<Self, LockFileError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(LockFileError::Read { path: path.to_owned(), source }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, LockFileError> {
        let mut lock = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (release, sha256) = parse_line(line)
                .ok_or_else(|| LockFileError::Syntax { path: path.to_owned(), line: number })?;
            if lock.releases.insert(release, sha256).is_some() {
                return Err(LockFileError::Twice { path: path.to_owned(), line: number });
            }
        }
        Ok(lock)
    }

    /// The sha256 in hex of all archives of a version: one a machine type.
    pub(crate) fn sha256s(&self, product: &str, version: &str) -> BTreeSet<&str> {
        let of_version = |release: &&Release| release.product == product && release.version == version;
        let (releases, sha256s) = (self.releases.iter(), |(_, sha256)| String::as_str(sha256));
        releases.filter(|(release, _)| of_version(release)).map(sha256s).collect()
    }

    /// Records what was unpacked. True if the file has to be written for it.
    ///
    /// # Errors
    /// If the release is recorded with other bytes.
    pub(crate) fn record(&mut self, release: Release, sha256: &str) -> Result<bool, LockFileError> {
        let found = sha256.to_ascii_lowercase();
        match self.releases.get(&release) {
            Some(locked) if *locked == found => Ok(false),
            Some(locked) => {
                Err(LockFileError::Mismatch { release: Box::new(release), locked: locked.clone(), found })
            }
            None => {
                self.releases.insert(release, found);
                Ok(true)
            }
        }
    }

    /// Adds releases to a file, which another run may be doing at the same time: what that has recorded counts.
    ///
    /// # Errors
    /// If one of them is recorded with other bytes. The others are recorded all the same.
    pub(crate) fn add(
        path: &Path,
        releases: impl IntoIterator<Item = (Release, String)>,
    ) -> Result<(), LockFileError> {
        let mut releases = releases.into_iter().peekable();
        if releases.peek().is_none() {
            return Ok(());
        }
        let unwritable = |source| LockFileError::Write { path: path.to_owned(), source };
        // Held until it is closed. The directory, since the file itself is replaced.
        let directory = File::open(directory(path)).map_err(unwritable)?;
        directory.lock().map_err(unwritable)?;
        let mut lock = Self::read(path)?;
        let (mut is_new, mut mismatch) = (false, Ok(()));
        for (release, sha256) in releases {
            match lock.record(release, &sha256) {
                Ok(new) => is_new |= new,
                Err(error) => mismatch = mismatch.and(Err(error)),
            }
        }
        if is_new {
            lock.write(path).map_err(unwritable)?;
        }
        mismatch
    }

    /// Writes the file: whole, or not at all.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let mut file = File::create(&beside)?;
        file.write_all(self.to_string().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    }
}

impl std::fmt::Display for LockFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HEADER)?;
        for (release, sha256) in &self.releases {
            let Release { product, version, machine } = release;
            writeln!(f, "{product} {version} {machine} sha256:{sha256}")?;
        }
        Ok(())
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn parse_line(line: &str) -> Option<(Release, String)> {
    let mut words = line.split_ascii_whitespace();
    let (product, version, machine) = (words.next()?, words.next()?, words.next()?);
    let sha256 = words.next()?.strip_prefix("sha256:")?;
    let is_sha256 = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_sha256 || words.next().is_some() {
        return None;
    }
    let release =
        Release { product: product.to_owned(), version: version.to_owned(), machine: machine.to_owned() };
    Some((release, sha256.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";

    fn release(version: &str) -> Release {
        Release {
            product: "spacetimedb".to_owned(),
            version: version.to_owned(),
            machine: "x86_64".to_owned(),
        }
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = LockFile::path_beside(Some(&directory.path().join("stdbctl.yaml")));
        assert_eq!(LockFile::read(&path).unwrap(), LockFile::default());

        let mut lock = LockFile::default();
        assert!(lock.record(release("1.3.0"), &SHA256.to_uppercase()).unwrap());
        assert!(!lock.record(release("1.3.0"), SHA256).unwrap());
        LockFile::add(&path, []).unwrap();
        assert!(!path.exists());
        LockFile::add(&path, [(release("1.3.0"), SHA256.to_owned())]).unwrap();

        let again = LockFile::read(&path).unwrap();
        assert_eq!(again.sha256s("spacetimedb", "1.3.0"), BTreeSet::from([SHA256]));
        assert_eq!(again.sha256s("spacetimedb", "1.2.0"), BTreeSet::new());
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "a temporary file was left behind"
        );
        insta::assert_snapshot!(again, @r"
        # What stdbctl has deployed, so that later runs unpack the same bytes. Commit this file.
        spacetimedb 1.3.0 x86_64 sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c
        ");
    }

    #[test]
    fn other_bytes_under_a_recorded_version_are_an_error() {
        let mut lock = LockFile::default();
        lock.record(release("1.3.0"), SHA256).unwrap();
        let error = lock.record(release("1.3.0"), &"0".repeat(64)).unwrap_err().to_string();
        assert!(error.contains(SHA256) && error.contains("1.3.0"), "{error}");
        assert_eq!(lock.sha256s("spacetimedb", "1.3.0"), BTreeSet::from([SHA256]));
    }

    #[test]
    fn what_other_runs_record_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let versions: Vec<_> = (0..8).map(|number| format!("1.3.{number}")).collect();
        std::thread::scope(|scope| {
            for version in &versions {
                scope.spawn(|| LockFile::add(&path, [(release(version), SHA256.to_owned())]).unwrap());
            }
        });
        let lock = LockFile::read(&path).unwrap();
        assert_eq!(lock.releases.len(), versions.len());

        let other = [(release("1.3.0"), "0".repeat(64)), (release("1.4.0"), SHA256.to_owned())];
        let error = LockFile::add(&path, other).unwrap_err();
        assert!(matches!(error, LockFileError::Mismatch { .. }), "{error}");
        let lock = LockFile::read(&path).unwrap();
        assert_eq!(lock.sha256s("spacetimedb", "1.3.0"), BTreeSet::from([SHA256]));
        assert_eq!(lock.sha256s("spacetimedb", "1.4.0"), BTreeSet::from([SHA256]));
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_the_line() {
        let line = format!("spacetimedb 1.3.0 x86_64 sha256:{SHA256}");
        let damaged = [
            "spacetimedb 1.3.0".to_owned(),
            line.replace("sha256:", ""),
            line.replace('b', "x"),
            format!("{line} more"),
            format!("{line}\n{line}"),
        ];
        for text in damaged {
            let error =
                LockFile::parse(&format!("# comment\n{text}\n"), Path::new("stdbctl.lock")).unwrap_err();
            let message = error.to_string();
            assert!(
                message.starts_with("stdbctl.lock:2: ") || message.starts_with("stdbctl.lock:3: "),
                "{message}"
            );
        }
    }
}
