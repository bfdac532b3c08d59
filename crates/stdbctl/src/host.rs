//! Hosts as the engine and `exec` want them, over SSH or on this machine.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stdbctl_engine::host::{BoxFuture, Ending, Host, HostError, Output, Stats, Stdin};
use stdbctl_engine::local::LocalHost;
use stdbctl_engine::root::{Input, Login, Root, SudoPassword};
use stdbctl_ssh::{Chunk, CommandError, ConnectError, ConnectOptions, Session, quote};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::{local_command, stdin};

/// How many pieces of output may wait to be read.
pub(crate) const PIECES: usize = 16;

/// What sudo gets if it wants a password.
pub(crate) type Password = Option<Arc<SudoPassword>>;

/// Where a host is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// This machine.
    Local(Password),
    /// At the other end of an SSH connection.
    Remote(Box<ConnectOptions>, Password),
}

/// A host at the other end of an SSH connection.
pub(crate) struct SshHost {
    name: String,
    options: ConnectOptions,
    session: Mutex<Arc<Session>>,
    root: Root,
    has_reconnected: AtomicBool,
    /// What connections that are closed again have cost.
    closed: Mutex<Stats>,
}

impl Place {
    /// Connects. Called `name` in everything that is said about the host.
    pub(crate) fn connect(self, name: String) -> BoxFuture<'static, Result<Arc<dyn Host>, HostError>> {
        Box::pin(async move {
            Ok(match self {
                Self::Local(password) => Arc::new(LocalHost::new(Root::new(password))) as Arc<dyn Host>,
                Self::Remote(options, password) => {
                    Arc::new(SshHost::connect(name, *options, Root::new(password)).await?)
                }
            })
        })
    }

    /// Runs one command as the login user, and says what that cost.
    ///
    /// # Errors
    /// If there is no connection, or the command could not be started.
    pub(crate) async fn exec(
        self,
        command: &[String],
        output: mpsc::Sender<Output>,
    ) -> Result<(Ending, Stats), HostError> {
        match self {
            Self::Local(_) => Ok((local_command::exec(command, output).await?, Stats::default())),
            Self::Remote(options, _) => {
                let session = open(*options).await?;
                let line = shell_line(command)?;
                let ending = exec(&session, &line, tokio::io::empty(), output).await?;
                let stats = stats(&session);
                session.close().await;
                Ok((ending, stats))
            }
        }
    }

    /// Runs one command as root, and says what that cost. Called `name` in what is said about the host.
    ///
    /// # Errors
    /// If there is no connection, no root, or the command could not be started.
    pub(crate) async fn exec_as_root(
        self,
        name: String,
        command: &[String],
        output: mpsc::Sender<Output>,
    ) -> Result<(Ending, Stats), HostError> {
        let words = match command {
            [line] => quote::join(["sh", "-c", line]),
            words => quote::join(words),
        };
        let words = words.map_err(not_run)?;
        match self {
            Self::Local(password) => {
                let host = LocalHost::new(Root::new(password));
                Ok((host.command(&words, output).await?, Stats::default()))
            }
            Self::Remote(options, password) => {
                let host = SshHost::connect(name, *options, Root::new(password)).await?;
                let ending = host.root.command(&host.shell(), &words, output).await?;
                let stats = host.stats();
                if let Some(session) = Arc::into_inner(host.into_session()) {
                    session.close().await;
                }
                Ok((ending, stats))
            }
        }
    }
}

impl SshHost {
    async fn connect(name: String, options: ConnectOptions, root: Root) -> Result<Self, HostError> {
        let session = open(options.clone()).await?;
        let session = Mutex::new(Arc::new(session));
        let has_reconnected = AtomicBool::new(false);
        Ok(Self { name, options, session, root, has_reconnected, closed: Mutex::default() })
    }

    fn shell(&self) -> Shell<'_> {
        Shell { host: &self.name, session: self.session() }
    }

    /// The connection of now.
    fn session(&self) -> Arc<Session> {
        Arc::clone(&lock(&self.session))
    }

    fn into_session(self) -> Arc<Session> {
        self.session.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, cost: Stats) {
        let mut closed = lock(&self.closed);
        *closed = sum(*closed, cost);
    }
}

/// The login user's shell at the other end of a connection.
pub(crate) struct Shell<'a> {
    pub(crate) host: &'a str,
    pub(crate) session: Arc<Session>,
}

impl Login for Shell<'_> {
    fn host(&self) -> &str {
        self.host
    }

    fn start<'a>(
        &'a self,
        line: &'a str,
        input: Input,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'a, Result<Ending, HostError>> {
        Box::pin(async move { exec(&self.session, line, stdin::reader(input).await?, output).await })
    }

    // sshd takes no input before it has taken the command, which costs a round trip; the line comes along.
    fn carrying(&self, line: &str, input: &[u8]) -> Result<Option<String>, HostError> {
        quote::with_input(line, input).map_err(|error| failed("cannot quote a script", error))
    }
}

impl Host for SshHost {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(async move { self.root.run(&self.shell(), stdin, output).await })
    }

    fn look(
        &self,
        script: Vec<u8>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(async move { self.root.look(&self.shell(), script, output).await })
    }

    fn prepare(&self) {
        // Without random numbers there will be no script either.
        if let Ok(line) = self.root.script_line() {
            self.session().start_ahead(&line);
        }
    }

    fn run_fresh(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(async move {
            let session = Arc::new(open(self.options.clone()).await?);
            let shell = Shell { host: &self.name, session: Arc::clone(&session) };
            let result = self.root.run(&shell, stdin, output).await;
            self.count(stats(&session));
            result
        })
    }

    fn reconnect(&self) -> Option<BoxFuture<'_, Result<(), HostError>>> {
        if self.has_reconnected.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(Box::pin(async {
            let session = reopen(self.options.clone()).await?;
            let lost = std::mem::replace(&mut *lock(&self.session), Arc::new(session));
            self.count(stats(&lost));
            Ok(())
        }))
    }

    fn peer_address(&self) -> Option<IpAddr> {
        Some(self.session().peer_address()?.ip())
    }

    fn stats(&self) -> Stats {
        sum(*lock(&self.closed), stats(&self.session()))
    }
}

/// Connects, for what is no host to the engine.
///
/// # Errors
/// If there is no connection.
pub(crate) async fn open(options: ConnectOptions) -> Result<Session, HostError> {
    stdbctl_ssh::connect(options).await.map_err(not_connected)
}

/// Connects again where a connection was lost.
///
/// # Errors
/// If there is no connection.
pub(crate) async fn reopen(options: ConnectOptions) -> Result<Session, HostError> {
    stdbctl_ssh::reconnect(options).await.map_err(not_connected)
}

fn not_connected(error: ConnectError) -> HostError {
    let hints = error.hints();
    HostError { hints, ..failed("cannot connect", error) }
}

/// Runs a line of the login user's shell.
///
/// # Errors
/// If it could not be started: `source` is what the connection says.
pub(crate) async fn exec<R>(
    session: &Session,
    command: &str,
    stdin: R,
    output: mpsc::Sender<Output>,
) -> Result<Ending, HostError>
where
    R: AsyncRead + Unpin + Send,
{
    ended(output, |sender| session.exec(command, stdin, sender)).await
}

/// Has something run a line of the login user's shell, passes on what that writes, and says how it ended.
///
/// # Errors
/// As [`exec`].
pub(crate) async fn ended<F>(
    output: mpsc::Sender<Output>,
    run: impl FnOnce(mpsc::Sender<Chunk>) -> F,
) -> Result<Ending, HostError>
where
    F: Future<Output = Result<stdbctl_ssh::Ending, CommandError>>,
{
    let (sender, chunks) = mpsc::channel(PIECES);
    let forward = relay(chunks, output, |chunk| match chunk {
        Chunk::Stdout(bytes) => Output::Stdout(bytes),
        Chunk::Stderr(bytes) => Output::Stderr(bytes),
    });
    let (ending, ()) = tokio::join!(run(sender), forward);
    Ok(match ending {
        Ok(stdbctl_ssh::Ending::Status(status)) => Ending::Status(status),
        Ok(stdbctl_ssh::Ending::Signal(signal)) => Ending::Signal(signal),
        Ok(stdbctl_ssh::Ending::Lost(why)) | Err(CommandError::Gone(why)) => Ending::Lost(why),
        Err(error @ CommandError::Timeout { .. }) => Ending::Lost(error.to_string()),
        Err(error) => return Err(not_run(error)),
    })
}

/// Passes on what a command writes, as another kind of piece, until it has ended. Once nobody listens any more, what
/// still comes is thrown away by whoever sends it.
pub(crate) async fn relay<A, B>(mut from: mpsc::Receiver<A>, to: mpsc::Sender<B>, convert: impl Fn(A) -> B) {
    while let Some(piece) = from.recv().await {
        if to.send(convert(piece)).await.is_err() {
            break;
        }
    }
}

/// One argument is a line for the shell; several are a command that is to arrive as it is.
fn shell_line(command: &[String]) -> Result<String, HostError> {
    match command {
        [line] => Ok(line.clone()),
        words => quote::join(words).map_err(not_run),
    }
}

fn failed(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> HostError {
    HostError { message: what.to_owned(), hints: Vec::new(), source: Some(Box::new(error)) }
}

pub(crate) fn not_run(error: impl std::error::Error + Send + Sync + 'static) -> HostError {
    failed("cannot run the command", error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn stats(session: &Session) -> Stats {
    let stdbctl_ssh::Stats { round_trips, bytes_sent, bytes_received } = session.stats();
    Stats { round_trips, bytes_sent, bytes_received }
}

fn sum(one: Stats, other: Stats) -> Stats {
    Stats {
        round_trips: one.round_trips + other.round_trips,
        bytes_sent: one.bytes_sent + other.bytes_sent,
        bytes_received: one.bytes_received + other.bytes_received,
    }
}
