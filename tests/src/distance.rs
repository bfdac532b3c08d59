//! A host as it is from afar, where each time that somebody waits for it shows.

use std::time::Duration;

use crate::lab::LabHost;
use crate::operator::{Operator, Run};
use crate::proxy::Proxy;

/// So far that what a host says unasked is told from an answer, even on a busy machine.
const RTT: Duration = Duration::from_millis(200);

/// The way to a host behind a delay.
pub struct Distance {
    proxy: Proxy,
    reach: Vec<String>,
}

impl Distance {
    /// Puts a delay in front of a host. What leads through it is kept in the operator's home.
    ///
    /// # Panics
    /// When the proxy cannot listen, or the files cannot be written.
    pub fn to(host: &LabHost, operator: &Operator) -> Self {
        Self::of(RTT, host, operator)
    }

    /// The same with this round-trip time.
    ///
    /// # Panics
    /// As [`Distance::to`].
    pub fn of(rtt: Duration, host: &LabHost, operator: &Operator) -> Self {
        let proxy = Proxy::in_front_of(host.ssh_socket(), rtt).unwrap_or_else(|error| panic!("{error}"));
        let reach = host.reach_through(&proxy, operator.home());
        Self { proxy, reach }
    }

    /// Has somebody run with the flags that reach the host, and counts how often that waited for an answer. Whether
    /// it is what the run itself says is the business of `noop`.
    pub fn round_trips(&self, run: impl FnOnce(&[String]) -> Run) -> (Run, u64) {
        let before = self.proxy.counts().round_trips;
        let run = run(&self.reach);
        (run, self.proxy.counts().round_trips - before)
    }
}
