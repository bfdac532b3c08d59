//! A TCP proxy in front of sshd: adds distance, cuts, falls silent, and counts connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// A delay where round trips are counted: an answer is never there before it is waited for, and what a busy machine adds
/// is little beside it.
pub(crate) const DISTANCE: Duration = Duration::from_millis(50);

/// What the proxy does to what the server says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Hang up after this many bytes of the server.
    CutAfter(usize),
    /// Carry no more than so many bytes a second each way.
    Throttle(u32),
}

/// What becomes of what is said from now on.
#[derive(Debug, Clone, Copy)]
enum Line {
    Open,
    Silent,
    /// Silent for so many connections, the first ones.
    Left(usize),
    Cut,
}

/// A running proxy; its tasks end with the test's runtime.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
    line: watch::Sender<Line>,
    to_server: Arc<AtomicUsize>,
}

impl Proxy {
    /// Everything takes `delay` each way.
    pub(crate) async fn start(server: SocketAddr, delay: Duration, fault: Fault) -> Self {
        let listener = match fault {
            Fault::Throttle(_) => narrow().and_then(|socket| {
                socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
                socket.listen(64)
            }),
            _ => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        };
        let listener = listener.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (line, lies) = watch::channel(Line::Open);
        let counted = Arc::clone(&connections);
        let to_server = Arc::new(AtomicUsize::new(0));
        let carried = Arc::clone(&to_server);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let reached = match fault {
                    Fault::Throttle(_) => narrow().unwrap().connect(server).await,
                    _ => TcpStream::connect(server).await,
                };
                let Ok(server) = reached else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let up = if let Fault::CutAfter(_) = fault { Fault::None } else { fault };
                let nobody = Arc::default();
                tokio::spawn(carry(
                    from_client,
                    to_server,
                    delay,
                    up,
                    (number, lies.clone()),
                    Arc::clone(&carried),
                ));
                tokio::spawn(carry(from_server, to_client, delay, fault, (number, lies.clone()), nobody));
            }
        });
        Self { port, connections, line, to_server }
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many bytes were handed to the server, whatever they were.
    pub(crate) fn to_server(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.to_server)
    }

    /// From now on nothing is carried, and nothing is closed: as if a cable were pulled.
    pub(crate) fn fall_silent(&self) {
        self.line.send_replace(Line::Silent);
    }

    /// The same, but new connections are like any other: as if this side had moved to another network.
    pub(crate) fn leave(&self) {
        self.line.send_replace(Line::Left(self.connections()));
    }

    /// Hangs up instead of carrying what comes next.
    pub(crate) fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }
}

/// A socket that takes little before it is read: the kernel would take megabytes before anybody feels a slow line.
fn narrow() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(64 * 1024)?;
    Ok(socket)
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    fault: Fault,
    (number, line): (usize, watch::Receiver<Line>),
    carried: Arc<AtomicUsize>,
) {
    let mut most = if let Fault::CutAfter(most) = fault { most } else { usize::MAX };
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        let mut piece = vec![0; 65536];
        let mut free = Instant::now();
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            if let Fault::Throttle(rate) = fault {
                let takes = Duration::from_secs(1) * u32::try_from(length).unwrap() / rate;
                free = free.max(Instant::now()) + takes;
                sleep_until(free).await;
            }
            if sender.send((Instant::now() + delay, piece[..length].to_vec())).await.is_err() {
                break;
            }
        }
    });
    while let Some((due, piece)) = receiver.recv().await {
        sleep_until(due).await;
        let state = *line.borrow();
        match state {
            Line::Left(first) if number < first => std::future::pending().await,
            Line::Open | Line::Left(_) => {}
            Line::Silent => std::future::pending().await,
            Line::Cut => break,
        }
        let length = piece.len().min(most);
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
        carried.fetch_add(length, Ordering::SeqCst);
        most -= length;
        if most == 0 {
            break;
        }
    }
}
