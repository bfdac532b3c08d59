//! Why the operator's SSH configuration could not be used.

use std::io;
use std::path::PathBuf;

/// Why the configuration could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else could have put a command into the file.
    #[error("others may write to {}, so it is not trusted", .file.display())]
    Writable {
        /// The file.
        file: PathBuf,
    },
    /// `ssh` refused the configuration.
    #[error("ssh does not accept its configuration for {host}: {words}")]
    Refused {
        /// The destination.
        host: String,
        /// What `ssh` said.
        words: String,
    },
    /// `ssh` could not be asked.
    #[error("cannot ask ssh for its configuration")]
    NotAsked(#[source] io::Error),
    /// A line of the file cannot be honoured without an `ssh` to ask.
    #[error("{}:{line}: {what}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A setting that weakens what stdbctl promises, or has no meaning here.
    #[error("`{keyword} {value}` {why}")]
    Setting {
        /// The keyword.
        keyword: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        why: &'static str,
    },
    /// Each host on the way is reached through another one, without end.
    #[error("ProxyJump leads from {host} back to itself, or through too many hosts")]
    Loop {
        /// The host that comes twice, or is too far away.
        host: String,
    },
}

impl ConfigError {
    /// What the operator can try, one line each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreadable { .. } => "make it readable, or name another with --ssh-config",
            Self::Writable { file } => return vec![format!("`chmod go-w '{}'`", file.display())],
            Self::Refused { host, .. } => {
                return vec![format!("`ssh -G {host}` shows the same complaint; mend the line it names")];
            }
            Self::NotAsked(_) => "is `ssh` in PATH a working OpenSSH client?",
            Self::Line { .. } => {
                "install the OpenSSH client, which stdbctl then asks, or leave the line out with --ssh-config FILE"
            }
            Self::Setting { keyword: "StrictHostKeyChecking", .. } => {
                "set it to accept-new, which only trusts hosts never seen before, or name another file with --ssh-config"
            }
            Self::Setting { .. } => "change it, or name another file with --ssh-config",
            Self::Loop { .. } => "give the first host on the way `ProxyJump none`",
        };
        vec![hint.to_owned()]
    }
}
