//! Why a module is not live, and what the operator can try.

use stdbctl_engine::dialogue::quote;
use stdbctl_engine::failure::Failure;

use super::preview::Consent;
use crate::server::Answer;

/// Why a module is not live.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No database can have this name.
    #[error(
        "`{0}` cannot be a database's name: lower-case letters and digits, words joined by single hyphens"
    )]
    Name(String),
    /// SpacetimeDB does not answer on its host.
    #[error("SpacetimeDB does not answer: {why}")]
    Down {
        /// What systemd or curl says of it.
        why: String,
        /// What the server has logged last.
        log: Vec<String>,
    },
    /// The host went down while data was being moved in place of other data.
    #[error("data was being moved when the host went down, and lies where the server does not look: {aside}")]
    Moving {
        /// Where it belongs.
        replica: String,
        /// Where it is.
        aside: String,
    },
    /// The database is somebody else's, and their token is not there.
    #[error("the database `{database}` belongs to {owner}, whose token stdbctl does not have")]
    Foreign {
        /// The database.
        database: String,
        /// Its owner.
        owner: String,
    },
    /// The owner's token cannot be used, and not be made anew.
    #[error("no token that fits the owner of `{database}`: {why}")]
    Token {
        /// The database.
        database: String,
        /// Why.
        why: String,
    },
    /// There is nothing of that name to go back with.
    #[error("there is no database `{0}` on this host")]
    Unknown(String),
    /// There is no earlier module.
    #[error("`{database}` has no earlier module to go back to")]
    NothingBefore {
        /// The database.
        database: String,
        /// Its modules, with their dates.
        history: Vec<String>,
    },
    /// No module, or more than one, of this database begins so.
    #[error("{} module of `{database}` begins with {to}", if *.ambiguous { "more than one" } else { "no" })]
    NoSuchModule {
        /// The database.
        database: String,
        /// What was asked for.
        to: String,
        /// Whether there are several.
        ambiguous: bool,
        /// The database's modules, with their dates.
        history: Vec<String>,
    },
    /// The module was live once, but is not kept any more.
    #[error("the module {sha256} is not kept on the host any more")]
    Gone {
        /// The module.
        sha256: String,
        /// The database's modules, with their dates.
        history: Vec<String>,
    },
    /// The server cannot migrate the data by itself.
    #[error("this needs a manual migration: {reason}")]
    Manual {
        /// Why.
        reason: String,
        /// What can be done.
        hints: Vec<String>,
    },
    /// Something must be agreed to first.
    #[error("{}: this needs {}", .0.reason(), .0.flag())]
    Consent(Consent),
    /// The server did not take the module.
    #[error("the server refused the module: {words}")]
    Rejected {
        /// The server's own words.
        words: String,
        /// What can be done.
        hints: Vec<String>,
        /// The module's own last lines of log.
        log: Vec<String>,
    },
    /// A step on the host failed before the module was published.
    #[error("{step}: {why}")]
    Step {
        /// The step.
        step: String,
        /// The host's own last words.
        why: String,
        /// What can be done.
        hints: Vec<String>,
    },
    /// The module was live, did not stand its proof, and is not live any more.
    #[error("{why}; {how}")]
    RolledBack {
        /// What did not hold.
        why: String,
        /// How it was undone.
        how: String,
        /// The module's own last lines of log.
        log: Vec<String>,
    },
    /// The module is live, did not stand its proof, and could not be taken back.
    #[error("{why}, and the new module could not be taken back: {how}")]
    Stuck {
        /// What did not hold.
        why: String,
        /// Why it could not be undone.
        how: String,
        /// The module's own last lines of log.
        log: Vec<String>,
    },
    /// The server answered something that no server of these versions answers.
    #[error("the server's answer could not be read: {0}")]
    Answer(String),
    /// The run on the host failed.
    #[error(transparent)]
    Host(#[from] Failure),
}

/// What an error means for an exit code.
#[derive(Debug)]
pub enum Kind<'a> {
    /// Refused or failed; what was live is live.
    Refused,
    /// Rolled back after a failed proof.
    RolledBack,
    /// The host is not as it was when the preview was made.
    Stale,
    /// A failure that the engine has a code for.
    Failed(&'a Failure),
}

impl PublishError {
    /// The server said no to a module.
    pub(super) fn rejected(answer: &Answer) -> Self {
        let hint = match answer.status {
            0 => {
                "`stdbctl db list` shows whether the server is up again; what it had begun may still be done"
            }
            401 | 403 if answer.body.contains("locked") => {
                "nothing was changed; `stdbctl db unlock` lets the data of this database be deleted"
            }
            401 | 403 => "nothing was changed; `stdbctl identity` shows whose token the host has",
            500.. => "nothing was changed; the module failed on the server: mend it and publish again",
            _ => "nothing was changed; mend the module and publish again",
        };
        let words = if answer.status == 0 {
            format!("it broke off: {}", answer.body)
        } else if answer.body.is_empty() {
            format!("status {}", answer.status)
        } else {
            answer.body.clone()
        };
        Self::Rejected { words, hints: vec![hint.to_owned()], log: Vec::new() }
    }

    pub(super) fn with_log(mut self, lines: Vec<String>) -> Self {
        if let Self::Rejected { log, .. } = &mut self {
            *log = lines;
        }
        self
    }

    /// A step on the host failed before the server was given anything.
    pub(super) fn step(step: &str, why: &str) -> Self {
        let hint = match step {
            "snapshot" => {
                "nothing was changed; mend that, or publish without a way back for the data: --no-snapshot"
            }
            "upload" => "nothing was changed; make room on the host and run again",
            "owner" => "nothing was changed; `stdbctl identity` shows the keys and tokens of the host",
            "publish" => "`stdbctl db list` shows what is live now",
            _ => "nothing was changed; run again",
        };
        let step = match step {
            "publish" => "going back to the snapshot",
            "look" => "looking at what is live",
            "owner" => "the owner's token",
            other => other,
        };
        Self::Step { step: step.to_owned(), why: why.to_owned(), hints: vec![hint.to_owned()] }
    }

    /// What it means for an exit code.
    pub fn kind(&self) -> Kind<'_> {
        match self {
            Self::RolledBack { .. } => Kind::RolledBack,
            Self::Host(Failure::Stale) => Kind::Stale,
            Self::Host(failure) => Kind::Failed(failure),
            _ => Kind::Refused,
        }
    }

    /// Lines of log that show the cause, oldest first.
    pub fn log(&self) -> &[String] {
        match self {
            Self::Down { log, .. }
            | Self::Rejected { log, .. }
            | Self::RolledBack { log, .. }
            | Self::Stuck { log, .. } => log,
            _ => &[],
        }
    }

    /// What the operator can try, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Name(_) => vec!["nothing was changed; choose another name with --name".to_owned()],
            Self::Down { .. } => vec![
                "nothing was changed; `stdbctl deploy` starts a server that is down, `systemctl restart spacetimedb` \
                 on the host one that hangs, `systemctl status spacetimedb` shows which it is"
                    .to_owned(),
            ],
            Self::Moving { replica, aside } => {
                let (replica, stray) = (quote(replica), quote(&format!("{aside}.stray")));
                vec![format!(
                    "nothing was changed; as root on the host: `systemctl stop spacetimedb; [ ! -e {replica} ] || \
                     mv -T {replica} {stray}; mv -T {} {replica}; systemctl start spacetimedb`, then run again",
                    quote(aside)
                )]
            }
            Self::Foreign { .. } | Self::Token { .. } => vec![
                "nothing was changed; `stdbctl identity` shows the tokens of the host, and adopts or repairs what \
                 it can"
                    .to_owned(),
            ],
            Self::Unknown(_) => vec!["nothing was changed; `stdbctl db list` shows what there is".to_owned()],
            Self::NothingBefore { history, .. }
            | Self::NoSuchModule { history, .. }
            | Self::Gone { history, .. } => listed(history),
            Self::Manual { hints, .. } | Self::Rejected { hints, .. } | Self::Step { hints, .. } => hints.clone(),
            Self::Consent(consent) => vec![format!(
                "nothing was changed; if that is meant, run again with {}",
                consent.flag()
            )],
            Self::RolledBack { .. } => {
                vec!["the log above is the module's own; mend the cause and publish again".to_owned()]
            }
            Self::Stuck { .. } => vec![
                "`stdbctl db list` shows what is live now; publish a module that works, or go back with `--rollback`, \
                 with --restore-data also to the data of before"
                    .to_owned(),
            ],
            Self::Answer(_) => {
                vec!["run again with -v; if it stays so, this is a defect of stdbctl".to_owned()]
            }
            Self::Host(failure) => failure.hints(),
        }
    }
}

fn listed(history: &[String]) -> Vec<String> {
    if history.is_empty() {
        return vec!["nothing was changed; this host has no record of modules of this database".to_owned()];
    }
    vec![format!("nothing was changed; what there is: {}", history.join("; "))]
}
