//! Why a database does not do what it is asked.

use std::collections::BTreeMap;

use stdbctl_engine::failure::Failure;

use crate::schema::SchemaError;
use crate::server::{Answer, Version};

/// Why a database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The host did not do its part.
    #[error(transparent)]
    Host(#[from] Failure),
    /// The server does not answer.
    #[error("SpacetimeDB does not answer: {0}")]
    Down(String),
    /// There is none of this name.
    #[error("there is no database {0}")]
    Unknown(String),
    /// Its owner's token is not where those of the host are.
    #[error("{name} belongs to {owner}, and the token of that identity is not on the host")]
    NoToken {
        /// The database.
        name: String,
        /// Its owner.
        owner: String,
    },
    /// The server refuses, in its own words.
    #[error("{words}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's words.
        words: String,
    },
    /// There is no such reducer.
    #[error("{reducer} cannot be called: {words}")]
    NoReducer {
        /// The one that was asked for.
        reducer: String,
        /// The server's words.
        words: String,
    },
    /// A reducer has failed, in its own words.
    #[error("{reducer} failed: {words}")]
    Reducer {
        /// Which.
        reducer: String,
        /// Its words.
        words: String,
    },
    /// The database is locked against being deleted.
    #[error("{0}")]
    Locked(String),
    /// The server is too old to lock databases.
    #[error("SpacetimeDB {0} cannot lock databases: 2.2.0 is the first that can")]
    CannotLock(Version),
    /// The answer is longer than is handed on, in bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLong(String),
    /// The answer to SQL is not what it should be.
    #[error("the server's answer cannot be read")]
    Sql(#[source] serde_json::Error),
    /// The schema is not what it should be.
    #[error("the server's answer cannot be read")]
    Schema(#[source] SchemaError),
    /// The host has not said what the script should have made it say.
    #[error("the host has not said {0}")]
    Missing(&'static str),
}

impl DatabaseError {
    /// What the operator can try, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Host(failure) => return failure.hints(),
            Self::Down(_) => "`stdbctl plan` shows what is not as it should be on the host",
            Self::Unknown(_) => "`stdbctl db list` shows which databases there are",
            Self::NoToken { .. } | Self::Refused { status: 401, .. } => {
                "`stdbctl identity` on this host shows which tokens there are, and adopts or repairs them"
            }
            Self::NoReducer { .. } => "`stdbctl db describe` shows which reducers there are",
            Self::TooLong(_) => "ask for fewer rows or columns: `limit 1000` at the end of a query does",
            Self::Locked(_) => "`stdbctl db unlock` takes the lock away",
            Self::CannotLock(_) => {
                "`stdbctl db delete` asks for the database's name before it deletes anything"
            }
            Self::Refused { .. }
            | Self::Reducer { .. }
            | Self::Sql(_)
            | Self::Schema(_)
            | Self::Missing(_) => return Vec::new(),
        };
        vec![hint.to_owned()]
    }

    /// What an answer that is no success says.
    pub(super) fn of(answer: &Answer) -> Self {
        let words = words(answer);
        if answer.status == 0 { Self::Down(words) } else { Self::Refused { status: answer.status, words } }
    }
}

/// What the server says when it refuses: some of its answers are a sentence inside of JSON.
pub(super) fn words(answer: &Answer) -> String {
    let body = answer.body.trim();
    let inner = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(body).ok().and_then(|object| {
        let (kind, value) = object.into_iter().next()?;
        Some(value.as_str().map_or_else(|| format!("{kind}: {value}"), str::to_owned))
    });
    match (inner, body) {
        (Some(words), _) => words,
        (None, "") => format!("the server answers {} without a word", answer.status),
        (None, body) => body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_the_servers_words() {
        let told =
            |status, body: &str| DatabaseError::of(&Answer { status, body: body.to_owned() }).to_string();
        assert_eq!(told(400, "{\"OtherError\":\"Cannot rename to snap.\"}"), "Cannot rename to snap.");
        assert_eq!(
            told(401, "{\"PermissionDenied\":{\"name\":\"x\"}}"),
            "PermissionDenied: {\"name\":\"x\"}"
        );
        assert_eq!(told(404, ""), "the server answers 404 without a word");
        assert_eq!(told(0, "curl: (7) refused"), "SpacetimeDB does not answer: curl: (7) refused");
    }
}
