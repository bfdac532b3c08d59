//! The firewall, through ufw. The SSH port in use is always allowed first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// ufw must be active, let these in, and drop what else comes in. Rules of others are left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// Ports, as ufw writes them: `80/tcp`.
    pub allow: Vec<String>,
}
