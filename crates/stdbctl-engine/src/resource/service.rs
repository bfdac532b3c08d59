//! systemd units: enabled, running, and running with what is on disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The unit's name; `.service` may be left out.
    pub name: String,
    /// Whether it starts at boot. Left alone if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it runs. Left alone if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// How a running unit takes up what changed.
    #[serde(default)]
    pub on_change: OnChange,
    /// Ids of the tasks whose result the running unit must have been started, or reloaded, with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
}

/// How a running unit takes up what changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// It is restarted.
    #[default]
    Restart,
    /// It is reloaded: connections stay.
    Reload,
}
