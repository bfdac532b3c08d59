//! Symbolic links.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A symbolic link that must be there and lead to `target`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// Absolute path of the link itself.
    pub path: String,
    /// Where it leads, as written into the link: relative to its directory or absolute.
    pub target: String,
}
