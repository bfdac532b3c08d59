//! Conditions a host must meet before anything on it is changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Conditions, each optional. Looked at only when there is something to change, and before the first change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// One of these distributions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distributions: Vec<Distribution>,
    /// One of these machine types, as `uname -m` says them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Free space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// Memory of the machine, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Largest difference between the host's clock and the operator's, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<u64>,
    /// A name that must resolve to this host: to the address it was reached at, or to one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolves_here: Option<String>,
    /// TCP ports that only these programs may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports_free: Vec<PortFree>,
}

/// A distribution and its versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// `ID` of os-release(5).
    pub id: String,
    /// The lowest `VERSION_ID`.
    pub at_least: String,
}

/// Free space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// A path; the nearest directory above it that is there counts.
    pub path: String,
    /// MiB that must be free.
    pub free_mb: u64,
}

/// A TCP port and the program that may listen on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortFree {
    /// The port.
    pub port: u16,
    /// The program's name, as the kernel has it (15 characters).
    pub to: String,
}
