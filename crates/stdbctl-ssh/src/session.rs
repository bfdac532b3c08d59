//! One connection to one host, on which commands run side by side.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelOpenFailure, Disconnect};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, Shared};
use crate::command::{self, Chunk, Ending};
use crate::connect::Line;
use crate::count::{Counter, Cutter, Stats};
use crate::error::{CommandError, Step};
use crate::printable::printable;

/// Below sshd's default `MaxSessions` of 10.
const MOST_CHANNELS: usize = 8;
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A logged-in connection. Dropping it cuts it; [`Session::close`] says goodbye first.
pub struct Session {
    line: Arc<Opener>,
    counter: Arc<Counter>,
    address: SocketAddr,
    ahead: Mutex<Option<JoinHandle<Result<Opened, CommandError>>>>,
    cutter: Cutter,
}

struct Opener {
    handle: Handle<Client>,
    shared: Arc<Shared>,
    free: Arc<Semaphore>,
    patience: Duration,
}

/// A channel of the connection, and its share of what the server allows.
pub(crate) struct Opened {
    pub(crate) channel: Channel<Msg>,
    pub(crate) share: OwnedSemaphorePermit,
}

impl Session {
    pub(crate) fn new(line: Line, address: SocketAddr, patience: Duration) -> Self {
        let Line { handle, shared, counter, cutter } = line;
        let free = Arc::new(Semaphore::new(MOST_CHANNELS));
        let line = Arc::new(Opener { handle, shared, free, patience });
        Self { line, counter, address, ahead: Mutex::new(None), cutter }
    }

    /// Runs a command: one line for the user's login shell, already quoted.
    ///
    /// The command and the beginning of its input leave together. Input is sent and output received at the same
    /// time; both streams of output come through `output`, in the order in which they arrived. A receiver that
    /// was dropped does not end the command: what it writes is then read and thrown away. Dropping the future
    /// closes the channel, upon which sshd closes the command's input and output.
    ///
    /// At most eight commands run at once; more wait for their turn.
    pub async fn exec<R>(
        &self,
        command: &str,
        stdin: R,
        output: mpsc::Sender<Chunk>,
    ) -> Result<Ending, CommandError>
    where
        R: AsyncRead + Unpin + Send,
    {
        if command.contains('\0') {
            return Err(CommandError::Nul);
        }
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let opened = match ahead {
            Some(opening) => opening.await.unwrap_or_else(|_| Err(self.line.gone())),
            None => self.line.open().await,
        };
        command::run(opened?, Arc::clone(&self.line.shared), command, stdin, output).await
    }

    /// Begins to open the channel of the next command, which then costs one round trip instead of two.
    ///
    /// Returns at once. Called again before that command, or while eight run, it does nothing.
    pub fn open_ahead(&self) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.is_none() && self.line.free.available_permits() > 0 {
            let line = Arc::clone(&self.line);
            *ahead = Some(tokio::spawn(async move { line.open().await }));
        }
    }

    /// What has crossed the network so far.
    pub fn stats(&self) -> Stats {
        self.counter.stats()
    }

    /// The address and port at the other end.
    pub fn peer_address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.line.handle.is_closed()
    }

    /// Says goodbye and closes the connection. Commands that still run are cut off.
    pub async fn close(self) {
        let Self { line, ahead, cutter, .. } = self;
        let ahead = ahead.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(opening) = ahead {
            opening.abort();
            opening.await.ok();
        }
        // A server that does not let go within two seconds is left to the cutter.
        timeout(FAREWELL, async {
            line.handle.disconnect(Disconnect::ByApplication, "", "").await.ok();
            if let Some(line) = Arc::into_inner(line) {
                line.handle.await.ok();
            }
        })
        .await
        .ok();
        drop(cutter);
    }
}

impl Opener {
    async fn open(&self) -> Result<Opened, CommandError> {
        let share = Arc::clone(&self.free).acquire_owned().await.map_err(|_| self.gone())?;
        match timeout(self.patience, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(Opened { channel, share }),
            Ok(Err(russh::Error::ChannelOpenFailure(failure))) => {
                Err(CommandError::Channel(describe(&failure)))
            }
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(CommandError::Timeout { step: Step::Channel, seconds: self.patience.as_secs() }),
        }
    }

    fn gone(&self) -> CommandError {
        CommandError::Gone(self.shared.reason())
    }
}

fn describe(failure: &ChannelOpenFailure) -> String {
    match failure {
        ChannelOpenFailure::AdministrativelyProhibited => "it does not allow that".to_owned(),
        ChannelOpenFailure::ConnectFailed => "too many are open already (MaxSessions)".to_owned(),
        ChannelOpenFailure::UnknownChannelType => "it knows no sessions".to_owned(),
        ChannelOpenFailure::ResourceShortage => "it is short of resources".to_owned(),
        ChannelOpenFailure::Other { code, reason } => format!("{} ({code})", printable(reason)),
    }
}
