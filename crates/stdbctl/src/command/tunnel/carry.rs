//! Carries connections from a local port to the host.

use std::io::Write as _;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stdbctl_ssh::{ForwardError, Session};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::console::Console;
use crate::error::in_one_line;

/// How many connections are carried at once. More wait for their turn: each may hold some MiB.
const MOST: usize = 256;
/// How often it is looked whether the connection to the host is still there.
const GLANCE: Duration = Duration::from_millis(500);

/// An open tunnel.
pub(super) struct Tunnel {
    line: Arc<Line>,
}

/// What its connections share.
struct Line {
    session: Arc<Session>,
    far: SocketAddrV4,
    quiet: bool,
    connections: AtomicUsize,
    /// What was complained about last.
    complaint: Mutex<String>,
}

impl Tunnel {
    pub(super) fn new(session: Arc<Session>, far: SocketAddrV4, console: &Console) -> Self {
        let (connections, complaint) = (AtomicUsize::new(0), Mutex::default());
        Self { line: Arc::new(Line { session, far, quiet: console.quiet, connections, complaint }) }
    }

    /// How many connections have been carried so far.
    pub(super) fn connections(&self) -> usize {
        self.line.connections.load(Ordering::Relaxed)
    }

    /// Carries what comes until the connection to the host is lost, and says why it was.
    pub(super) async fn carry(&self, listener: &TcpListener) -> String {
        let mut carried = JoinSet::new();
        let mut glance = interval(GLANCE);
        loop {
            tokio::select! {
                accepted = listener.accept(), if carried.len() < MOST => match accepted {
                    Ok((near, _)) => drop(carried.spawn(Arc::clone(&self.line).connection(near))),
                    // Too many open files: to ask again at once, and again, would take a whole processor.
                    Err(_) => drop(glance.tick().await),
                },
                Some(_) = carried.join_next() => {}
                _ = glance.tick() => if self.line.session.is_closed() {
                    return self.line.reason().await;
                },
            }
        }
    }
}

impl Line {
    async fn connection(self: Arc<Self>, mut near: TcpStream) {
        match self.forward().await {
            Ok(mut far) => {
                self.connections.fetch_add(1, Ordering::Relaxed);
                near.set_nodelay(true).ok();
                if let Err(error) = copy_bidirectional(&mut near, &mut far).await {
                    tracing::debug!(%error, "a connection was cut off");
                }
            }
            // All connections are gone then, and the tunnel with them.
            Err(ForwardError::Gone(_)) => {}
            Err(error) => self.complain(in_one_line(&error)),
        }
    }

    async fn forward(&self) -> Result<stdbctl_ssh::Forwarded, ForwardError> {
        self.session.forward(&self.far.ip().to_string(), self.far.port()).await
    }

    /// Why the session is over: it says so to whoever wants something of it.
    async fn reason(&self) -> String {
        match self.forward().await {
            Err(ForwardError::Gone(reason)) => reason,
            Ok(_) | Err(_) => "the connection is closed".to_owned(),
        }
    }

    /// Says what is wrong, once in a row.
    fn complain(&self, what: String) {
        let mut last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.quiet && *last != what {
            drop(writeln!(anstream::stderr(), "a connection was turned away: {what}"));
        }
        *last = what;
    }
}
