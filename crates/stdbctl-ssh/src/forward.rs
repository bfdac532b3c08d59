//! One TCP connection that begins at the server, carried in a channel.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::client::{Client, Shared};
use crate::printable::printable;

/// How much is held for a reader that lags. Beyond it the whole connection waits for that reader: russh tells the
/// server to go on before anybody has taken what came, so only TCP is left to hold it back.
const HELD: usize = 4 << 20;
/// How long the whole connection waits for a reader that takes nothing at all. Then its stream is given up.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The same for a connection to a host behind this one: nobody but its own output holds that up, and a person who
/// reads it page by page takes longer.
pub(crate) const LONGEST_WAIT_BEHIND: Duration = Duration::from_secs(600);

/// Why the server did not connect to where it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The server's configuration, or that of the key, does not allow it.
    #[error("the server allows no forwarding to {place}")]
    Forbidden {
        /// Host and port, as seen from the server.
        place: String,
    },
    /// The server tried, and nobody took the connection.
    #[error("nothing on the server takes connections at {place}")]
    Unreachable {
        /// Host and port, as seen from the server.
        place: String,
    },
    /// The server refused for another reason.
    #[error("the server did not connect to {place}: {reason}")]
    Refused {
        /// Host and port, as seen from the server.
        place: String,
        /// What is known about it, fit for a terminal.
        reason: String,
    },
    /// The server did not say in time whether it connected.
    #[error("connecting to {place} from the server took more than {seconds} s")]
    Timeout {
        /// Host and port, as seen from the server.
        place: String,
        /// The limit.
        seconds: u64,
    },
    /// The connection to the server was lost.
    #[error("the connection is gone: {0}")]
    Gone(String),
}

impl ForwardError {
    /// What to try, one line each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Forbidden { place } => format!(
                "let sshd_config on the server say `AllowTcpForwarding local`, and PermitOpen name {place} if it is \
                 there, and reload sshd; the key's line in authorized_keys must not say `restrict` or \
                 `no-port-forwarding`"
            ),
            Self::Unreachable { .. } => "is the service running there, and on that port?".to_owned(),
            Self::Timeout { .. } => "is the service there overloaded, or a firewall in between?".to_owned(),
            Self::Refused { .. } | Self::Gone(_) => return Vec::new(),
        };
        vec![hint]
    }
}

/// A TCP connection from the server to some place, as a stream.
///
/// The end of what either side sends is passed on by itself: shutting the stream down leaves the other direction
/// open. Dropping it closes the connection. At most 4 MiB that nobody has read are held for it; a stream that
/// then takes nothing for ten seconds fails, so that it does not hold up all else on the connection for good.
pub struct Forwarded {
    incoming: mpsc::Receiver<io::Cursor<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
    end: Arc<End>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Ends when the channel does. Taken then.
    open: Option<oneshot::Receiver<Infallible>>,
    channel: Arc<ChannelWriteHalf<Msg>>,
    draining: JoinHandle<()>,
}

/// How the incoming direction ended: at its end, or cut off for some reason.
type End = OnceLock<Result<(), String>>;

/// Opens a channel to a place as the server sees it.
pub(crate) async fn open(
    handle: &Handle<Client>,
    shared: &Arc<Shared>,
    (patience, longest_wait): (Duration, Duration),
    host: &str,
    port: u16,
) -> Result<Forwarded, ForwardError> {
    let gone = || ForwardError::Gone(shared.reason());
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let opening = handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0);
    let channel = match timeout(patience, opening).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(russh::Error::ChannelOpenFailure(failure))) => return Err(refusal(place, &failure)),
        Ok(Err(_)) => return Err(gone()),
        Err(_) => return Err(ForwardError::Timeout { place, seconds: patience.as_secs() }),
    };
    let (reader, writer) = channel.split();
    let channel = Arc::new(writer);
    let (sender, incoming) = mpsc::channel(1);
    let (alive, open) = oneshot::channel();
    let end = Arc::new(End::new());
    let drain = Drain {
        channel: Arc::clone(&channel),
        output: Some(sender),
        held: VecDeque::new(),
        bytes_held: 0,
        longest_wait,
        end: Arc::clone(&end),
    };
    // A task of its own: a channel that nobody reads stops all others of the connection.
    let draining = tokio::spawn(drain.run(reader, alive, Arc::clone(shared)));
    let writer = Box::new(channel.make_writer());
    let piece = io::Cursor::default();
    Ok(Forwarded { incoming, piece, end, writer, open: Some(open), channel, draining })
}

fn refusal(place: String, failure: &ChannelOpenFailure) -> ForwardError {
    let reason = match failure {
        ChannelOpenFailure::AdministrativelyProhibited => return ForwardError::Forbidden { place },
        ChannelOpenFailure::ConnectFailed => return ForwardError::Unreachable { place },
        ChannelOpenFailure::UnknownChannelType => "it cannot forward".to_owned(),
        ChannelOpenFailure::ResourceShortage => "it is short of resources".to_owned(),
        ChannelOpenFailure::Other { code, reason } => format!("{} ({code})", printable(reason)),
    };
    ForwardError::Refused { place, reason }
}

/// Takes what comes on a channel, whether anybody reads it or not.
struct Drain {
    channel: Arc<ChannelWriteHalf<Msg>>,
    /// Taken once no more is to come.
    output: Option<mpsc::Sender<io::Cursor<Vec<u8>>>>,
    held: VecDeque<Vec<u8>>,
    bytes_held: usize,
    /// How long the whole connection waits for the reader.
    longest_wait: Duration,
    end: Arc<End>,
}

/// What happened next on a channel.
enum Next {
    Message(Option<ChannelMsg>),
    /// The reader took a piece, or is no more.
    Taken(bool),
    Stalled,
}

impl Drain {
    async fn run(
        mut self,
        mut reader: ChannelReadHalf,
        alive: oneshot::Sender<Infallible>,
        shared: Arc<Shared>,
    ) {
        loop {
            if self.held.is_empty() && self.end.get().is_some() {
                self.output = None;
            }
            match self.next(&mut reader).await {
                Next::Message(Some(ChannelMsg::Data { data })) if self.output.is_some() => {
                    self.bytes_held += data.len();
                    self.held.push_back(data.to_vec());
                }
                Next::Message(Some(ChannelMsg::Eof)) => self.ended(Ok(())),
                Next::Message(Some(ChannelMsg::Close)) => {
                    self.ended(Ok(()));
                    break;
                }
                Next::Message(None) => {
                    self.ended(Err(shared.reason()));
                    break;
                }
                Next::Message(Some(_)) | Next::Taken(true) => {}
                Next::Taken(false) => self.forget(),
                Next::Stalled => {
                    self.ended(Err("nobody took what came in".to_owned()));
                    self.forget();
                    // Only without its reader does the channel let the connection, and so the close, go on.
                    drop(reader);
                    self.channel.close().await.ok();
                    return;
                }
            }
        }
        // Nobody takes what is written from now on; what came before is still there to be read.
        drop((alive, reader));
        while let Next::Taken(true) = self.hand_over().await {}
    }

    async fn next(&mut self, reader: &mut ChannelReadHalf) -> Next {
        let (room, waiting) = (self.bytes_held < HELD, !self.held.is_empty());
        let longest_wait = self.longest_wait;
        tokio::select! {
            message = reader.wait(), if room => Next::Message(message),
            next = self.hand_over(), if waiting => next,
            () = sleep(longest_wait), if !room => Next::Stalled,
        }
    }

    /// Gives the oldest piece to the reader once there is room for it.
    async fn hand_over(&mut self) -> Next {
        let Some(output) = &self.output else { return Next::Taken(false) };
        let Ok(place) = output.reserve().await else { return Next::Taken(false) };
        let Some(piece) = self.held.pop_front() else { return Next::Taken(false) };
        self.bytes_held -= piece.len();
        place.send(io::Cursor::new(piece));
        Next::Taken(true)
    }

    fn forget(&mut self) {
        self.output = None;
        self.held.clear();
        self.bytes_held = 0;
    }

    /// Only the first end counts.
    fn ended(&self, how: Result<(), String>) {
        self.end.set(how).ok();
    }
}

impl Forwarded {
    /// Whether the channel is closed. If not, this task is woken when it is.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(open) = &mut self.open
            && Pin::new(open).poll(cx).is_ready()
        {
            self.open = None;
        }
        self.open.is_none()
    }

    fn broken(&self) -> io::Error {
        let reason = self.end.get().and_then(|end| end.clone().err());
        let reason = reason.unwrap_or_else(|| "the other end closed the connection".to_owned());
        io::Error::new(io::ErrorKind::BrokenPipe, reason)
    }
}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded").field("end", &self.end).finish_non_exhaustive()
    }
}

impl AsyncRead for Forwarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.piece).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.incoming.poll_recv(cx)) {
                Some(piece) => this.piece = piece,
                None if matches!(this.end.get(), Some(Ok(()))) => return Poll::Ready(Ok(())),
                None => return Poll::Ready(Err(this.broken())),
            }
        }
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.poll_over(cx) {
            return Poll::Ready(Err(self.broken()));
        }
        // russh takes nothing for an error.
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_over(cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.draining.abort();
        let over = self
            .open
            .as_mut()
            .is_none_or(|open| open.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        if let (false, Ok(runtime)) = (over, tokio::runtime::Handle::try_current()) {
            let channel = Arc::clone(&self.channel);
            runtime.spawn(async move { channel.close().await });
        }
    }
}
