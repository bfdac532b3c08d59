//! The machine stdbctl runs on, as a host: `--host local`.

use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;

use crate::host::{BOOTSTRAP, BoxFuture, Ending, Host, HostError, Output, Sent, Stdin};

/// The machine stdbctl runs on. Scripts are run as over SSH: through `sh -c` and, unless this is root, sudo.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalHost;

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
        Box::pin(run(stdin, output))
    }
}

async fn run(stdin: Vec<Stdin>, output: mpsc::Sender<Output>) -> Result<Ending, HostError> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(BOOTSTRAP)
        .env_remove("SSH_CONNECTION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("cannot start sh", error))?;
    let (pipe, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let writing = async {
        match pipe {
            Some(pipe) => feed(pipe, stdin).await,
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
async fn feed(mut pipe: ChildStdin, stdin: Vec<Stdin>) -> Result<(), HostError> {
    for piece in stdin {
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
