//! What a script reads, as one stream: bytes and local files one behind the other, never in memory whole.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use stdbctl_engine::host::{HostError, Sent, Stdin};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf, Take};

/// A stream of any kind.
pub(crate) type Reader = Box<dyn AsyncRead + Unpin + Send>;

/// The pieces in order, as one stream.
///
/// # Errors
/// If a file cannot be opened. One that turns out shorter than said is an error when its end is reached.
pub(crate) async fn reader(pieces: Vec<Stdin>) -> Result<Reader, HostError> {
    let mut whole: Reader = Box::new(tokio::io::empty());
    for piece in pieces {
        whole = match piece {
            Stdin::Bytes(bytes) => Box::new(whole.chain(io::Cursor::new(bytes))),
            Stdin::File { path, len, sent } => {
                let file = File::open(&path).await.map_err(|source| unreadable(&path, source))?;
                Box::new(whole.chain(Part { file: file.take(len), path, sent }))
            }
        };
    }
    Ok(whole)
}

fn unreadable(path: &Path, source: io::Error) -> HostError {
    HostError {
        message: format!("cannot read {}", path.display()),
        hints: Vec::new(),
        source: Some(Box::new(source)),
    }
}

/// The beginning of a file, of a length that was promised.
struct Part {
    file: Take<File>,
    path: PathBuf,
    sent: Sent,
}

impl AsyncRead for Part {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.file).poll_read(cx, buffer))?;
        self.sent.add((buffer.filled().len() - before) as u64);
        let ended = buffer.filled().len() == before && buffer.remaining() > 0;
        if ended && self.file.limit() > 0 {
            let message = format!("{} has become shorter while it was sent", self.path.display());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(pieces: Vec<Stdin>) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        reader(pieces).await.unwrap().read_to_end(&mut all).await?;
        Ok(all)
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_files_only_as_far_as_promised() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789").unwrap();
        let path = file.path().to_owned();
        let sent = Sent::default();
        let pieces = vec![
            Stdin::Bytes(b"a\n".to_vec()),
            Stdin::File { path: path.clone(), len: 4, sent: sent.clone() },
            Stdin::Bytes(Vec::new()),
            Stdin::File { path, len: 0, sent: Sent::default() },
            Stdin::Bytes(b"z".to_vec()),
        ];
        assert_eq!(read(pieces).await.unwrap(), b"a\n0123z");
        assert_eq!(sent.bytes(), 4);
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "012").unwrap();
        let error = read(vec![Stdin::File { path: file.path().to_owned(), len: 4, sent: Sent::default() }])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
