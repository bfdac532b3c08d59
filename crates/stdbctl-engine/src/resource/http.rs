//! Addresses that must answer, asked from the host itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address that must answer with this status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The URL.
    pub url: String,
    /// The status.
    #[serde(default = "default_status")]
    pub status: u16,
    /// Seconds to wait for it after something it needs was changed.
    #[serde(default = "default_within")]
    pub within_seconds: u32,
}

fn default_status() -> u16 {
    200
}

fn default_within() -> u32 {
    30
}
