//! Why a host is not as it should be, and what the operator can try.

use crate::host::HostError;

/// Why a host is not as it should be. One reason: the first that stopped it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It could not be reached. `source` is the transport's own error.
    #[error("{0}")]
    Connect(#[source] HostError),
    /// It could be reached, and did not become root. `source` has the reason, a [`crate::root::RootError`]. Nothing was
    /// changed.
    #[error("{0}")]
    Root(#[source] HostError),
    /// The host does not meet what the playbook requires. Nothing was changed.
    #[error("{}", .0.join("; "))]
    Requirements(Vec<String>),
    /// Another run holds the host's lock. Nothing was changed.
    #[error("another run holds this host: {0}")]
    Locked(String),
    /// The host is not as it was when the plan was made. Nothing was changed.
    #[error("the host has changed since the plan was made")]
    Stale,
    /// The connection was lost during the changes and made anew, and what is left to do is not what was approved:
    /// the titles of what is not.
    #[error("what is left to do after the lost connection was not in the plan: {}", .0.join(", "))]
    Unapproved(Vec<String>),
    /// The connection was lost during the changes and made anew, and this kept the rest from being made.
    #[error("{0}")]
    AfterLoss(#[source] Box<Failure>),
    /// A task failed, in the host's own words.
    #[error("{title}: {}", last_line(why))]
    Task {
        /// The task's id.
        task: String,
        /// The task's title.
        title: String,
        /// The host's last words.
        why: String,
    },
    /// All tasks were done, and observation would still change something.
    #[error("still not as it should be after the change: {}", .0.join(", "))]
    NotConverged(Vec<String>),
    /// The host has no room for what must be written, or cannot be written to. Nothing was changed.
    #[error("{0}")]
    Storage(String),
    /// The connection was lost, not for the first time if it could be made anew; whatever had begun runs to its end
    /// on the host.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The connection was lost and could not be made anew; whatever had begun runs to its end on the host.
    #[error("the connection was lost: {lost}; connecting again failed")]
    NotReconnected {
        /// Why it was lost.
        lost: String,
        /// Why there is no new one: the transport's own error.
        source: HostError,
    },
    /// The connection was lost and made anew, and the new one leads to another machine.
    #[error("the connection was lost, and the new one leads to another machine; nothing was changed there")]
    Elsewhere,
    /// The connection was lost while the host was only looked at, and there is no other.
    #[error("{0}")]
    Looking(#[source] Box<Failure>),
    /// The connection was lost while the host did something that is not repeated: nobody knows whether it was done.
    #[error("the connection was lost: {0}; whether the host has done it is not known")]
    Unknown(String),
    /// The connection stands, and the host has said nothing for so long that it was given up.
    #[error("{0}")]
    Silent(String),
    /// The host was not given the script, or not all that the script reads.
    #[error("{0}")]
    NotRun(#[source] HostError),
    /// The host answered something that is not an answer.
    #[error("the host's answer could not be read: {0}")]
    Protocol(String),
}

/// What is true of every script that was cut off.
const GOES_ON: &str =
    "a step that had begun runs to its end on the host; run again: the run goes on from there";

/// What leads to one of several machines, and what to do about it.
const ONE_OF_SEVERAL: &str = "several machines answer to that name: give the address of the one that is meant, \
     with --host, or as HostName in ~/.ssh/config";

/// What is true of every script that only looks.
const ONLY_LOOKED: &str = "nothing was changed; run it again";

/// The words in full come with the task's end; the last of them is nearest to the cause.
fn last_line(words: &str) -> &str {
    words.trim().lines().last().unwrap_or_default().trim()
}

impl Failure {
    /// The failure and what is behind it, in one line.
    pub fn cause(&self) -> String {
        match self {
            Self::Connect(error) | Self::Root(error) | Self::NotRun(error) => error.chain(),
            Self::AfterLoss(failure) | Self::Looking(failure) => failure.cause(),
            Self::NotReconnected { source, .. } => format!("{self}: {}", source.chain()),
            other => other.to_string(),
        }
    }

    /// What the operator can try, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        let step = match self {
            Self::Connect(error) | Self::Root(error) => return error.hints.clone(),
            Self::NotReconnected { source, .. } => {
                return source.hints.iter().cloned().chain([GOES_ON.to_owned()]).collect();
            }
            Self::Looking(failure) => {
                let known = match &**failure {
                    Self::NotReconnected { source, .. } => source.hints.clone(),
                    _ => Vec::new(),
                };
                return known.into_iter().chain([ONLY_LOOKED.to_owned()]).collect();
            }
            Self::Elsewhere => return vec![ONE_OF_SEVERAL.to_owned(), GOES_ON.to_owned()],
            Self::AfterLoss(failure) => {
                return vec![format!("what was done stays done; {}", failure.next_step())];
            }
            failure if failure.changed_nothing() => format!("nothing was changed; {}", failure.next_step()),
            failure => failure.next_step().to_owned(),
        };
        vec![step]
    }

    /// The same, of a run whose connection was lost after it had begun with its changes.
    #[must_use]
    pub fn after_loss(self) -> Self {
        if self.changed_nothing() { Self::AfterLoss(Box::new(self)) } else { self }
    }

    /// Whether this comes before the first change, if nothing was lost before.
    fn changed_nothing(&self) -> bool {
        matches!(self, Self::Requirements(_) | Self::Locked(_) | Self::Stale | Self::Storage(_))
    }

    fn next_step(&self) -> &'static str {
        match self {
            Self::Requirements(_) | Self::Connect(_) | Self::Root(_) => "run again once this is mended",
            Self::Locked(_) => "run again once that run has ended",
            Self::Stale => "run again: the plan is then made anew",
            Self::Storage(_) => "make room on the host and run again",
            Self::Unapproved(_) => "what was done stays done; run again: the plan is then made anew",
            Self::Task { .. } => {
                "what was done stays done; mend the cause and run again: the run goes on from there"
            }
            Self::NotConverged(_) => "run again; if it stays so, something else on the host changes it back",
            Self::Unknown(_) => {
                "it was not repeated and may still go on there; look whether it was done before you run it again"
            }
            Self::Protocol(_) => "run again with -v; if it stays so, this is a defect of stdbctl",
            Self::Lost(_)
            | Self::NotReconnected { .. }
            | Self::Elsewhere
            | Self::Silent(_)
            | Self::NotRun(_) => GOES_ON,
            Self::Looking(_) => ONLY_LOOKED,
            Self::AfterLoss(failure) => failure.next_step(),
        }
    }
}
