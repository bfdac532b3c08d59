//! Counts round trips as the client feels them.

use std::time::{Duration, Instant};

/// Counts how often a client had to wait for an answer before it went on.
///
/// A round trip is counted when something arrives at the client that can be the answer to what it has sent since
/// it last got one: what arrives sooner than one round-trip time after it was sent cannot be. With a round-trip
/// time of zero this is the number of times that the direction turned from "client sends" to "server sends".
#[derive(Debug)]
pub struct Flights {
    rtt: Duration,
    waiting_since: Option<Instant>,
    count: u64,
}

impl Flights {
    /// A counter for a path with this round-trip time.
    pub fn new(rtt: Duration) -> Self {
        Self { rtt, waiting_since: None, count: 0 }
    }

    /// The client sent something.
    pub fn sent(&mut self, at: Instant) {
        self.waiting_since.get_or_insert(at);
    }

    /// Something arrived at the client. Tells whether it ended a round trip.
    pub fn received(&mut self, at: Instant) -> bool {
        let answers = self.waiting_since.is_some_and(|since| at >= since + self.rtt);
        if answers {
            self.waiting_since = None;
            self.count += 1;
        }
        answers
    }

    /// Round trips so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// Plays `(milliseconds, sent?)` and counts.
    fn count(rtt: Duration, events: &[(u64, bool)]) -> u64 {
        let start = Instant::now();
        let mut flights = Flights::new(rtt);
        for &(at, sent) in events {
            let at = start + Duration::from_millis(at);
            if sent {
                flights.sent(at);
            } else {
                flights.received(at);
            }
        }
        flights.count()
    }

    #[test]
    fn question_and_answer_is_one() {
        assert_eq!(count(RTT, &[(0, true), (100, false)]), 1);
        assert_eq!(count(RTT, &[(0, true), (130, false), (131, true), (240, false)]), 2);
    }

    #[test]
    fn pipelined_questions_are_one() {
        assert_eq!(count(RTT, &[(0, true), (1, true), (100, false), (101, false)]), 1);
    }

    #[test]
    fn a_greeting_is_none() {
        assert_eq!(count(RTT, &[(0, false), (5, false)]), 0);
    }

    #[test]
    fn what_was_on_its_way_already_answers_nothing() {
        assert_eq!(count(RTT, &[(0, true), (40, false), (100, false)]), 1);
    }

    #[test]
    fn a_long_answer_is_one() {
        assert_eq!(count(RTT, &[(0, true), (100, false), (400, false), (900, false)]), 1);
    }

    #[test]
    fn without_latency_every_turn_counts() {
        assert_eq!(count(Duration::ZERO, &[(0, true), (0, false), (0, true), (0, true), (0, false)]), 2);
    }
}
