//! Accounts: users and groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A user that must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The login name.
    pub name: String,
    /// Whether it is created as a system account. Says nothing about one that is there.
    #[serde(default)]
    pub system: bool,
    /// The primary group.
    pub group: String,
    /// The home directory. It is not created.
    pub home: String,
    /// The login shell.
    pub shell: String,
}

/// A group that must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether it is created as a system group.
    #[serde(default)]
    pub system: bool,
}
