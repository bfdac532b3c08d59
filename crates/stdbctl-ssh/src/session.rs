//! One connection to one host, on which commands run side by side.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::keys::PublicKey;
use russh::{Channel, ChannelOpenFailure, ChannelReadHalf, Disconnect};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, Shared};
use crate::command::{self, Chunk, Ending, Sending};
use crate::connect::Line;
use crate::count::{Counter, Cutter, Stats};
use crate::error::{CommandError, Step};
use crate::forward::{self, ForwardError, Forwarded, LONGEST_WAIT};
use crate::hops::Reached;
use crate::host_key_update::Following;
use crate::printable::printable;

/// Below sshd's default `MaxSessions` of 10.
const MOST_CHANNELS: usize = 8;
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A logged-in connection. Dropping it cuts it; [`Session::close`] says goodbye first.
pub struct Session {
    line: Arc<Opener>,
    counter: Arc<Counter>,
    address: Option<SocketAddr>,
    ahead: Mutex<Option<Ahead>>,
    /// What reaching the last host on the way has cost, if it was done for this one.
    before: Stats,
    /// Has the user's files follow the server's keys.
    update: Mutex<Option<Following>>,
    cutter: Cutter,
    /// The connection that carries this one.
    hop: Option<Arc<Session>>,
}

pub(crate) struct Opener {
    handle: Handle<Client>,
    shared: Arc<Shared>,
    free: Arc<Semaphore>,
    /// It has had a session.
    opened: AtomicBool,
    patience: Duration,
}

/// A channel on its way, and the command that is started in it.
struct Ahead {
    command: String,
    opening: JoinHandle<Result<Opened, CommandError>>,
}

/// A channel of the connection, and its share of what the server allows.
pub(crate) struct Opened {
    pub(crate) reader: ChannelReadHalf,
    pub(crate) writer: Sending,
    pub(crate) share: OwnedSemaphorePermit,
    /// The command has been sent already.
    pub(crate) started: bool,
}

impl Session {
    pub(crate) fn new(line: Line, patience: Duration, hop: Option<Reached>) -> Self {
        let Line { handle, shared, counter, cutter, address, update } = line;
        let before = hop.as_ref().map_or_else(Stats::default, |hop| hop.cost);
        let hop = hop.map(|hop| hop.session);
        let free = Arc::new(Semaphore::new(MOST_CHANNELS));
        let line = Arc::new(Opener { handle, shared, free, opened: AtomicBool::default(), patience });
        let weak = Arc::downgrade(&line);
        let update = update
            .map(|(update, announced)| Following::start(update, announced, |keys| Opener::prove(weak, keys)));
        let (ahead, update) = (Mutex::default(), Mutex::new(update));
        Self { line, counter, address, ahead, before, update, cutter, hop }
    }

    /// Runs a command: one line for the user's login shell, already quoted.
    ///
    /// The command leaves without waiting for anything but its channel, and its input as soon as the server takes
    /// it, which with OpenSSH is when the command runs: a command without input costs two round trips, one with
    /// input three, less what was done ahead. Input is not read before the command has left, is sent and output
    /// received at the same time; both streams of output come through `output`, in the order in which they arrived. A receiver that
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
        self.exec_watched(command, stdin, output, watch::Sender::new(0)).await
    }

    /// The same; `taken` is told how much of the input the server has taken.
    pub(crate) async fn exec_watched<R>(
        &self,
        command: &str,
        stdin: R,
        output: mpsc::Sender<Chunk>,
        taken: watch::Sender<u64>,
    ) -> Result<Ending, CommandError>
    where
        R: AsyncRead + Unpin + Send,
    {
        if command.contains('\0') {
            return Err(CommandError::Nul);
        }
        let opened = match self.take_ahead(command) {
            Some(ahead) => match ahead.opening.await.unwrap_or_else(|_| Err(self.line.gone())) {
                // What ran when it was asked for may have been all that the server allows.
                Err(CommandError::Channel(_)) => self.line.open().await,
                opened => opened,
            },
            None => self.line.open().await,
        };
        command::run(opened?, Arc::clone(&self.line.shared), command, stdin, output, taken).await
    }

    /// Begins to run a command whose input and output will be those of the next [`Session::exec`] of the very
    /// same line.
    ///
    /// That exec's input then needs one round trip to its answer: OpenSSH takes no input before the command runs.
    /// Returns at once. Called again before that exec, or while eight commands run, it does nothing.
    pub fn start_ahead(&self, command: &str) {
        if self.line.free.available_permits() == 0 {
            return;
        }
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.get_or_insert_with(|| {
            let (line, command) = (Arc::clone(&self.line), command.to_owned());
            let text = command.clone();
            Ahead { command, opening: tokio::spawn(async move { line.start(&text).await }) }
        });
    }

    /// Has the server connect to `port` of `host`, a name or address as the server sees it, and carries that
    /// connection.
    ///
    /// Costs one round trip. Counts neither among the commands that run at once nor among the sessions that sshd
    /// allows.
    ///
    /// # Errors
    /// If the server may not or cannot connect there, does not within the time a step may take, or is lost.
    pub async fn forward(&self, host: &str, port: u16) -> Result<Forwarded, ForwardError> {
        self.carry(host, port, LONGEST_WAIT).await
    }

    /// The same for a stream whose reader may take nothing for as long as `longest_wait`.
    pub(crate) async fn carry(
        &self,
        host: &str,
        port: u16,
        longest_wait: Duration,
    ) -> Result<Forwarded, ForwardError> {
        let Opener { handle, shared, patience, .. } = &*self.line;
        forward::open(handle, shared, (*patience, longest_wait), host, port).await
    }

    fn take_ahead(&self, command: &str) -> Option<Ahead> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.take_if(|ahead| ahead.command == command)
    }

    /// What has crossed the network so far. Connections to hosts on the way count for the first that came through
    /// them, until it was logged in there.
    pub fn stats(&self) -> Stats {
        self.before + self.counter.stats()
    }

    /// The address and port at the other end; none if the way there leads through something else.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.line.handle.is_closed()
    }

    /// Lets what follows the keys of the server, and of the hosts on the way, come to its end.
    async fn settle(&self) {
        let mut all = Vec::new();
        let mut session = Some(self);
        while let Some(Self { update, hop, .. }) = session {
            all.extend(update.lock().unwrap_or_else(PoisonError::into_inner).take());
            session = hop.as_deref();
        }
        Following::end(all, FAREWELL).await;
    }

    /// Says goodbye and closes the connection. Commands that still run are cut off.
    pub async fn close(self) {
        self.settle().await;
        let Self { line, ahead, cutter, .. } = self;
        let ahead = ahead.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ahead { opening, .. }) = ahead {
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
    /// Has the server prove that it has these keys.
    async fn prove(line: Weak<Self>, keys: Vec<PublicKey>) -> Result<(), String> {
        let line = line.upgrade().ok_or("the connection is gone")?;
        let proof = line.handle.hostkeys_prove(keys).await;
        proof.map_err(|error| format!("the host has not proven its new keys: {error}"))
    }

    async fn open(&self) -> Result<Opened, CommandError> {
        let share = Arc::clone(&self.free).acquire_owned().await.map_err(|_| self.gone())?;
        let channel = match self.channel().await {
            // A session counts until sshd has read that it is closed and looked at all of them again, and what came
            // with that is read before. Once sshd has answered it has looked.
            Err(CommandError::Channel(_)) if self.opened.load(Ordering::Relaxed) => self.channel().await?,
            channel => channel?,
        };
        self.opened.store(true, Ordering::Relaxed);
        let (reader, writer) = channel.split();
        Ok(Opened { reader, writer: Sending::new(writer), share, started: false })
    }

    async fn channel(&self) -> Result<Channel<Msg>, CommandError> {
        match timeout(self.patience, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(failure))) => {
                Err(CommandError::Channel(describe(&failure)))
            }
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(CommandError::Timeout { step: Step::Channel, seconds: self.patience.as_secs() }),
        }
    }

    async fn start(&self, command: &str) -> Result<Opened, CommandError> {
        let opened = self.open().await?;
        opened.writer.start(command).await.map_err(|_| self.gone())?;
        Ok(Opened { started: true, ..opened })
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
