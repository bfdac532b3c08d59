//! What a server should be like. Each setting is documented here and nowhere else: the JSON schema, `stdbctl
//! settings` and the table in the README are made from these comments.

mod layer;
mod reference;
mod rules;

use std::net::SocketAddrV4;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use layer::{Layer, SettingsError, merge};
pub(crate) use layer::{flatten, unflatten};
pub use reference::{SettingRow, reference, reference_markdown, schema};

/// All settings of one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The name the server is reached by. Without one it is served over plain HTTP to whatever name it is asked
    /// for, as on a private network.
    pub domain: Option<String>,
    /// How HTTPS is served.
    pub tls: Tls,
    /// Which SpacetimeDB runs, and where.
    pub spacetimedb: Spacetimedb,
    /// What the world may reach through nginx.
    pub public: Public,
    /// The firewall.
    pub firewall: Firewall,
}

/// How HTTPS is served.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Where the certificate comes from: `acme` gets and renews one with certbot, `files` uploads the one you
    /// have, `off` serves plain HTTP. Without a `domain` it is always `off`.
    pub mode: TlsMode,
    /// Where the CA writes about trouble with the certificate. May be left out.
    pub email: Option<String>,
    /// The directory URL of the ACME CA. Let's Encrypt if not given.
    pub acme_directory: Option<String>,
    /// A local PEM file with the CA that signs the ACME server's own HTTPS, if it is not a public one.
    pub acme_ca: Option<String>,
    /// With `tls.mode: files`, the local PEM file with the certificate and its chain.
    pub certificate: Option<String>,
    /// With `tls.mode: files`, the local PEM file with the private key.
    pub key: Option<String>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// certbot gets and renews it.
    #[default]
    Acme,
    /// It is uploaded.
    Files,
    /// There is none: plain HTTP.
    Off,
}

/// Which SpacetimeDB runs, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spacetimedb {
    /// The release to run. Pinned: a newer one is only installed when you say so.
    pub version: String,
    /// Where the release comes from: `release` is the project's release page, `mirror` a server laid out like it,
    /// `archive` a file on your machine, sent over SSH to a host that needs no internet.
    pub source: Source,
    /// With `spacetimedb.source: mirror`, the URL before `/releases/download/`.
    pub mirror: Option<String>,
    /// With `spacetimedb.source: archive`, the local `.tar.gz` of the release.
    pub archive: Option<String>,
    /// The sha256 the release archive must have. Without one, what comes the first time is recorded and held to
    /// afterwards.
    pub sha256: Option<String>,
    /// The directory on the host that holds releases, configuration, keys and data.
    pub root_dir: String,
    /// The IPv4 address and port SpacetimeDB listens on. nginx is what the world talks to.
    pub listen: SocketAddrV4,
}

/// Where the release comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The project's release page.
    #[default]
    Release,
    /// A server laid out like it.
    Mirror,
    /// A local file.
    Archive,
}

impl Default for Spacetimedb {
    fn default() -> Self {
        Self {
            version: "2.8.3".to_owned(),
            source: Source::Release,
            mirror: None,
            archive: None,
            sha256: None,
            root_dir: "/stdb".to_owned(),
            listen: SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 3000),
        }
    }
}

/// What the world may reach through nginx. `/v1/ping` always answers; everything not opened here answers 403.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Public {
    /// Clients may connect: the WebSocket at `/v1/database/<name>/subscribe`.
    pub subscribe: bool,
    /// Clients may get an identity: `/v1/identity`, its WebSocket token and the server's public key.
    pub identity: bool,
    /// Reducers may be called over HTTP.
    pub call: bool,
    /// Public tables may be queried with SQL over HTTP.
    pub sql: bool,
    /// Anyone may create databases, and their owners update them, over HTTP. For development only.
    pub publish: bool,
    /// Whether nginx listens on IPv6 too. `false` is for a host whose kernel has none.
    pub ipv6: bool,
}

impl Default for Public {
    fn default() -> Self {
        Self { subscribe: true, identity: true, call: false, sql: false, publish: false, ipv6: true }
    }
}

/// The firewall.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Firewall {
    /// Whether ufw is turned on, letting in SSH, HTTP and HTTPS only. `false` leaves the host's firewall alone.
    pub enable: bool,
}

impl Default for Firewall {
    fn default() -> Self {
        Self { enable: true }
    }
}

impl Settings {
    /// Whether the server answers HTTPS.
    pub fn https(&self) -> bool {
        self.domain.is_some() && self.tls.mode != TlsMode::Off
    }

    /// Whether certbot gets the certificate.
    pub fn acme(&self) -> bool {
        self.domain.is_some() && self.tls.mode == TlsMode::Acme
    }
}
