//! Files: written whole, atomically, with what was there kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that must be there with this content, owner and mode. Exactly one of `content`, `template` and `source`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute path on the host.
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
    /// The content itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The name of a template: the playbook's loader renders it into `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A path on the operator's machine, streamed. `~` is not expanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether the content is secret: no diff of it is ever shown.
    #[serde(default)]
    pub secret: bool,
    /// A command that must succeed with the new file in place, else the old one is put back: `nginx -t`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
}

fn default_mode() -> String {
    "0644".to_owned()
}

/// A path that must not be there. What is removed is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// Absolute path of a file or symbolic link.
    pub path: String,
    /// The package that brings it when it is installed anew, so that the plan of a fresh host shows the removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipped_by: Option<String>,
}
