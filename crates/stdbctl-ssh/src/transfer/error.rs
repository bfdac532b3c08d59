//! Why a transfer failed, in words that lead to the cause.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::CommandError;
use crate::printable::printable;
use crate::quote::NulInArgument;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A local file or directory cannot be read or written.
    #[error("cannot {what} {}", .path.display())]
    Local {
        /// What was to be done with it: `read`, `write`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The place is a directory, on either side.
    #[error("{0} is a directory")]
    Directory(String),
    /// The place is taken by something that is no file, on either side.
    #[error("{0} is neither a file nor a directory")]
    NotAFile(String),
    /// The host has nothing there.
    #[error("the host has no {path}: {said}")]
    NotFound {
        /// The path as given.
        path: String,
        /// The host's words.
        said: String,
    },
    /// The user may not read or write there.
    #[error("the host denies access to {path}: {said}")]
    Denied {
        /// The path as given.
        path: String,
        /// The host's words.
        said: String,
        /// It was tried as root.
        as_root: bool,
    },
    /// The host has no room.
    #[error("the host has no room for {path}: {said}")]
    NoSpace {
        /// The path as given.
        path: String,
        /// The host's words.
        said: String,
    },
    /// The source was written to while it was read.
    #[error("{0} changes while it is read")]
    Changed(String),
    /// What arrived is not what was sent, more than once.
    #[error("{0} does not arrive as it was sent")]
    Damaged(String),
    /// The host did not become root, for this reason of who tried it. Nothing was changed.
    #[error("cannot become root")]
    Root(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another program writes the same file, on either side.
    #[error("another stdbctl is writing {}", .0.display())]
    Busy(PathBuf),
    /// The host failed at it for another reason.
    #[error("the host failed at {path}: {said}")]
    Host {
        /// The path as given.
        path: String,
        /// The host's words.
        said: String,
    },
    /// The host says what is no answer.
    #[error("the host's answer could not be read: {0}")]
    Protocol(String),
    /// A name of the host would leave the directory that is being written.
    #[error("the host names a file that is outside of its directory: {0}")]
    Escapes(String),
    /// The connection was lost.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The command could not be run.
    #[error("cannot run the command")]
    Command(#[from] CommandError),
    /// A path contains a NUL byte.
    #[error(transparent)]
    Nul(#[from] NulInArgument),
}

impl TransferError {
    pub(super) fn local(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Local { what, path: path.to_owned(), source }
    }

    /// From how the host's script ended, and its last words.
    pub(super) fn of_host(path: &str, status: u32, said: &str, as_root: bool) -> Self {
        let (path, said) = (printable(path), printable(last_line(said)));
        let says = |words: &str| said.contains(words);
        match status {
            71 => Self::Directory(format!("{path} on the host")),
            72 => Self::NotAFile(format!("{path} on the host")),
            73 => Self::NoSpace { path, said },
            74 => Self::Changed(format!("{path} on the host")),
            75 => Self::Damaged(path),
            76 => Self::Busy(format!("{path} on the host").into()),
            _ if says("No space left") || says("quota exceeded") => Self::NoSpace { path, said },
            _ if says("Permission denied") || says("Operation not permitted") || says("Read-only file") => {
                Self::Denied { path, said, as_root }
            }
            _ if says("No such file") || says("nonexistent") => Self::NotFound { path, said },
            _ if said.is_empty() => Self::Host { path, said: format!("exit status {status}") },
            _ => Self::Host { path, said },
        }
    }

    /// What to try, one line each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Directory(_) => "write a / at its end to put something into it",
            Self::Denied { as_root: false, .. } => "with --sudo it is done as root",
            Self::NoSpace { .. } => {
                "make room there and run again: what has arrived is kept, and is not sent again"
            }
            Self::Changed(_) => "run again once nothing writes to it; what is the same is not sent again",
            Self::Busy(_) => "wait until it has ended",
            Self::Lost(_) | Self::Command(CommandError::Gone(_)) => {
                "run again: what has arrived is not sent again"
            }
            Self::Damaged(_) => "run again; if it stays so, one side's disk or memory is broken",
            Self::Local { what: "write", path, source }
                if source.kind() == io::ErrorKind::NotFound && !path.parent().is_some_and(Path::is_dir) =>
            {
                let folder = path.parent().unwrap_or(path);
                return vec![format!("`mkdir -p '{}'` makes the folder that it goes into", folder.display())];
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

fn last_line(said: &str) -> &str {
    said.trim().lines().last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_words_are_understood() {
        let of = |status, said: &str| TransferError::of_host("/a", status, said, false);
        assert!(matches!(of(2, "sh: 3: cannot open /a: Permission denied\n"), TransferError::Denied { .. }));
        assert!(matches!(
            of(1, "stat: cannot stat '/a': No such file or directory"),
            TransferError::NotFound { .. }
        ));
        assert!(matches!(
            of(1, "dd: error writing 'x': No space left on device"),
            TransferError::NoSpace { .. }
        ));
        assert!(matches!(of(71, ""), TransferError::Directory(_)));
        assert_eq!(of(9, "").to_string(), "the host failed at /a: exit status 9");
        assert_eq!(of(1, "a\n\x1b[2Jb").to_string(), "the host failed at /a: \u{fffd}[2Jb");
        assert!(of(2, "Permission denied").hints().concat().contains("--sudo"));
    }
}
