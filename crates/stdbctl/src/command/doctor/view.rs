//! What was seen on one leg.

use std::time::Duration;

use stdbctl_ssh::{Answer, ConnectError, ConnectOptions, Observation, Route, Stats, Trusted};

use crate::report::doctor::{Algorithms, Answered, HostKey, Verdict};

/// Something that happened on one of the legs.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// How many legs lie behind this one.
    pub(super) distance: usize,
    /// Since whatever was seen before it, on any leg; pauses between two tries left out.
    pub(super) took: Duration,
    pub(super) what: Observation,
}

/// One leg, as far as it was seen.
pub(super) struct View<'v> {
    pub(super) options: &'v ConnectOptions,
    pub(super) seen: Vec<&'v Seen>,
    /// How often the server was too busy, what it looked like, and how long nothing was done then.
    pub(super) turned_away: Vec<(&'v str, Duration)>,
    /// Why it ended here.
    pub(super) error: Option<&'v ConnectError>,
}

impl<'v> View<'v> {
    pub(super) fn new(
        options: &'v ConnectOptions,
        all: &'v [Seen],
        distance: usize,
        error: Option<&'v ConnectError>,
    ) -> Self {
        let (mut seen, mut turned_away) = (Vec::new(), Vec::new());
        for one in all.iter().filter(|seen| seen.distance == distance) {
            if let Observation::TurnedAway { why, pause } = &one.what {
                turned_away.push((why.as_str(), *pause));
                // What comes is a new beginning; the keys are the same.
                seen.retain(|seen: &&Seen| matches!(seen.what, Observation::Identities { .. }));
            } else {
                seen.push(one);
            }
        }
        Self { options, seen, turned_away, error }
    }

    /// The first thing of a kind that was seen, and how long it took.
    fn find<T>(&self, pick: impl Fn(&'v Observation) -> Option<T>) -> Option<(T, Duration)> {
        self.seen.iter().find_map(|seen| Some((pick(&seen.what)?, seen.took)))
    }

    /// The keys that were to be offered, and those that were left out, with why.
    pub(super) fn identities(&self) -> Option<(&'v [String], &'v [String])> {
        let found = self.find(|what| match what {
            Observation::Identities { offered, skipped } => Some((offered.as_slice(), skipped.as_slice())),
            _ => None,
        });
        found.map(|(identities, _)| identities)
    }

    /// What the login has cost.
    pub(super) fn logged_in(&self) -> Option<Stats> {
        let found = self.find(|what| match what {
            Observation::LoggedIn { stats } => Some(*stats),
            _ => None,
        });
        found.map(|(stats, _)| stats)
    }

    pub(super) fn addresses(&self) -> Option<(Vec<String>, Duration)> {
        self.find(|what| match what {
            Observation::Resolved { addresses } => {
                Some(addresses.iter().map(|address| address.ip().to_string()).collect())
            }
            _ => None,
        })
    }

    pub(super) fn connected(&self) -> Option<(String, Duration)> {
        self.find(|what| match (what, &self.options.route) {
            (Observation::Connected { address: Some(address) }, _) => Some(address.to_string()),
            (Observation::Connected { .. }, Route::Through(hop)) => {
                Some(format!("{} has connected to it", hop.target.host))
            }
            (Observation::Connected { .. }, _) => Some("it was started".to_owned()),
            _ => None,
        })
    }

    pub(super) fn server(&self) -> Option<(String, Duration)> {
        self.find(|what| match what {
            Observation::Identified { words } => Some(words.clone()),
            _ => None,
        })
    }

    pub(super) fn algorithms(&self) -> Option<Algorithms> {
        let agreed = self.find(|what| match what {
            Observation::Agreed(agreed) => Some(agreed),
            _ => None,
        });
        let (agreed, _) = agreed?;
        Some(Algorithms {
            key_exchange: agreed.key_exchange.clone(),
            post_quantum: agreed.is_post_quantum(),
            strict: agreed.strict,
            host_key: agreed.host_key.clone(),
            cipher: agreed.cipher.clone(),
            mac_sent: agreed.sent.mac.clone(),
            mac_received: agreed.received.mac.clone(),
            compression_sent: agreed.sent.compression.clone(),
            compression_received: agreed.received.compression.clone(),
        })
    }

    pub(super) fn host_key(&self) -> Option<HostKey> {
        let recognised = self.find(|what| match what {
            Observation::Recognised(recognised) => Some(recognised),
            _ => None,
        });
        let (recognised, _) = recognised?;
        let (trusted, authority, file, line) = match &recognised.trusted {
            Trusted::Recorded { file, line } => ("recorded", None, Some(file), Some(*line)),
            Trusted::Vouched { authority, file, line } => {
                ("vouched", Some(authority.clone()), Some(file), Some(*line))
            }
            Trusted::Accepted { file } => ("accepted", None, file.as_ref(), None),
            _ => ("otherwise", None, None, None),
        };
        Some(HostKey {
            key_type: recognised.key_type.clone(),
            fingerprint: recognised.fingerprint.clone(),
            certificate: recognised.by_certificate,
            trusted,
            authority,
            file: file.map(|file| file.display().to_string()),
            line,
        })
    }

    pub(super) fn answers(&self) -> Vec<Answered> {
        let answered = self.seen.iter().filter_map(|seen| {
            let Observation::Answered { identity, answer } = &seen.what else { return None };
            let (answer, methods, why) = match answer {
                Answer::Taken => (Verdict::Taken, Vec::new(), None),
                Answer::Refused { methods, partial: false } => (Verdict::Refused, methods.clone(), None),
                Answer::Refused { methods, partial: true } => (Verdict::Partial, methods.clone(), None),
                Answer::NotOffered(why) => (Verdict::NotOffered, Vec::new(), Some(why.clone())),
                Answer::Unsigned(why) => (Verdict::Unsigned, Vec::new(), Some(why.clone())),
                Answer::HungUp => (Verdict::HungUp, Vec::new(), None),
                _ => (Verdict::Other, Vec::new(), None),
            };
            Some(Answered { identity: identity.clone(), answer, methods, why })
        });
        answered.collect()
    }
}
