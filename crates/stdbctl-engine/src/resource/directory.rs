//! Directories.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A directory that must be there, with this owner and mode. What is in it is left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Absolute path.
    pub path: String,
    /// Owner's name.
    #[serde(default = "super::root")]
    pub owner: String,
    /// Group's name.
    #[serde(default = "super::root")]
    pub group: String,
    /// Four octal digits.
    #[serde(default = "default_mode")]
    pub mode: String,
}

fn default_mode() -> String {
    "0755".to_owned()
}
