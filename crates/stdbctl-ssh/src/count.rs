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
    writes: u64,
    /// When the first thing was sent that has not been answered.
    asked: Option<Instant>,
    /// This side has begun to wait for the answer.
    waiting: bool,
    /// The shortest time in which an answer came.
    fastest: Option<Duration>,
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
            writes: 0,
            asked: None,
            waiting: false,
            fastest: None,
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
        self.writes += 1;
        // The second write is our KEXINIT. The server sends its own unasked, right behind its banner, so waiting
        // for that is no round trip of its own.
        if self.writes != 2 {
            self.asked.get_or_insert_with(Instant::now);
            self.waiting = false;
        }
    }

    /// Something has come that was waited for. It is the answer unless it came too soon for that: the server says
    /// things unasked too, and what takes less than half of the shortest time was on its way before the question.
    fn count_read(&mut self) {
        self.waiting = false;
        let Some(took) = self.asked.map(|asked| asked.elapsed()) else { return };
        if self.fastest.is_some_and(|fastest| took < fastest / 2) {
            return;
        }
        self.asked = None;
        self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
        self.counter.round_trips.fetch_add(1, Ordering::Relaxed);
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
        let was_waiting = self.waiting;
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_pending() {
            // What is there already when this side looks is no answer.
            self.waiting = self.asked.is_some();
        } else if self.waiting {
            self.count_read();
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
