//! A TCP proxy that makes loopback as far away as a test wants: it holds every chunk for half a round trip in
//! each direction and a connect for a whole one, keeps order, throttles nothing, counts, and cuts when told to.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::flights::Flights;

/// Chunks on their way in one direction; more than any test keeps in flight, so it delays and never throttles.
const IN_FLIGHT: usize = 4096;
const CHUNK: usize = 64 * 1024;

/// A way that bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A cut that waits for its moment. It happens once; later connections go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Which bytes are counted.
    pub direction: Direction,
    /// How many of them one connection still delivers.
    pub after_bytes: u64,
}

/// What went through a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Times that a client waited for an answer, one for each connect included.
    pub round_trips: u64,
    /// Bytes from clients to the server.
    pub bytes_to_server: u64,
    /// Bytes from the server to clients.
    pub bytes_to_client: u64,
}

/// How a proxy is to behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server behind it.
    pub to: SocketAddr,
    /// The round-trip time it adds.
    pub rtt: Duration,
    /// A cut that is armed from the start.
    pub cut: Option<Cut>,
}

/// What the operator of the proxy wants of every connection.
#[derive(Debug, Clone, Copy)]
struct Orders {
    /// Connections older than the newest of these are dropped.
    cuts: u64,
    /// So many connections, counted from the first, get through; later ones wait.
    admitted: u64,
    stalled: bool,
    stopped: bool,
}

struct Shared {
    to: SocketAddr,
    rtt: Duration,
    counts: Mutex<Counts>,
    cut: Mutex<Option<Cut>>,
}

impl Shared {
    /// The number of a connection that has just come: 1 is the first.
    fn count_connection(&self) -> u64 {
        let mut counts = lock(&self.counts);
        counts.connections += 1;
        counts.connections
    }
}

/// A running proxy. Dropping it ends it and every connection through it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: watch::Sender<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy on a thread of its own, so that tests with and without a runtime can use it.
    ///
    /// # Errors
    /// When the address cannot be listened on, or no thread can be had.
    pub fn start(options: &Options) -> io::Result<Self> {
        let listener = StdTcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            to: options.to,
            rtt: options.rtt,
            counts: Mutex::default(),
            cut: Mutex::new(options.cut),
        });
        let (orders, received) =
            watch::channel(Orders { cuts: 0, admitted: u64::MAX, stalled: false, stopped: false });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("delay-proxy".to_owned())
            .spawn(move || runtime.block_on(serve(listener, serving, received)))?;
        Ok(Self { address, shared, orders, thread: Some(thread) })
    }

    /// A proxy in front of `to`, on a free port of the same address, with this round-trip time.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn in_front_of(to: SocketAddr, rtt: Duration) -> io::Result<Self> {
        Self::start(&Options { listen: SocketAddr::new(to.ip(), 0), to, rtt, cut: None })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went through so far.
    pub fn counts(&self) -> Counts {
        *lock(&self.shared.counts)
    }

    /// Arms a cut for the first connection that reaches it.
    pub fn cut_after(&self, direction: Direction, after_bytes: u64) {
        *lock(&self.shared.cut) = Some(Cut { direction, after_bytes });
    }

    /// Lets so many connections through, counted from the first. Those that come later are taken, and wait until they
    /// are admitted, too, or cut.
    pub fn admit(&self, connections: u64) {
        self.orders.send_modify(|orders| orders.admitted = connections);
    }

    /// Cuts every connection there is now, with a reset to both ends.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// From now on nothing gets through, and nobody is told: a pulled cable. `false` plugs it in again.
    pub fn stall(&self, stalled: bool) {
        self.orders.send_modify(|orders| orders.stalled = stalled);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.send_modify(|orders| orders.stopped = true);
        if let Some(thread) = self.thread.take() {
            // A panic of the proxy has shown itself on stderr and in the test's own failure.
            drop(thread.join());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: StdTcpListener, shared: Arc<Shared>, orders: watch::Receiver<Orders>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                // Whoever sees it counted may cut it.
                let began_at = orders.borrow().cuts;
                let number = shared.count_connection();
                let is_over = move |orders: &Orders| orders.cuts > began_at || orders.stopped;
                let shared = Arc::clone(&shared);
                tokio::spawn(connection(client, number, shared, orders.clone(), is_over));
            }
            () = until(orders.clone(), |orders| orders.stopped) => return,
        }
    }
}

/// Returns when the orders are so, and when the proxy is gone.
async fn until(mut orders: watch::Receiver<Orders>, so: impl Fn(&Orders) -> bool) {
    drop(orders.wait_for(so).await);
}

/// One connection, from accept to close. The kernel has finished the client's handshake already, so the delay of
/// the connect is put on the first bytes: the client may speak after one round trip, the server hears the
/// connection after one and a half.
async fn connection(
    mut client: TcpStream,
    number: u64,
    shared: Arc<Shared>,
    orders: watch::Receiver<Orders>,
    is_over: impl Fn(&Orders) -> bool,
) {
    until(orders.clone(), |orders| number <= orders.admitted || is_over(orders)).await;
    let connected = Instant::now() + shared.rtt;
    if shared.rtt > Duration::ZERO {
        sleep_until((connected + shared.rtt / 2).into()).await;
    }
    let Ok(mut server) = TcpStream::connect(shared.to).await else {
        drop(client.set_zero_linger());
        return;
    };
    lock(&shared.counts).round_trips += 1;
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let ended = tokio::select! {
        ended = relay(&mut client, &mut server, &shared, connected, orders.clone()) => ended,
        () = until(orders.clone(), is_over) => Ended::Broken,
    };
    if ended == Ended::Broken {
        drop(client.set_zero_linger());
        drop(server.set_zero_linger());
    }
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Both sides closed.
    Closed,
    /// One side reset it, or it was cut: the other side gets a reset as well.
    Broken,
}

async fn relay(
    client: &mut TcpStream,
    server: &mut TcpStream,
    shared: &Shared,
    connected: Instant,
    orders: watch::Receiver<Orders>,
) -> Ended {
    let flights = Mutex::new(Flights::new(shared.rtt));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let lane = |direction| Lane { direction, shared, flights: &flights, connected, orders: orders.clone() };
    let both = tokio::try_join!(
        lane(Direction::ToServer).carry(from_client, to_server),
        lane(Direction::ToClient).carry(from_server, to_client),
    );
    if both.is_ok() { Ended::Closed } else { Ended::Broken }
}

/// One direction of one connection.
struct Lane<'a> {
    direction: Direction,
    shared: &'a Shared,
    flights: &'a Mutex<Flights>,
    connected: Instant,
    orders: watch::Receiver<Orders>,
}

/// Bytes and when they are due at the other end. No bytes: the sender has closed its side.
type Due = (Instant, Vec<u8>);

impl Lane<'_> {
    async fn carry(self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (queue, due) = mpsc::channel(IN_FLIGHT);
        tokio::try_join!(self.take(from, queue), self.deliver(due, to))?;
        Ok(())
    }

    async fn take(&self, mut from: ReadHalf<'_>, queue: mpsc::Sender<Due>) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = from.read(&mut buffer).await?;
            let chunk = buffer.get(..length).unwrap_or_default().to_vec();
            let sent = self.sent(length);
            let due = (sent + self.shared.rtt / 2, chunk);
            if queue.send(due).await.is_err() || length == 0 {
                return Ok(());
            }
        }
    }

    /// Notes that a side has sent, and says when: a client cannot have spoken before it was connected.
    fn sent(&self, length: usize) -> Instant {
        let mut counts = lock(&self.shared.counts);
        match self.direction {
            Direction::ToServer => {
                counts.bytes_to_server += length as u64;
                let at = Instant::now().max(self.connected);
                if length > 0 {
                    lock(self.flights).sent(at);
                }
                at
            }
            Direction::ToClient => {
                counts.bytes_to_client += length as u64;
                Instant::now()
            }
        }
    }

    async fn deliver(&self, mut queue: mpsc::Receiver<Due>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut delivered = 0;
        while let Some((due, chunk)) = queue.recv().await {
            if due > Instant::now() {
                sleep_until(due.into()).await;
            }
            until(self.orders.clone(), |orders| !orders.stalled).await;
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            if self.direction == Direction::ToClient && lock(self.flights).received(due) {
                lock(&self.shared.counts).round_trips += 1;
            }
            if let Some(left) = self.strike(delivered, chunk.len()) {
                to.write_all(chunk.get(..left).unwrap_or_default()).await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            to.write_all(&chunk).await?;
            delivered += chunk.len() as u64;
        }
        Ok(())
    }

    /// How many of the next bytes still get through if the armed cut strikes among them. It is spent then.
    fn strike(&self, delivered: u64, length: usize) -> Option<usize> {
        let mut cut = lock(&self.shared.cut);
        let armed = cut.filter(|cut| cut.direction == self.direction)?;
        let left = usize::try_from(armed.after_bytes.saturating_sub(delivered)).ok()?;
        if left > length {
            return None;
        }
        *cut = None;
        Some(left)
    }
}

#[cfg(test)]
mod tests;
