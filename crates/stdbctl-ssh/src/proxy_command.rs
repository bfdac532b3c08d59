//! A command whose standard input and output lead to a host (`ProxyCommand`).

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connect::ConnectOptions;
use crate::error::ConnectError;
use crate::printable::printable;

/// How much of what it complains about is kept, from the end.
const LONGEST_WORDS: usize = 1024;
/// How long a command that has ended may leave its complaints open.
const PATIENCE: Duration = Duration::from_millis(500);

/// Its input and output. Dropping this ends the command.
pub(crate) struct CommandStream {
    input: ChildStdin,
    output: ChildStdout,
    _child: Child,
}

/// What it wrote to standard error.
pub(crate) struct LastWords {
    heard: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl CommandStream {
    pub(crate) fn start(line: &str, options: &ConnectOptions) -> Result<(Self, LastWords), ConnectError> {
        let failed = |source| ConnectError::ProxyNotStarted { host: options.target.host.clone(), source };
        let line = options.tokens().expand(line);
        let line = line.map_err(|why| failed(io::Error::other(format!("the command {}", why.why()))))?;
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec {line}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output), Some(complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(io::Error::other("it has no input or output")));
        };
        Ok((Self { input, output, _child: child }, LastWords::listen(complaints)))
    }
}

impl LastWords {
    fn listen(mut from: ChildStderr) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let words = Arc::clone(&heard);
        let listening = tokio::spawn(async move {
            let mut piece = Vec::with_capacity(LONGEST_WORDS);
            while let Ok(1..) = from.read_buf(&mut piece).await {
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.append(&mut piece);
                let surplus = words.len().saturating_sub(LONGEST_WORDS);
                words.drain(..surplus);
            }
        });
        Self { heard, listening }
    }

    /// The last line of them, fit for a terminal, once the command has ended.
    pub(crate) async fn last_line(self) -> Option<String> {
        timeout(PATIENCE, self.listening).await.ok();
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&heard);
        text.lines().rev().map(printable).find(|line| !line.is_empty())
    }
}

impl AsyncRead for CommandStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
