//! The seam between the engine and a machine: a [`Host`] runs one sh script at a time as root and hands back
//! the bytes it wrote. SSH, the local machine and the tests' fake each implement it.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

/// A boxed future, because hosts of different kinds take part in one run.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A piece of what a script reads on its standard input, in order.
#[derive(Debug, Clone)]
pub enum Stdin {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The first `len` bytes of a local file, streamed: never held in memory whole.
    File {
        /// The local path.
        path: PathBuf,
        /// How many bytes to send. A file that turns out shorter is an error.
        len: u64,
        /// How many have been sent: the host counts, the engine shows it.
        sent: Sent,
    },
}

/// A count of bytes that both sides of the seam see.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<AtomicU64>);

impl Sent {
    /// So many more.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// None after all: they went nowhere, and are sent again.
    pub(crate) fn restart(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// So many so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A piece of what a script wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes of standard output, as they came.
    Stdout(Vec<u8>),
    /// Bytes of standard error, as they came.
    Stderr(Vec<u8>),
}

/// How a command on a host ended. Three different things that other tools call 255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Status(u32),
    /// A signal ended it; the name has no `SIG` in front, as in RFC 4254.
    Signal(String),
    /// The connection was lost before it ended: whether it still runs is unknown.
    Lost(String),
}

/// What a host did to run the scripts so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Times that this side sent something and then waited for an answer, TCP's own handshake included.
    pub round_trips: u64,
    /// Bytes sent, encrypted, as they crossed the network.
    pub bytes_sent: u64,
    /// Bytes received, encrypted, as they crossed the network.
    pub bytes_received: u64,
}

/// Why a script could not be run, or its ending not be learnt.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// What failed, in a lower-case fragment.
    pub message: String,
    /// What the operator can try.
    pub hints: Vec<String>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HostError {
    /// An error with a message and no further cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), source: None }
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// One machine that can run scripts as root, most often with the help of [`crate::root::Root`].
///
/// What a script reads is first its length in bytes and a newline, then the script, then whatever payloads the script
/// reads. `$1` of the script is `$SSH_CONNECTION`.
pub trait Host: Send + Sync {
    /// The name the operator gave it, as events and messages show it.
    fn name(&self) -> &str;

    /// Runs a script as root, feeds it `stdin` and sends what it writes to `output` until it has ended.
    ///
    /// Writing stdin and reading output go on at the same time. A receiver that was dropped does not end the
    /// script: what it writes is then read and thrown away.
    fn run(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>>;

    /// Runs a script that only looks: it holds nothing secret and reads no payloads, so a host may carry it in the
    /// command's line, where `ps` shows it for a moment, if that saves a round trip.
    fn look(
        &self,
        script: Vec<u8>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        self.run(vec![Stdin::Bytes(script)], output)
    }

    /// Gets ready for a [`Host::run`] that will come soon, while the host is busy with something else. Free.
    fn prepare(&self) {}

    /// Runs a script with `stdin` over a connection opened for nothing else, so that success proves that a
    /// new connection gets in. For a host without connections this is [`Host::run`].
    fn run_fresh(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        self.run(stdin, output)
    }

    /// Makes a lost connection anew: whatever is run from then on goes over the new one. A host does that once, so
    /// that a line that does not hold is not clung to; None if it has done so already, or has no connection.
    fn reconnect(&self) -> Option<BoxFuture<'_, Result<(), HostError>>> {
        None
    }

    /// The local address part of the connection, as the operator's side sees the host: what a name must resolve
    /// to if it is to lead here. None for the local machine.
    fn peer_address(&self) -> Option<std::net::IpAddr> {
        None
    }

    /// Counted so far, over all connections to this host.
    fn stats(&self) -> Stats {
        Stats::default()
    }
}
