//! Certificates from an ACME CA, through certbot's webroot plugin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A certificate that must be there, for these names, from this CA, valid for another week at least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The names; the first is also the name of the lineage below `/etc/letsencrypt/live`.
    pub domains: Vec<String>,
    /// Where the CA writes about trouble. Without one the account is registered without an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The ACME directory's URL; Let's Encrypt if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The directory from which the web server answers `/.well-known/acme-challenge/`.
    pub webroot: String,
    /// A path on the host to the CA that signs the ACME server's own HTTPS, if it is not a public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}
