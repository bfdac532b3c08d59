//! Looking on while a connection is set up, for whoever wants to know what happens on the way.
//!
//! Nothing is asked of a server for it: the same bytes cross the network with an observer and without.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::Names;
use russh::compression::Compression;

use crate::count::Stats;
use crate::printable::printable;

/// Whoever looks on, if anybody does. Clones are the same.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<dyn Fn(Observation) + Send + Sync>>);

impl Observer {
    /// `see` is called for everything that happens, in order, and must not block.
    pub fn new(see: impl Fn(Observation) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(see)))
    }

    /// Without anybody to tell it to, an observation is not even made.
    pub(crate) fn tell(&self, observation: impl FnOnce() -> Observation) {
        if let Some(see) = &self.0 {
            see(observation());
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "Observer" } else { "Nobody" })
    }
}

/// Something that happened on the way to one host. All text of the server's in it is fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// Keys were looked for. Nothing has been sent yet.
    Identities {
        /// Those that will be offered, in order.
        offered: Vec<String>,
        /// Those that will not, and why.
        skipped: Vec<String>,
    },
    /// The name was looked up.
    Resolved {
        /// Its addresses, in the order in which they are tried.
        addresses: Vec<SocketAddr>,
    },
    /// Something answers.
    Connected {
        /// The one of its addresses that was quickest; none if another host or a command leads there.
        address: Option<SocketAddr>,
    },
    /// The server has said what it is.
    Identified {
        /// Its identification string, `SSH-2.0-OpenSSH_9.2p1` for example.
        words: String,
    },
    /// The server is the one it should be.
    Recognised(Recognised),
    /// Both sides have agreed on keys; again whenever they have done so anew.
    Agreed(Algorithms),
    /// The server was offered a way to log in.
    Answered {
        /// What it was offered.
        identity: String,
        /// What came of it.
        answer: Answer,
    },
    /// The server lets the user in.
    LoggedIn {
        /// What has crossed the network until now, hosts on the way left out.
        stats: Stats,
    },
    /// The server was too busy, and is tried again from the beginning.
    TurnedAway {
        /// What it looked like.
        why: String,
        /// How long nothing is done before that.
        pause: Duration,
    },
}

/// A server that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The type of its key, `ssh-ed25519` for example.
    pub key_type: String,
    /// The key's fingerprint, `SHA256:...`.
    pub fingerprint: String,
    /// Whether it has shown a certificate of that key.
    pub by_certificate: bool,
    /// Why it is trusted.
    pub trusted: Trusted,
}

/// Why a host key is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trusted {
    /// It is on record.
    Recorded {
        /// The file that has it.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
    },
    /// An authority vouches for it.
    Vouched {
        /// The fingerprint of the authority's key.
        authority: String,
        /// The file that trusts the authority.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
    },
    /// It was not known, and has been accepted now.
    Accepted {
        /// The file it was added to.
        file: Option<PathBuf>,
    },
}

/// What both sides have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithms {
    /// The key exchange.
    pub key_exchange: String,
    /// Whether messages that were slipped in before the encryption began would be noticed (strict key exchange).
    pub strict: bool,
    /// What the server signs with.
    pub host_key: String,
    /// The cipher, of both directions.
    pub cipher: String,
    /// What else is done to what is sent.
    pub sent: Direction,
    /// What else is done to what is received.
    pub received: Direction,
}

/// What is done to one direction, besides being encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direction {
    /// What proves that nothing was changed; none if the cipher does that itself.
    pub mac: Option<String>,
    /// How it is compressed, if it is.
    pub compression: Option<String>,
}

/// What a server said to a way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is enough.
    Taken,
    /// It is not.
    Refused {
        /// What the server would take next, by its own words.
        methods: Vec<String>,
        /// The server took it but wants a second proof.
        partial: bool,
    },
    /// It could not be offered after all, for this reason.
    NotOffered(String),
    /// The server would take the key, but it did not sign, for this reason.
    Unsigned(String),
    /// The server hung up.
    HungUp,
}

impl Algorithms {
    pub(crate) fn new(names: &Names) -> Self {
        let cipher = names.cipher.as_ref();
        // A cipher that needs no MAC comes with the name of one all the same.
        let authenticates = cipher.contains("-gcm@") || cipher.contains("poly1305");
        let direction = |mac: &str, compression: &Compression| Direction {
            mac: (!authenticates).then(|| mac.to_owned()),
            // Without zlib, which is not compiled in, there is no other.
            compression: match compression {
                Compression::None => None,
            },
        };
        Self {
            key_exchange: names.kex.as_ref().to_owned(),
            strict: names.strict_kex(),
            host_key: names.key.to_string(),
            cipher: cipher.to_owned(),
            sent: direction(names.client_mac.as_ref(), &names.client_compression),
            received: direction(names.server_mac.as_ref(), &names.server_compression),
        }
    }

    /// Whether what is recorded today stays secret from the quantum computers of tomorrow.
    pub fn is_post_quantum(&self) -> bool {
        self.key_exchange.starts_with("mlkem")
    }
}

/// The identification string among a server's first words, once it is complete.
pub(crate) fn identification(opening: &[u8]) -> Option<String> {
    let mut lines = opening.split_inclusive(|byte| *byte == b'\n');
    lines.find(|line| line.starts_with(b"SSH-") && line.ends_with(b"\n")).map(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identification_is_found_once_it_is_complete() {
        let opening = b"welcome\r\nSSH-2.0-OpenSSH_9.2p1 \x1b[31mDebian\r\n\0\0";
        assert_eq!(identification(opening).unwrap(), "SSH-2.0-OpenSSH_9.2p1 \u{fffd}[31mDebian");
        let end = opening.iter().rposition(|byte| *byte == b'\n').unwrap();
        assert!((0..=end).all(|length| identification(&opening[..length]).is_none()));
    }

    #[test]
    fn nothing_is_made_that_nobody_wants_to_know() {
        Observer::default().tell(|| panic!("nobody is there"));
    }
}
