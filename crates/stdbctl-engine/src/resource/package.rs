//! Packages of the distribution, through apt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Packages that must be installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Their names. One task for all: apt takes one lock and resolves once.
    pub names: Vec<String>,
}
