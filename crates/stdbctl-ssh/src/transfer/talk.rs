//! A command that is told things and answers, both at the same time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::error::TransferError;
use super::input::{AsRoot, TransferInput};
use super::pace::Pace;
use crate::command::{Chunk, Ending};
use crate::session::Session;

/// How many pieces of either direction may wait.
const PIECES: usize = 4;
/// How much of what a command says in the end is kept.
const LAST_WORDS: usize = 8 * 1024;
/// No line, and no name, is longer.
const LONGEST: usize = 256 * 1024;

/// Where a command's input is written.
pub(super) struct Saying {
    pieces: mpsc::Sender<Vec<u8>>,
    taken: watch::Receiver<u64>,
}

/// Nobody listens any more: why is in how the command ended.
#[derive(Debug)]
pub(super) struct Deaf;

impl Saying {
    pub(super) async fn say(&self, bytes: Vec<u8>) -> Result<(), Deaf> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.pieces.send(bytes).await.map_err(|_| Deaf)
    }

    /// How many bytes of what was said the host has taken.
    pub(super) fn taken(&self) -> watch::Receiver<u64> {
        self.taken.clone()
    }
}

/// How much a login shell may say for itself, a command's errors may hold, or come behind its answer.
const MOST_NOISE: usize = 1 << 20;
/// How long the script may take to begin where nobody is asked for a password.
const BEGINNING: Duration = Duration::from_secs(120);
/// How long a command may go on once it is not listened to any more.
const GRACE: Duration = Duration::from_secs(5);

/// What a command says, from its marker on.
pub(super) struct Hearing {
    chunks: mpsc::Receiver<Chunk>,
    piece: Vec<u8>,
    at: usize,
    words: Arc<Mutex<Vec<u8>>>,
    /// Bytes of errors so far.
    complained: usize,
}

impl Hearing {
    /// Whether no more comes, rather than more than is listened to.
    fn has_ended(&self) -> bool {
        self.chunks.is_closed() && self.complained <= MOST_NOISE
    }

    /// More to read; false at the end, which errors without end are too.
    async fn fill(&mut self) -> bool {
        while self.at >= self.piece.len() {
            match self.chunks.recv().await {
                Some(Chunk::Stdout(bytes)) => (self.piece, self.at) = (bytes, 0),
                Some(Chunk::Stderr(bytes)) => {
                    self.keep(&bytes);
                    self.complained += bytes.len();
                    if self.complained > MOST_NOISE {
                        self.chunks.close();
                        return false;
                    }
                }
                None => return false,
            }
        }
        true
    }

    fn keep(&self, bytes: &[u8]) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend(bytes);
        let surplus = words.len().saturating_sub(LAST_WORDS);
        words.drain(..surplus);
    }

    /// Skips what the login shell says for itself. Gives back what the host can do, if it begins at all.
    async fn begin(&mut self, nonce: &str) -> Result<Option<Vec<u8>>, TransferError> {
        let mark = [nonce.as_bytes(), b" "].concat();
        let mut skipped = 0;
        while let Some(line) = self.read_until(b'\n').await? {
            skipped += line.len() + 1;
            if skipped > MOST_NOISE {
                return Err(TransferError::Protocol("its login shell does not stop talking".to_owned()));
            }
            if let Some(able) = line.strip_prefix(&*mark) {
                return Ok(Some(able.to_vec()));
            }
        }
        Ok(None)
    }

    /// What comes before the next of this byte; none at the end.
    pub(super) async fn read_until(&mut self, end: u8) -> Result<Option<Vec<u8>>, TransferError> {
        let mut read = Vec::new();
        while self.fill().await {
            let rest = self.piece.get(self.at..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|&byte| byte == end) {
                read.extend(rest.get(..length).unwrap_or_default());
                self.at += length + 1;
                return Ok(Some(read));
            }
            read.extend(rest);
            self.at = self.piece.len();
            if read.len() > LONGEST {
                return Err(TransferError::Protocol("it is a line without end".to_owned()));
            }
        }
        Ok(None)
    }

    /// The next line as text; none at the end.
    pub(super) async fn line(&mut self) -> Result<Option<String>, TransferError> {
        let line = self.read_until(b'\n').await?;
        Ok(line.map(|line| String::from_utf8_lossy(&line).into_owned()))
    }

    /// Whether nothing more comes.
    pub(super) async fn is_over(&mut self) -> bool {
        !self.fill().await
    }

    /// Up to so many bytes, as they come; empty at the end.
    pub(super) async fn some(&mut self, most: usize) -> &[u8] {
        if !self.fill().await {
            return &[];
        }
        let from = self.at;
        self.at = self.piece.len().min(from.saturating_add(most));
        self.piece.get(from..self.at).unwrap_or_default()
    }

    /// What has come and was not read; empty at the end.
    pub(super) async fn peek(&mut self) -> &[u8] {
        if !self.fill().await {
            return &[];
        }
        self.piece.get(self.at..).unwrap_or_default()
    }

    /// So many of those bytes have been read.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at = self.piece.len().min(self.at + bytes);
    }

    /// Until the end, so that the command's own end is learnt. False if there seems to be none.
    async fn rest(&mut self) -> bool {
        let mut more = 0;
        while more <= MOST_NOISE && self.fill().await {
            more += self.piece.len() - self.at;
            self.at = self.piece.len();
        }
        more <= MOST_NOISE && self.complained <= MOST_NOISE
    }
}

/// A command to talk to.
pub(super) struct Talk<'a> {
    pub(super) session: &'a Session,
    pub(super) pace: &'a Pace,
    pub(super) command: &'a str,
    pub(super) nonce: &'a str,
    /// What it is about, for messages.
    pub(super) path: &'a str,
    pub(super) as_root: Option<&'a dyn AsRoot>,
}

impl Talk<'_> {
    /// Runs the command, with something that speaks to it and something that listens. What the command itself fails
    /// with comes before what the listener makes of it, and a local failure before both.
    pub(super) async fn run<T, S, H>(
        self,
        say: impl FnOnce(Saying) -> S,
        hear: impl FnOnce(Hearing) -> H,
    ) -> Result<T, TransferError>
    where
        S: Future<Output = Result<Result<(), Deaf>, TransferError>>,
        H: Future<Output = (Hearing, Result<T, TransferError>)>,
    {
        let (speaker, pieces) = mpsc::channel(PIECES);
        let (sender, chunks) = mpsc::channel(PIECES);
        let words = Arc::new(Mutex::new(Vec::new()));
        let input = TransferInput::new(pieces);
        let (over, unheard) = (Notify::new(), Notify::new());
        let mut hearing =
            Hearing { chunks, piece: Vec::new(), at: 0, words: Arc::clone(&words), complained: 0 };
        let heard = async {
            let begun = self.begin(&mut hearing).await;
            let (mut hearing, heard) = match begun {
                Ok(Some(able)) => {
                    input.has_begun();
                    self.pace.host_packs(able == b"gzip");
                    hear(hearing).await
                }
                Ok(None) => (hearing, Err(TransferError::Protocol("it says nothing".to_owned()))),
                Err(error) => (hearing, Err(error)),
            };
            let heard = match heard {
                Ok(_) if !hearing.rest().await => {
                    Err(TransferError::Protocol("it does not stop talking".to_owned()))
                }
                heard => heard,
            };
            let is_cut_short = heard.is_err() && !hearing.has_ended();
            // Nobody listens any more: what still comes is thrown away, and nothing more is said.
            drop(hearing);
            over.notify_one();
            unheard.notify_one();
            (heard, is_cut_short)
        };
        let ended = async {
            let ended = tokio::select! {
                ended = self.start(&input, sender) => Some(ended),
                () = async { unheard.notified().await; sleep(GRACE).await } => None,
            };
            over.notify_one();
            ended
        };
        let said = async {
            tokio::select! {
                biased;
                said = say(Saying { pieces: speaker, taken: input.taken() }) => said,
                () = over.notified() => Ok(Err(Deaf)),
            }
        };
        let (ending, said, (heard, is_cut_short)) = tokio::join!(ended, said, heard);
        drop(said?);
        let words = std::mem::take(&mut *words.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(ending) = ending else {
            return heard.and(Err(TransferError::Protocol("it does not end".to_owned())));
        };
        match ending? {
            Ending::Status(0) => heard,
            // It does not know yet what is wrong when it has not heard the command out.
            Ending::Status(_)
                if matches!(heard, Err(TransferError::Local { .. } | TransferError::Escapes(_))) =>
            {
                heard
            }
            Ending::Status(status) => Err(self.failure(status, &words)),
            Ending::Signal(signal) => Err(TransferError::Host {
                path: self.path.to_owned(),
                said: format!("killed by SIG{signal}"),
            }),
            // It said something wrong, and more than anybody takes: that is why.
            Ending::Lost(_) if is_cut_short => heard,
            Ending::Lost(why) => Err(TransferError::Lost(why)),
        }
    }

    /// Where a password may be asked for, it takes as long as who types it.
    async fn begin(&self, hearing: &mut Hearing) -> Result<Option<Vec<u8>>, TransferError> {
        let begun = hearing.begin(self.nonce);
        if self.as_root.is_some() {
            return begun.await;
        }
        let late = |_| TransferError::Protocol(format!("it has not begun after {BEGINNING:?}"));
        timeout(BEGINNING, begun).await.map_err(late)?
    }

    async fn start(
        &self,
        input: &TransferInput,
        output: mpsc::Sender<Chunk>,
    ) -> Result<Ending, TransferError> {
        let Some(root) = self.as_root else {
            input.has_begun();
            return Ok(input.exec(self.session, self.command, input.open(), output).await?);
        };
        root.run(self.session, self.command, input, output).await
    }

    fn failure(&self, status: u32, words: &[u8]) -> TransferError {
        let text = String::from_utf8_lossy(words);
        let own = text.rsplit_once(self.nonce).map_or(&*text, |(_, own)| own);
        TransferError::of_host(self.path, status, own, self.as_root.is_some())
    }
}
