//! What the host's script reads, and who runs it as root.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{mpsc, watch};

use super::error::TransferError;
use crate::command::{Chunk, Ending};
use crate::error::CommandError;
use crate::session::Session;

/// Runs what a transfer does on a host as root.
pub trait AsRoot: Send + Sync {
    /// Runs a command as root: its words, quoted for the login user's shell. It reads `input`, which is opened anew
    /// for each attempt to become root.
    ///
    /// # Errors
    /// [`TransferError::Root`] if the host does not become root, [`TransferError::Command`] if there is no channel.
    fn run<'a>(
        &'a self,
        session: &'a Session,
        words: &'a str,
        input: &'a TransferInput,
        output: mpsc::Sender<Chunk>,
    ) -> BoxFuture<'a, Result<Ending, TransferError>>;
}

/// What the host's script reads. Until the script has begun it can be read from the beginning again.
pub struct TransferInput {
    said: Arc<Mutex<Said>>,
    taken: watch::Sender<u64>,
}

struct Said {
    pieces: mpsc::Receiver<Vec<u8>>,
    /// Read already, and perhaps to be read once more. No more than a channel takes before its command runs.
    kept: VecDeque<Arc<[u8]>>,
    /// The number of the first of them.
    first: usize,
    has_begun: bool,
}

impl TransferInput {
    pub(super) fn new(pieces: mpsc::Receiver<Vec<u8>>) -> Self {
        let said = Said { pieces, kept: VecDeque::new(), first: 0, has_begun: false };
        Self { said: Arc::new(Mutex::new(said)), taken: watch::Sender::new(0) }
    }

    /// What is read now is not read again.
    pub(super) fn has_begun(&self) {
        lock(&self.said).has_begun = true;
    }

    /// All of it, from the beginning.
    pub fn open(&self) -> impl AsyncRead + Send + Unpin + use<> {
        Reader { said: Arc::clone(&self.said), next: 0, piece: Arc::new([]), at: 0 }
    }

    /// How many bytes of it the host has taken.
    pub(super) fn taken(&self) -> watch::Receiver<u64> {
        self.taken.subscribe()
    }

    /// Runs a line of the login user's shell that reads this, [opened](Self::open) and perhaps behind a password.
    ///
    /// # Errors
    /// As [`Session::exec`].
    pub async fn exec<R: AsyncRead + Unpin + Send>(
        &self,
        session: &Session,
        line: &str,
        stdin: R,
        output: mpsc::Sender<Chunk>,
    ) -> Result<Ending, CommandError> {
        session.exec_watched(line, stdin, output, self.taken.clone()).await
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Said {
    /// The piece of this number. None at the end.
    fn poll_piece(&mut self, number: usize, cx: &mut Context<'_>) -> Poll<Option<Arc<[u8]>>> {
        while self.has_begun && self.first < number && self.kept.pop_front().is_some() {
            self.first += 1;
        }
        if let Some(piece) = number.checked_sub(self.first).and_then(|index| self.kept.get(index)) {
            return Poll::Ready(Some(Arc::clone(piece)));
        }
        let piece = ready!(self.pieces.poll_recv(cx)).map(Arc::<[u8]>::from);
        self.kept.extend(piece.clone());
        Poll::Ready(piece)
    }
}

struct Reader {
    said: Arc<Mutex<Said>>,
    /// The number of the piece behind this one.
    next: usize,
    piece: Arc<[u8]>,
    at: usize,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.at >= this.piece.len() {
            match ready!(lock(&this.said).poll_piece(this.next, cx)) {
                Some(piece) => (this.piece, this.at, this.next) = (piece, 0, this.next + 1),
                None => return Poll::Ready(Ok(())),
            }
        }
        let rest = this.piece.get(this.at..).unwrap_or_default();
        let taken = rest.get(..rest.len().min(buffer.remaining())).unwrap_or_default();
        buffer.put_slice(taken);
        this.at += taken.len();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_read_from_the_beginning_until_the_command_has_begun() {
        let (speaker, pieces) = mpsc::channel(4);
        let input = TransferInput::new(pieces);
        for piece in [&b"abc"[..], b"def"] {
            speaker.send(piece.to_vec()).await.unwrap();
        }
        let mut some = [0; 4];
        input.open().read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"abcd");
        let mut second = input.open();
        second.read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"abcd");
        input.has_begun();
        speaker.send(b"ghi".to_vec()).await.unwrap();
        drop(speaker);
        let mut rest = Vec::new();
        second.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"efghi");
        assert!(lock(&input.said).kept.len() <= 1, "what cannot be read again is not kept");
    }
}
