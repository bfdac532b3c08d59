//! The names a playbook and its templates may use: every setting, and what follows from settings.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::settings::{Settings, Source, TlsMode, flatten, unflatten};

/// Where the project publishes its releases.
const RELEASES: &str = "https://github.com/clockworklabs/SpacetimeDB";

/// What follows from the settings, so that a playbook needs no logic.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a name that `when` may use")]
struct Derived {
    /// The server answers HTTPS: there is a domain, and TLS is not off.
    https: bool,
    /// certbot gets the certificate.
    acme: bool,
    /// The certificate is uploaded.
    tls_files: bool,
    /// The ACME server's own HTTPS is signed by a CA that must be uploaded.
    acme_ca: bool,
    /// Where on the host that CA is.
    acme_ca_path: Option<&'static str>,
    /// The port SpacetimeDB listens on.
    port: u16,
    /// The address and port at which the host itself reaches SpacetimeDB.
    loopback: String,
    /// Where the host fetches the release; `{arch}` stands for what `uname -m` says there. Empty for an upload.
    release_url: Option<String>,
    /// The local archive that is uploaded. Empty if the host fetches it.
    release_file: Option<String>,
    /// The directory on the host that holds the certificate.
    certificate_dir: String,
    /// The certificate's path on the host.
    certificate: String,
    /// Its key's path on the host.
    certificate_key: String,
}

impl Derived {
    fn of(settings: &Settings) -> Self {
        let acme = settings.acme();
        let acme_ca = acme && settings.tls.acme_ca.is_some();
        let release = &settings.spacetimedb;
        let directory = match (&settings.domain, settings.tls.mode) {
            (Some(domain), TlsMode::Acme) => format!("/etc/letsencrypt/live/{domain}"),
            _ => "/etc/ssl/spacetimedb".to_owned(),
        };
        let address = match release.listen.ip() {
            ip if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST,
            ip => *ip,
        };
        Self {
            https: settings.https(),
            acme,
            tls_files: settings.https() && !acme,
            acme_ca,
            acme_ca_path: acme_ca.then_some("/etc/ssl/spacetimedb/acme-ca.pem"),
            port: release.listen.port(),
            loopback: format!("{address}:{}", release.listen.port()),
            release_url: release_base(settings).map(|base| {
                let version = &release.version;
                format!("{base}/releases/download/v{version}/spacetime-{{arch}}-unknown-linux-gnu.tar.gz")
            }),
            release_file: release.archive.clone().filter(|_| release.source == Source::Archive),
            certificate: format!("{directory}/fullchain.pem"),
            certificate_key: format!("{directory}/privkey.pem"),
            certificate_dir: directory,
        }
    }
}

fn release_base(settings: &Settings) -> Option<&str> {
    match settings.spacetimedb.source {
        Source::Release => Some(RELEASES),
        Source::Mirror => settings.spacetimedb.mirror.as_deref().map(|mirror| mirror.trim_end_matches('/')),
        Source::Archive => None,
    }
}

/// Every name with its value.
#[derive(Debug)]
pub(crate) struct Values {
    flat: BTreeMap<String, Value>,
}

impl Values {
    pub(crate) fn of(settings: &Settings) -> Self {
        let mut flat = flatten(settings);
        if let Ok(Value::Object(derived)) = serde_json::to_value(Derived::of(settings)) {
            flat.extend(derived);
        }
        Self { flat }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.flat.get(name)
    }

    /// Whether `name` holds: it is true, or set at all if it is not a truth value. None if there is no such name.
    pub(crate) fn holds(&self, name: &str) -> Option<bool> {
        Some(match self.get(name)? {
            Value::Bool(holds) => *holds,
            Value::Null => false,
            _ => true,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.flat.keys().map(String::as_str)
    }

    /// As templates see it: `tls.mode` is `mode` of `tls`.
    pub(crate) fn tree(&self) -> minijinja::Value {
        let tree = unflatten(self.flat.iter().map(|(key, value)| (key.as_str(), value.clone())));
        minijinja::Value::from(minijinja::value::Serde(tree))
    }
}
