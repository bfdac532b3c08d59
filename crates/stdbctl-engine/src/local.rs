//! The machine stdbctl runs on, as a host: `--host local`.

use std::process::Stdio;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;

use crate::host::{BoxFuture, Ending, Host, HostError, Output, Sent, Stdin};
use crate::root::{Input, Login, Root};

/// The machine stdbctl runs on. Scripts are run as over SSH: through `sh -c` and, unless this is root, sudo.
#[derive(Debug, Default)]
pub struct LocalHost {
    root: Root,
}

impl LocalHost {
    /// This machine, on which `root` says how to become root.
    pub fn new(root: Root) -> Self {
        Self { root }
    }

    /// Runs a command as root: its words, quoted for sh.
    ///
    /// # Errors
    /// As [`Root::command`].
    pub async fn command(&self, words: &str, output: mpsc::Sender<Output>) -> Result<Ending, HostError> {
        self.root.command(&Shell, words, output).await
    }
}

/// The shell of whoever runs stdbctl.
struct Shell;

/// How much is read or written at once.
const PIECE: usize = 64 << 10;

impl Host for LocalHost {
    fn name(&self) -> &'static str {
        "local"
    }

    fn run(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(self.root.run(&Shell, stdin, output))
    }
}

impl Login for Shell {
    fn host(&self) -> &'static str {
        "local"
    }

    fn start<'a>(
        &'a self,
        line: &'a str,
        input: Input,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'a, Result<Ending, HostError>> {
        Box::pin(start(line, input, output))
    }
}

async fn start(line: &str, mut input: Input, output: mpsc::Sender<Output>) -> Result<Ending, HostError> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(line)
        .env_remove("SSH_CONNECTION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("cannot start sh", error))?;
    drop(input.begun.take());
    let (pipe, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let writing = async {
        match pipe {
            Some(pipe) => feed(pipe, input).await,
            None => Ok(()),
        }
    };
    let (written, (), ()) =
        tokio::join!(writing, drain(out, &output, Output::Stdout), drain(err, &output, Output::Stderr));
    let status = child.wait().await.map_err(|error| failed("cannot wait for sh", error))?;
    written?;
    Ok(match status.code() {
        Some(code) => Ending::Status(u32::try_from(code).unwrap_or(u32::MAX)),
        None => Ending::Signal("KILL".to_owned()),
    })
}

/// A script that ended before it read everything is not an error of its own: its ending says why.
async fn feed(mut pipe: ChildStdin, input: Input) -> Result<(), HostError> {
    if let Some(key) = input.key {
        let Ok(password) = key.await else { return Ok(()) };
        let password = password.expose_secret().as_bytes();
        if pipe.write_all(password).await.is_err() || pipe.write_all(b"\n").await.is_err() {
            return Ok(());
        }
    }
    for piece in input.pieces {
        let written = match piece {
            Stdin::Bytes(bytes) => pipe.write_all(&bytes).await,
            Stdin::File { path, len, sent } => {
                let name = path.display().to_string();
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| failed(&format!("cannot read {name}"), error))?;
                let written = copy(file.take(len), &mut pipe, &sent).await;
                if written.is_ok() && sent.bytes() < len {
                    return Err(HostError::new(format!("{name} has become shorter while it was sent")));
                }
                written
            }
        };
        if written.is_err() {
            break;
        }
    }
    Ok(())
}

async fn copy<R: AsyncRead + Unpin>(mut from: R, to: &mut ChildStdin, sent: &Sent) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    while let count @ 1.. = from.read(&mut buffer).await? {
        to.write_all(buffer.get(..count).unwrap_or_default()).await?;
        sent.add(count as u64);
    }
    Ok(())
}

async fn drain<R: AsyncRead + Unpin>(
    pipe: Option<R>,
    output: &mpsc::Sender<Output>,
    wrap: fn(Vec<u8>) -> Output,
) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; PIECE];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let piece = buffer.get(..count).unwrap_or_default().to_vec();
        // A reader that went away does not end the script.
        drop(output.send(wrap(piece)).await);
    }
}

fn failed(message: &str, error: std::io::Error) -> HostError {
    HostError { message: message.to_owned(), hints: Vec::new(), source: Some(Box::new(error)) }
}
