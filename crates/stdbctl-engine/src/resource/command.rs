//! Commands, for what no other kind covers. One that cannot say when it has nothing to do is refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command that is run unless what it brings about is there. Exactly one of `unless` and `creates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// A line for sh, run as root.
    pub run: String,
    /// A read-only line for sh that succeeds when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
    /// An absolute path that is there when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
}
