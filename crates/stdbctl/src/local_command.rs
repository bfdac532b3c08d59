//! A command on this machine, which ends as one over SSH does.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use stdbctl_engine::host::{Ending, HostError, Output};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::host::not_run;

/// Runs a command as whoever runs this: one argument is a line for the shell, several are a program and what it gets.
///
/// # Errors
/// If it cannot be started.
pub(crate) async fn exec(command: &[String], output: mpsc::Sender<Output>) -> Result<Ending, HostError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_local_command_ends_as_one_over_ssh() {
        let ending = async |line: &str| {
            let (output, _unread) = mpsc::channel(1);
            exec(&[line.to_owned()], output).await.unwrap()
        };
        assert_eq!(ending("exit 3").await, Ending::Status(3));
        assert_eq!(ending("kill -TERM $$").await, Ending::Signal("TERM".to_owned()));
        assert_eq!(ending("kill -10 $$").await, Ending::Signal("10".to_owned()));
    }
}
