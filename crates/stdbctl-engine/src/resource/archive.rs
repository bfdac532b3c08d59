//! Unpacked release archives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A directory that holds the members of a `.tar.gz`, byte for byte. Exactly one of `url` and `file`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Absolute path of the directory. It belongs to this resource alone.
    pub path: String,
    /// Where the host itself fetches the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A path on the operator's machine, streamed over the connection: the host needs no internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The archive's sha256 in hex. Without one, what comes the first time is recorded and held to afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The files the archive must hold at its top level. Nothing else is unpacked.
    pub members: Vec<String>,
}
