//! What the operator asks for.

use std::sync::Arc;

use crate::module::Module;

use super::error::PublishError;

/// What is to be live under which name, and what may be lost for it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Wish {
    /// The database's name.
    pub name: String,
    /// What is to be live.
    pub what: What,
    /// Whether clients that are out there may stop working.
    pub break_clients: bool,
    /// Whether the database's rows may be deleted, if there is no other way.
    pub delete_data: bool,
    /// With [`What::Rollback`]: whether rows that came after the snapshot may be lost, if there is no other way.
    pub restore_data: bool,
    /// Whether a snapshot is taken of data that the server is going to migrate or delete.
    pub snapshot: bool,
    /// Whether what is planned has been agreed to beforehand. Only then is a lost token made anew for the preview.
    pub approved: bool,
    /// What must hold afterwards, beyond what always must.
    pub checks: Checks,
}

/// What is to be live.
#[derive(Debug, Clone)]
pub enum What {
    /// This module.
    Module(Arc<Module>),
    /// A module that has been live before.
    Rollback {
        /// Its sha256 or the unique beginning of it. Without one, the module before the one that is live.
        to: Option<String>,
    },
}

/// What must hold of a database for a publish to count.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// A reducer without parameters that must succeed.
    pub reducer: Option<String>,
    /// A query that must be answered.
    pub sql: Option<SqlCheck>,
}

/// A query that must be answered.
#[derive(Debug, Clone)]
pub struct SqlCheck {
    /// The query, one statement.
    pub query: String,
    /// What it must answer: a single value, or rows in JSON (`[[1,"ada"]]`).
    pub expect: Option<String>,
}

impl Wish {
    /// The module that comes from the operator, if it is not one that is on the host already.
    pub fn module(&self) -> Option<&Module> {
        match &self.what {
            What::Module(module) => Some(module),
            What::Rollback { .. } => None,
        }
    }
}

/// Whether a database can have this name: lower-case letters and digits, parts joined by single hyphens.
///
/// # Errors
/// With the rule, if it cannot.
pub fn check_name(name: &str) -> Result<(), PublishError> {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.split('-').all(is_part) { Ok(()) } else { Err(PublishError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_the_server_takes() {
        for name in ["game", "my-game", "a", "7", "game-2-beta"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in
            ["", "-", "Game", "my_game", "my--game", "-game", "game-", "spiel\u{e4}", "a b", "a/b", "a'b"]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
