//! Hosts as the engine and `exec` want them, over SSH or on this machine.

use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use stdbctl_engine::host::{BOOTSTRAP, BoxFuture, Ending, Host, HostError, Output, Stats, Stdin};
use stdbctl_engine::local::LocalHost;
use stdbctl_ssh::{Chunk, ConnectOptions, Session, quote};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::stdin;

/// How many pieces of output may wait to be read.
const PIECES: usize = 16;

/// Where a host is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// This machine.
    Local,
    /// At the other end of an SSH connection.
    Remote(Box<ConnectOptions>),
}

/// A host at the other end of an SSH connection.
pub(crate) struct SshHost {
    name: String,
    options: ConnectOptions,
    session: Session,
    /// What connections that are closed again have cost.
    closed: Mutex<Stats>,
}

impl Place {
    /// Connects. Called `name` in everything that is said about the host.
    pub(crate) fn connect(self, name: String) -> BoxFuture<'static, Result<Arc<dyn Host>, HostError>> {
        Box::pin(async move {
            Ok(match self {
                Self::Local => Arc::new(LocalHost) as Arc<dyn Host>,
                Self::Remote(options) => Arc::new(SshHost::connect(name, *options).await?),
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
            Self::Local => Ok((exec_local(command, output).await?, Stats::default())),
            Self::Remote(options) => {
                let session = open(*options).await?;
                let line = shell_line(command)?;
                let ending = exec(&session, &line, tokio::io::empty(), output).await?;
                let stats = stats(&session);
                session.close().await;
                Ok((ending, stats))
            }
        }
    }
}

impl SshHost {
    async fn connect(name: String, options: ConnectOptions) -> Result<Self, HostError> {
        let session = open(options.clone()).await?;
        Ok(Self { name, options, session, closed: Mutex::default() })
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
        Box::pin(async move { exec(&self.session, BOOTSTRAP, stdin::reader(stdin).await?, output).await })
    }

    fn look(
        &self,
        script: Vec<u8>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(async move {
            // sshd takes no input before it has taken the command, which costs a round trip; the line comes along.
            match quote::with_input(BOOTSTRAP, &script)
                .map_err(|error| failed("cannot quote a script", error))?
            {
                Some(line) => exec(&self.session, &line, tokio::io::empty(), output).await,
                None => self.run(vec![Stdin::Bytes(script)], output).await,
            }
        })
    }

    fn prepare(&self) {
        self.session.start_ahead(BOOTSTRAP);
    }

    fn run_fresh(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(async move {
            let stdin = stdin::reader(stdin).await?;
            let session = open(self.options.clone()).await?;
            let result = exec(&session, BOOTSTRAP, stdin, output).await;
            let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
            *closed = sum(*closed, stats(&session));
            result
        })
    }

    fn peer_address(&self) -> Option<IpAddr> {
        Some(self.session.peer_address()?.ip())
    }

    fn stats(&self) -> Stats {
        sum(*self.closed.lock().unwrap_or_else(PoisonError::into_inner), stats(&self.session))
    }
}

/// Connects, for what is no host to the engine.
///
/// # Errors
/// If there is no connection.
pub(crate) async fn open(options: ConnectOptions) -> Result<Session, HostError> {
    stdbctl_ssh::connect(options).await.map_err(|error| {
        let hints = error.hints();
        HostError { hints, ..failed("cannot connect", error) }
    })
}

async fn exec<R>(
    session: &Session,
    command: &str,
    stdin: R,
    output: mpsc::Sender<Output>,
) -> Result<Ending, HostError>
where
    R: AsyncRead + Unpin + Send,
{
    let (sender, mut chunks) = mpsc::channel(PIECES);
    let forward = async {
        while let Some(chunk) = chunks.recv().await {
            let piece = match chunk {
                Chunk::Stdout(bytes) => Output::Stdout(bytes),
                Chunk::Stderr(bytes) => Output::Stderr(bytes),
            };
            if output.send(piece).await.is_err() {
                break;
            }
        }
        // Nobody listens any more: the session reads the rest and throws it away.
        drop(chunks);
    };
    let (ending, ()) = tokio::join!(session.exec(command, stdin, sender), forward);
    Ok(match ending.map_err(not_run)? {
        stdbctl_ssh::Ending::Status(status) => Ending::Status(status),
        stdbctl_ssh::Ending::Signal(signal) => Ending::Signal(signal),
        stdbctl_ssh::Ending::Lost(why) => Ending::Lost(why),
    })
}

/// One argument is a line for the shell; several are a command that is to arrive as it is.
fn shell_line(command: &[String]) -> Result<String, HostError> {
    match command {
        [line] => Ok(line.clone()),
        words => quote::join(words).map_err(not_run),
    }
}

async fn exec_local(command: &[String], output: mpsc::Sender<Output>) -> Result<Ending, HostError> {
    let mut child = match command {
        [line] => spawn(Command::new("sh").arg("-c").arg(line)),
        [program, arguments @ ..] => spawn(Command::new(program).args(arguments)),
        [] => return Err(HostError::new("there is no command")),
    }
    .map_err(not_run)?;
    let stdout = pump(child.stdout.take(), &output, Output::Stdout);
    let stderr = pump(child.stderr.take(), &output, Output::Stderr);
    let (status, (), ()) = tokio::join!(child.wait(), stdout, stderr);
    let status = status.map_err(not_run)?;
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Status(u32::try_from(code).unwrap_or(u32::MAX)),
        (None, signal) => Ending::Signal(signal_name(signal.unwrap_or_default())),
    })
}

/// A signal as SSH names it, or its number.
fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// Starts a command that has nothing to read, and whose output is ours.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()
}

async fn pump<R>(from: Option<R>, to: &mpsc::Sender<Output>, piece: fn(Vec<u8>) -> Output)
where
    R: AsyncRead + Unpin,
{
    let Some(mut from) = from else { return };
    loop {
        let mut bytes = Vec::with_capacity(8 * 1024);
        match from.read_buf(&mut bytes).await {
            Ok(1..) => drop(to.send(piece(bytes)).await),
            Ok(0) | Err(_) => return,
        }
    }
}

fn failed(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> HostError {
    HostError { message: what.to_owned(), hints: Vec::new(), source: Some(Box::new(error)) }
}

fn not_run(error: impl std::error::Error + Send + Sync + 'static) -> HostError {
    failed("cannot run the command", error)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_local_command_ends_as_one_over_ssh() {
        let ending = async |line: &str| {
            let (output, _unread) = mpsc::channel(1);
            exec_local(&[line.to_owned()], output).await.unwrap()
        };
        assert_eq!(ending("exit 3").await, Ending::Status(3));
        assert_eq!(ending("kill -TERM $$").await, Ending::Signal("TERM".to_owned()));
        assert_eq!(ending("kill -10 $$").await, Ending::Signal("10".to_owned()));
    }
}
