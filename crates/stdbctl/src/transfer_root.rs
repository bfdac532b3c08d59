//! How `push` and `pull` become root: as every other verb does, with what they read behind it.

use futures_util::future::BoxFuture;
use stdbctl_engine::host::{BoxFuture as HostFuture, Ending, HostError, Output};
use stdbctl_engine::root::{Input, Login, Root};
use stdbctl_ssh::{AsRoot, Chunk, CommandError, Session, TransferError, TransferInput};
use tokio::sync::mpsc;

use crate::host::{self, PIECES, Password};
use crate::stdin;

/// Root on one host, for one run.
pub(crate) struct TransferRoot {
    host: String,
    root: Root,
}

impl TransferRoot {
    /// `host` is what messages call it.
    pub(crate) fn new(host: String, password: Password) -> Self {
        Self { host, root: Root::new(password) }
    }
}

impl AsRoot for TransferRoot {
    fn run<'a>(
        &'a self,
        session: &'a Session,
        words: &'a str,
        input: &'a TransferInput,
        output: mpsc::Sender<Chunk>,
    ) -> BoxFuture<'a, Result<stdbctl_ssh::Ending, TransferError>> {
        Box::pin(async move {
            let shell = Shell { host: &self.host, session, input };
            let (sender, pieces) = mpsc::channel(PIECES);
            let forward = host::relay(pieces, output, |piece| match piece {
                Output::Stdout(bytes) => Chunk::Stdout(bytes),
                Output::Stderr(bytes) => Chunk::Stderr(bytes),
            });
            let (ending, ()) = tokio::join!(self.root.command(&shell, words, sender), forward);
            Ok(match ending.map_err(not_run)? {
                Ending::Status(status) => stdbctl_ssh::Ending::Status(status),
                Ending::Signal(signal) => stdbctl_ssh::Ending::Signal(signal),
                Ending::Lost(why) => stdbctl_ssh::Ending::Lost(why),
            })
        })
    }
}

/// A channel that is refused is one less, and no reason to give up.
fn not_run(mut error: HostError) -> TransferError {
    if let Some(source) = error.source.take() {
        match source.downcast::<CommandError>() {
            Ok(source) => return TransferError::Command(*source),
            Err(source) => error.source = Some(source),
        }
    }
    TransferError::Root(Box::new(error))
}

/// The login user's shell, whose lines read what the transfer says.
struct Shell<'a> {
    host: &'a str,
    session: &'a Session,
    input: &'a TransferInput,
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
    ) -> HostFuture<'a, Result<Ending, HostError>> {
        let stdin = stdin::behind(input, Box::new(self.input.open()));
        Box::pin(host::ended(output, |sender| self.input.exec(self.session, line, stdin, sender)))
    }
}
