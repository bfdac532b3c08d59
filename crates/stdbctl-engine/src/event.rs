//! What a run tells its readers. The engine emits events and prints nothing; reporters print and decide nothing.
//!
//! `--output json` is these events, one a line. The JSON schema is committed (`docs/events.schema.json`) and a
//! test keeps it true. New events may be added; a reader that does not know one reads [`EventKind::Unknown`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::Stats;
use crate::plan::HostPlan;

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When it happened, UTC, RFC 3339.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. Exactly one event of a run is [`EventKind::RunFinished`], and it is the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The first event: which verb is run on which hosts.
    RunStarted {
        /// The verb, as typed: `deploy`, `plan`.
        verb: String,
        /// Every host of the run, in order.
        hosts: Vec<String>,
    },
    /// A host answered and was observed.
    HostObserved {
        /// The host.
        host: String,
    },
    /// What would be changed on all hosts that could be observed. Nothing has been changed when it is sent.
    Planned {
        /// One plan a host.
        plans: Vec<HostPlan>,
    },
    /// A change has begun on a host.
    TaskStarted {
        /// The host.
        host: String,
        /// The task's id.
        task: String,
    },
    /// A task has ended.
    TaskFinished {
        /// The host.
        host: String,
        /// The task's id.
        task: String,
        /// How.
        outcome: Outcome,
        /// How long it took.
        seconds: f64,
    },
    /// Bytes of a payload have been sent.
    Uploaded {
        /// The host.
        host: String,
        /// The task the payload belongs to.
        task: String,
        /// Sent so far.
        bytes: u64,
        /// Of so many.
        total: u64,
    },
    /// Nothing more will be done on this host, because of this.
    HostFailed {
        /// The host.
        host: String,
        /// The cause, in the host's own words where it has any.
        cause: String,
        /// What the operator can try.
        hints: Vec<String>,
    },
    /// The connection to a host was lost. It is made anew, once.
    ConnectionLost {
        /// The host.
        host: String,
        /// What is known about it.
        cause: String,
    },
    /// The connection to a host was made anew. Nothing is repeated before the host has been observed again.
    Reconnected {
        /// The host.
        host: String,
    },
    /// A host cannot be changed yet: a run whose connection is lost is in its last step there. It is waited for.
    Waiting {
        /// The host.
        host: String,
        /// The run that is waited for, as it is written down on the host: whose it is, and since when.
        run: String,
    },
    /// Something the operator should know that does not stop the run.
    Warning {
        /// The host.
        host: String,
        /// One sentence.
        message: String,
    },
    /// The last event of a run.
    RunFinished {
        /// Whether all that was asked has been done on all hosts.
        ok: bool,
        /// Counts a host.
        hosts: BTreeMap<String, Counts>,
        /// What the run cost.
        stats: RunStats,
    },
    /// An event of a newer stdbctl.
    #[serde(other)]
    Unknown,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was as it should be already.
    Unchanged,
    /// It was changed, and observed to be right afterwards.
    Changed,
    /// It was left out.
    Skipped {
        /// Why.
        why: String,
    },
    /// It failed.
    Failed {
        /// The host's own last words.
        why: String,
    },
}

/// How many tasks of a host ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Changed.
    pub changed: usize,
    /// As they should be already.
    pub unchanged: usize,
    /// Failed.
    pub failed: usize,
    /// Left out.
    pub skipped: usize,
}

/// What a run cost, over all hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunStats {
    /// Round trips of the host that needed most of them.
    pub round_trips: u64,
    /// Bytes sent to all hosts.
    pub bytes_sent: u64,
    /// Bytes received from all hosts.
    pub bytes_received: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl RunStats {
    /// Adds one host's figures.
    pub fn add(&mut self, host: Stats) {
        self.round_trips = self.round_trips.max(host.round_trips);
        self.bytes_sent += host.bytes_sent;
        self.bytes_received += host.bytes_received;
    }
}

/// Where events go. A reader that went away does not stop the run.
#[derive(Debug, Clone)]
pub struct Sender(tokio::sync::mpsc::UnboundedSender<Event>);

impl Sender {
    /// A sender and the readers' end.
    pub fn channel() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Sends an event, stamped with the time.
    pub fn send(&self, kind: EventKind) {
        let event = Event { time: jiff::Timestamp::now().to_string(), kind };
        // Nobody listening is not the engine's concern.
        drop(self.0.send(event));
    }
}
