//! What a script reads, as one stream: the password of sudo where it is wanted, then bytes and local files one behind
//! the other, never in memory whole.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use stdbctl_engine::host::{HostError, Sent, Stdin};
use stdbctl_engine::root::Input;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf, Take};
use tokio::sync::oneshot;

/// A stream of any kind.
pub(crate) type Reader = Box<dyn AsyncRead + Unpin + Send>;

/// All of it in order, as one stream.
///
/// # Errors
/// If a file cannot be opened. One that turns out shorter than said is an error when its end is reached.
pub(crate) async fn reader(input: Input) -> Result<Reader, HostError> {
    Ok(behind(input.key, payloads(input.pieces).await?))
}

/// The password, if one is wanted, and then the rest; without it nothing.
pub(crate) fn behind(key: Option<oneshot::Receiver<SecretString>>, rest: Reader) -> Reader {
    match key {
        Some(key) => Box::new(Locked::Waiting(key, rest)),
        None => rest,
    }
}

async fn payloads(pieces: Vec<Stdin>) -> Result<Reader, HostError> {
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

/// A stream that begins once its password is there, with a line that holds it.
enum Locked {
    /// Without a password there will be nothing to read.
    Waiting(oneshot::Receiver<SecretString>, Reader),
    /// The line, how much of it has been read, and what comes then.
    Opening(Zeroizing<Vec<u8>>, usize, Reader),
    Open(Reader),
}

impl AsyncRead for Locked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            *self = match &mut *self {
                Self::Open(rest) => return Pin::new(rest).poll_read(cx, buffer),
                Self::Waiting(key, rest) => {
                    let Ok(password) = ready!(Pin::new(key).poll(cx)) else { return Poll::Ready(Ok(())) };
                    Self::Opening(line(&password), 0, std::mem::replace(rest, Box::new(tokio::io::empty())))
                }
                Self::Opening(line, read, rest) => {
                    let left = line.get(*read..).unwrap_or_default();
                    let piece = left.get(..left.len().min(buffer.remaining())).unwrap_or_default();
                    buffer.put_slice(piece);
                    *read += piece.len();
                    if *read < line.len() {
                        return Poll::Ready(Ok(()));
                    }
                    let rest = std::mem::replace(rest, Box::new(tokio::io::empty()));
                    *self = Self::Open(rest);
                    return Poll::Ready(Ok(()));
                }
            };
        }
    }
}

fn line(password: &SecretString) -> Zeroizing<Vec<u8>> {
    let password = password.expose_secret().as_bytes();
    // Made in one piece: what a growing buffer leaves behind is not zeroised.
    let mut line = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    line.extend_from_slice(password);
    line.push(b'\n');
    line
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
        let input = Input { key: None, pieces };
        reader(input).await.unwrap().read_to_end(&mut all).await?;
        Ok(all)
    }

    #[tokio::test]
    async fn nothing_is_read_before_the_password_and_nothing_at_all_without() {
        let (hand, key) = oneshot::channel();
        let input = Input { key: Some(key), pieces: vec![Stdin::Bytes(b"script".to_vec())] };
        let mut stream = reader(input).await.unwrap();
        let mut first = [0; 4];
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), stream.read(&mut first)).await;
        assert!(early.is_err(), "{early:?}");
        hand.send(SecretString::from("s\u{e4}cret")).unwrap();
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&first[..], &rest].concat(), "s\u{e4}cret\nscript".as_bytes());

        let (hand, key) = oneshot::channel();
        drop(hand);
        let input = Input { key: Some(key), pieces: vec![Stdin::Bytes(b"script".to_vec())] };
        let mut all = Vec::new();
        reader(input).await.unwrap().read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"");
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
