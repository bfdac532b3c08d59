//! One command on one channel: its input, its output and how it ended.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::client::Shared;
use crate::error::CommandError;
use crate::printable::printable;
use crate::session::Opened;

/// How much input is read at a time.
const PIECE: usize = 128 * 1024;
/// How much output is held for a receiver that lags. Beyond it the whole connection waits for that receiver:
/// russh tells the server to go on before anybody has taken what came, so only TCP is left to hold it back.
const HELD: usize = 4 << 20;
/// The code of standard error (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// A piece of what a command wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes of standard output, as they came.
    Stdout(Vec<u8>),
    /// Bytes of standard error, as they came.
    Stderr(Vec<u8>),
}

impl Chunk {
    fn len(&self) -> usize {
        let (Self::Stdout(bytes) | Self::Stderr(bytes)) = self;
        bytes.len()
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Status(u32),
    /// A signal ended it; the name has no `SIG` in front.
    Signal(String),
    /// The connection was lost before its end was known, for this reason.
    Lost(String),
}

/// The sending side of a channel. Dropping it closes the channel: russh would leave it open on the server.
pub(crate) struct Sending {
    channel: Arc<ChannelWriteHalf<Msg>>,
    closed: bool,
}

impl Sending {
    pub(crate) fn new(channel: ChannelWriteHalf<Msg>) -> Self {
        Self { channel: Arc::new(channel), closed: false }
    }

    /// Asks the server to run a command, without waiting for what it says to that.
    pub(crate) async fn start(&self, command: &str) -> Result<(), russh::Error> {
        self.channel.exec(true, command).await
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.closed, tokio::runtime::Handle::try_current()) {
            let channel = Arc::clone(&self.channel);
            runtime.spawn(async move { channel.close().await });
        }
    }
}

/// The task that drains a channel, which ends with whoever waits for it.
struct Draining(JoinHandle<Result<Ending, CommandError>>);

impl Drop for Draining {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How much of a command's input the server has taken.
///
/// OpenSSH opens the window when the command runs, and then again by what it has passed on: what the window lacks of
/// its full size is on its way, or waits at the server.
struct Intake {
    /// What this side has put on its way.
    handed: AtomicU64,
    taken: watch::Sender<u64>,
}

impl Intake {
    /// The server has opened the window to this size. `full` is the largest that it was.
    fn opened(&self, size: u32, full: &mut u32) {
        if std::mem::replace(full, size.max(*full)) == 0 {
            // Nothing can have been taken before.
            return;
        }
        let lacking = u64::from(*full - size);
        let taken = self.handed.load(Ordering::Relaxed).saturating_sub(lacking);
        self.taken.send_if_modified(|known| std::mem::replace(known, taken.max(*known)) < taken);
    }
}

/// Runs a command on a channel of its own. `taken` is told how much of its input the server has taken.
pub(crate) async fn run<R>(
    opened: Opened,
    shared: Arc<Shared>,
    command: &str,
    stdin: R,
    output: mpsc::Sender<Chunk>,
    taken: watch::Sender<u64>,
) -> Result<Ending, CommandError>
where
    R: AsyncRead + Unpin + Send,
{
    let Opened { reader, mut writer, share, started } = opened;
    // A task of its own: a channel that nobody reads stops all others of the connection.
    let gone = Arc::clone(&shared);
    let intake = Arc::new(Intake { handed: AtomicU64::new(0), taken });
    let watched = Arc::clone(&intake);
    let mut draining = Draining(tokio::spawn(async move {
        let _share = share;
        drain(reader, output, &shared, &watched).await
    }));
    // The answer to the request is not waited for: it comes with the first output.
    if !started && writer.start(command).await.is_err() {
        return Err(CommandError::Gone(gone.reason()));
    }
    let ended = {
        let feeding = feed(&writer.channel, stdin, &intake.handed);
        tokio::pin!(feeding);
        tokio::select! {
            ended = &mut draining.0 => Some(ended),
            fed = &mut feeding => {
                fed.map_err(CommandError::Stdin)?;
                None
            }
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => (&mut draining.0).await,
    };
    let ending = ended.map_err(|_| CommandError::Gone(gone.reason()))?;
    writer.closed = ending.is_ok();
    ending
}

/// Sends all there is to read, then end of file. A channel that is closed meanwhile is no error of the input.
async fn feed<R: AsyncRead + Unpin>(
    channel: &ChannelWriteHalf<Msg>,
    mut stdin: R,
    handed: &AtomicU64,
) -> io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        if stdin.read_buf(&mut piece).await? == 0 {
            channel.eof().await.ok();
            return Ok(());
        }
        let length = piece.len() as u64;
        if channel.data_bytes(piece).await.is_err() {
            return Ok(());
        }
        handed.fetch_add(length, Ordering::Relaxed);
    }
}

/// What the server said about a command so far.
#[derive(Default)]
struct Progress {
    held: VecDeque<Chunk>,
    bytes_held: usize,
    ending: Option<Ending>,
    /// All output has come: the status may come before it.
    complete: bool,
    refused: bool,
}

async fn drain(
    mut channel: ChannelReadHalf,
    output: mpsc::Sender<Chunk>,
    shared: &Shared,
    intake: &Intake,
) -> Result<Ending, CommandError> {
    let mut progress = Progress::default();
    let (mut unwanted, mut full) = (false, 0);
    loop {
        tokio::select! {
            message = channel.wait(), if progress.bytes_held < HELD => match message {
                Some(ChannelMsg::Close) => {
                    progress.complete = true;
                    break;
                }
                Some(ChannelMsg::WindowAdjusted { new_size }) => intake.opened(new_size, &mut full),
                Some(message) => progress.take(message, unwanted),
                None => break,
            },
            place = output.reserve(), if !progress.held.is_empty() => {
                unwanted = place.is_err();
                progress.hand_over(place.ok());
            }
        }
        if progress.refused {
            return Err(CommandError::Refused);
        }
    }
    for chunk in std::mem::take(&mut progress.held) {
        if output.send(chunk).await.is_err() {
            break;
        }
    }
    Ok(progress.end(shared))
}

impl Progress {
    fn take(&mut self, message: ChannelMsg, unwanted: bool) {
        match message {
            ChannelMsg::Data { data } if !unwanted => self.hold(Chunk::Stdout(data.to_vec())),
            ChannelMsg::ExtendedData { data, ext: STDERR } if !unwanted => {
                self.hold(Chunk::Stderr(data.to_vec()));
            }
            ChannelMsg::ExitStatus { exit_status } => self.ending = Some(Ending::Status(exit_status)),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                self.ending = Some(Ending::Signal(name(&signal_name)));
            }
            ChannelMsg::Eof => self.complete = true,
            ChannelMsg::Failure => self.refused = true,
            _ => {}
        }
    }

    /// Gives the oldest chunk to the receiver, or everything up if there is none.
    fn hand_over(&mut self, place: Option<mpsc::Permit<'_, Chunk>>) {
        let Some(place) = place else {
            self.held.clear();
            self.bytes_held = 0;
            return;
        };
        if let Some(chunk) = self.held.pop_front() {
            self.bytes_held -= chunk.len();
            place.send(chunk);
        }
    }

    fn hold(&mut self, chunk: Chunk) {
        self.bytes_held += chunk.len();
        self.held.push_back(chunk);
    }

    fn end(self, shared: &Shared) -> Ending {
        match self.ending {
            Some(ending) if self.complete => ending,
            None if self.complete && shared.ended().is_none() => {
                Ending::Lost("the server closed the channel without saying how the command ended".to_owned())
            }
            _ => Ending::Lost(shared.reason()),
        }
    }
}

fn name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => printable(name),
        known => format!("{known:?}"),
    }
}
