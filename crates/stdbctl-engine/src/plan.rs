//! What would be changed on a host, as data. `plan --output json` prints it, `deploy` carries it out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that would be done on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostPlan {
    /// The host.
    pub host: String,
    /// The changes, in an order that keeps every `needs`.
    pub changes: Vec<PlannedChange>,
    /// Tasks that are as they should be already.
    pub unchanged: usize,
    /// Tasks that were left out, and why.
    pub skipped: Vec<SkippedTask>,
}

/// One task that would change something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedChange {
    /// The task's id.
    pub task: String,
    /// The task's title.
    pub title: String,
    /// What is done to the resource.
    pub action: Action,
    /// What is done, one line a fact: `mode 0755 -> 0750`, `install nginx`.
    pub details: Vec<String>,
    /// Whether the effect is known exactly. apt and certbot are not: their details are an estimate.
    pub exact: bool,
    /// Unified diffs of the files that change.
    pub diffs: Vec<FileDiff>,
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is not there and will be.
    Create,
    /// It is there and will be different.
    Update,
    /// It is there and will not be.
    Remove,
    /// A service is started, restarted or reloaded, or a command is run.
    Run,
    /// Nothing is changed; the run waits until something holds.
    Wait,
}

/// The difference a change makes to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileDiff {
    /// The path on the host.
    pub path: String,
    /// A unified diff with three lines of context, or one line that says why there is none.
    pub diff: String,
}

/// A task that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SkippedTask {
    /// The task's id.
    pub task: String,
    /// Why: the setting its `when` names.
    pub why: String,
}
