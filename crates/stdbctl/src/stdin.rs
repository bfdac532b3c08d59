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
use stdbctl_playbook::local_path;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf, Take};
use tokio::sync::oneshot;

/// A stream of any kind.
pub(crate) type Reader = Box<dyn AsyncRead + Unpin + Send>;

/// All of it in order, as one stream.
///
/// # Errors
/// If a file cannot be opened. One that turns out shorter than said is an error when its end is reached.
pub(crate) async fn reader(mut input: Input) -> Result<Reader, HostError> {
    let pieces = std::mem::take(&mut input.pieces);
    Ok(behind(input, payloads(pieces).await?))
}

/// The password, if one is wanted, and then the rest in place of the pieces; without it nothing.
///
/// A command's input is first read when the command has been sent: then its line has begun.
pub(crate) fn behind(Input { key, begun, .. }: Input, rest: Reader) -> Reader {
    Box::new(Locked::Waiting { begun, key, rest })
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
        hints: vec![local_path::hint(path, &source)],
        source: Some(Box::new(source)),
    }
}

/// A stream that begins once its password is there, with a line that holds it.
enum Locked {
    /// Without the password that is wanted there will be nothing to read.
    Waiting {
        begun: Option<oneshot::Sender<()>>,
        key: Option<oneshot::Receiver<SecretString>>,
        rest: Reader,
    },
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
                Self::Waiting { begun, key, rest } => {
                    drop(begun.take());
                    let line = match key {
                        None => None,
                        Some(key) => match ready!(Pin::new(key).poll(cx)) {
                            Ok(password) => Some(line(&password)),
                            Err(_) => return Poll::Ready(Ok(())),
                        },
                    };
                    let rest = std::mem::replace(rest, Box::new(tokio::io::empty()));
                    match line {
                        None => Self::Open(rest),
                        Some(line) => Self::Opening(line, 0, rest),
                    }
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
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    async fn read(pieces: Vec<Stdin>) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let input = Input { pieces, ..Input::default() };
        reader(input).await.unwrap().read_to_end(&mut all).await?;
        Ok(all)
    }

    #[tokio::test]
    async fn nothing_is_read_before_the_password_and_nothing_at_all_without() {
        let (hand, key) = oneshot::channel();
        let input =
            Input { key: Some(key), pieces: vec![Stdin::Bytes(b"script".to_vec())], ..Input::default() };
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
        let input =
            Input { key: Some(key), pieces: vec![Stdin::Bytes(b"script".to_vec())], ..Input::default() };
        let mut all = Vec::new();
        reader(input).await.unwrap().read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"");
    }

    #[tokio::test]
    async fn a_line_has_begun_when_its_input_is_read() {
        for wants_password in [false, true] {
            let (begun, mut has_begun) = oneshot::channel();
            let (_hand, key) = oneshot::channel();
            let key = wants_password.then_some(key);
            let input = Input { key, pieces: vec![Stdin::Bytes(b"script".to_vec())], begun: Some(begun) };
            let mut stream = reader(input).await.unwrap();
            assert_eq!(has_begun.try_recv(), Err(TryRecvError::Empty));
            let mut first = [0; 4];
            let is_read = stream.read_exact(&mut first).now_or_never().is_some();
            assert_eq!(has_begun.try_recv(), Err(TryRecvError::Closed));
            assert_eq!(is_read, !wants_password);
        }
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
