//! The stream under a connection: counts what crosses it, remembers what the server said first, and can be
//! cut from outside.

use std::future::Future;
use std::io;
use std::ops::Add;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::observer::{Observation, Observer, identification};

/// How much of the server's first words is kept for messages.
const OPENING: usize = 512;

/// What crossed the network on one connection so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Times that this side sent something and then waited for an answer, TCP's own handshake (or the opening of a
    /// channel in its place) included.
    pub round_trips: u64,
    /// Bytes sent, encrypted.
    pub bytes_sent: u64,
    /// Bytes received, encrypted.
    pub bytes_received: u64,
}

impl Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            round_trips: self.round_trips + other.round_trips,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            bytes_received: self.bytes_received + other.bytes_received,
        }
    }
}

/// Counted by the stream, read by the session.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    round_trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    opening: Mutex<Vec<u8>>,
    /// The server had hung up before what was sent last, which has reached nobody.
    was_gone: AtomicBool,
    logged_in: AtomicBool,
    observer: Observer,
}

impl Counter {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            // The one of TCP's own handshake comes before the first byte.
            round_trips: self.round_trips.load(Ordering::Relaxed) + 1,
            bytes_sent: self.sent.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
        }
    }

    /// The first bytes the server sent.
    pub(crate) fn opening(&self) -> Vec<u8> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn was_gone(&self) -> bool {
        self.was_gone.load(Ordering::Relaxed)
    }

    /// From now on the two sides do not take turns any more.
    pub(crate) fn end_login(&self) {
        self.logged_in.store(true, Ordering::Relaxed);
    }

    fn receive(&self, bytes: &[u8]) {
        let before = self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if before < OPENING as u64 {
            let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            let was_known = self.observer.is_there() && identification(&opening).is_some();
            let room = OPENING.saturating_sub(opening.len());
            opening.extend(bytes.iter().take(room));
            if let Some(words) = identification(&opening).filter(|_| !was_known) {
                self.observer.tell(|| Observation::Identified { words });
            }
        }
    }
}

/// Tells answers from what a server says unasked.
#[derive(Debug, Default)]
struct Turns {
    writes: u64,
    /// When the first thing was sent that has not been answered.
    asked: Option<Instant>,
    /// This side has begun to wait for the answer: what is there already when it looks is none.
    waiting: bool,
    answers: u64,
    /// The shortest time in which an answer came.
    fastest: Option<Duration>,
}

impl Turns {
    fn sent(&mut self, at: Instant) {
        self.writes += 1;
        // The second write is our KEXINIT. The server sends its own unasked, right behind its banner, so waiting
        // for that is no round trip of its own.
        if self.writes != 2 {
            self.asked.get_or_insert(at);
            self.waiting = false;
        }
    }

    fn wait(&mut self) {
        self.waiting = self.asked.is_some();
    }

    /// Whether what has come is the answer. During the login the two sides take turns, and it is. Later it is not
    /// if it comes too soon: what takes less than half of the shortest time was on its way before the question.
    fn received(&mut self, at: Instant, during_login: bool) -> bool {
        let waited = std::mem::take(&mut self.waiting);
        let Some(took) = self.asked.filter(|_| waited).map(|asked| at - asked) else { return false };
        if !during_login && self.fastest.is_some_and(|fastest| took < fastest / 2) {
            return false;
        }
        self.asked = None;
        self.answers += 1;
        // The first is the banner. It tells how busy the host is rather than how far away: it starts a process.
        if self.answers > 1 {
            self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        }
        true
    }
}

/// Cuts the connection when dropped, so that a task that was given up cannot go on holding it.
#[derive(Debug)]
pub(crate) struct Cutter(#[expect(dead_code, reason = "dropping it is the signal")] oneshot::Sender<()>);

/// What a connection can be carried by: TCP, a channel of another connection, a command's input and output.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that counts.
pub(crate) struct CountedStream {
    stream: Box<dyn Stream>,
    counter: Arc<Counter>,
    cut: oneshot::Receiver<()>,
    turns: Turns,
    /// Runs while the network takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    longest_stall: Duration,
}

impl CountedStream {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        longest_stall: Duration,
        observer: Observer,
    ) -> (Self, Arc<Counter>, Cutter) {
        let (cutter, cut) = oneshot::channel();
        let counter = Arc::new(Counter { observer, ..Counter::default() });
        let this = Self {
            stream,
            counter: Arc::clone(&counter),
            cut,
            turns: Turns::default(),
            stalled: None,
            longest_stall,
        };
        (this, counter, Cutter(cutter))
    }

    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        Pin::new(&mut self.cut).poll(context).is_ready()
    }

    fn count_write(&mut self, bytes: usize) {
        self.counter.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.stalled = None;
        self.turns.sent(Instant::now());
    }

    /// A peer that takes nothing for too long is gone: russh looks at its keep-alive only between two writes.
    fn poll_stall(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let longest = self.longest_stall;
        let stalled =
            self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + longest)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let was_waiting = self.turns.waiting;
        let during_login = !self.counter.logged_in.load(Ordering::Relaxed);
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_pending() {
            self.turns.wait();
        } else if self.turns.received(Instant::now(), during_login) {
            self.counter.round_trips.fetch_add(1, Ordering::Relaxed);
        }
        let is_end = result.is_ready() && buffer.filled().len() == before;
        // What is there already when this side looks is no answer.
        self.counter.was_gone.fetch_or(is_end && !was_waiting, Ordering::Relaxed);
        self.counter.receive(buffer.filled().get(before..).unwrap_or_default());
        result
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(Ok(written)) => {
                self.count_write(written);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => {
                self.counter.was_gone.store(true, Ordering::Relaxed);
                Poll::Ready(Err(error))
            }
            Poll::Pending => self.poll_stall(context),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds, and whether this side sent something then, or received it after having waited.
    fn count(login: &[(u64, bool)], later: &[(u64, bool)]) -> (usize, usize) {
        let (start, mut turns) = (Instant::now(), Turns::default());
        let mut play = |events: &[(u64, bool)], during_login| {
            let at = |milliseconds| start + Duration::from_millis(milliseconds);
            let answers = events.iter().filter(|(milliseconds, sent)| {
                if *sent {
                    turns.sent(at(*milliseconds));
                    return false;
                }
                turns.wait();
                turns.received(at(*milliseconds), during_login)
            });
            answers.count()
        };
        (play(login, true), play(later, false))
    }

    /// A banner that took its time, the key exchange, and two questions of the login.
    const LOGIN: [(u64, bool); 10] = [
        (0, true),
        (900, false),
        (901, true),
        (902, false),
        (903, true),
        (1003, false),
        (1004, true),
        (1104, false),
        (1105, true),
        (1205, false),
    ];

    #[test]
    fn a_host_that_was_slow_to_begin_answers_nevertheless() {
        let later = [(1300, true), (1400, false), (1401, true), (1501, false)];
        assert_eq!(count(&LOGIN, &later), (4, 2));
    }

    #[test]
    fn what_was_on_its_way_answers_nothing() {
        let later = [(1300, true), (1301, false), (1330, false), (1400, false), (1410, false)];
        assert_eq!(count(&LOGIN, &later), (4, 1));
    }

    #[test]
    fn one_that_never_waits_is_answered_by_nothing() {
        let (now, mut turns) = (Instant::now(), Turns::default());
        turns.sent(now);
        assert!(!turns.received(now + Duration::from_secs(1), true));
    }
}
