//! Files of the operator's own that settings name and that go to the host: looked at before any host is.

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

use crate::local_path;
use crate::settings::{Settings, TlsMode};

/// Why a file cannot go to a host.
#[derive(Debug, thiserror::Error)]
pub enum LocalFileError {
    /// It is not there, or may not be read.
    #[error("setting `{key}`: cannot read {path}")]
    Unreadable {
        /// The setting.
        key: &'static str,
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It does not hold what the setting promises.
    #[error("setting `{key}`: {path} holds no {what} in PEM")]
    Content {
        /// The setting.
        key: &'static str,
        /// The file.
        path: String,
        /// What it should hold.
        what: &'static str,
    },
    /// The key belongs to another certificate: nginx would not start with the two.
    #[error("setting `tls.key`: {key} is not the key of the first certificate in {certificate}")]
    OtherKey {
        /// The file with the certificate.
        certificate: String,
        /// The file with the key.
        key: String,
    },
}

impl LocalFileError {
    /// What to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { path, source, .. } => Some(local_path::hint(path.as_ref(), source)),
            Self::Content { .. } | Self::OtherKey { .. } => None,
        }
    }
}

/// Looks at each file that every deployment with these settings reads.
///
/// # Errors
/// If one cannot be read, or is not what it should be.
pub fn check(settings: &Settings) -> Result<(), LocalFileError> {
    let tls = &settings.tls;
    if settings.acme()
        && let Some(ca) = &tls.acme_ca
    {
        certificates("tls.acme_ca", ca)?;
    }
    if settings.https()
        && tls.mode == TlsMode::Files
        && let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key)
    {
        check_pair(certificate, key)?;
    }
    Ok(())
}

fn check_pair(certificate: &str, key: &str) -> Result<(), LocalFileError> {
    let chain = certificates("tls.certificate", certificate)?;
    let pem = read("tls.key", key)?;
    let parsed = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| LocalFileError::Content {
        key: "tls.key",
        path: key.to_owned(),
        what: "private key without a password",
    })?;
    // nginx takes kinds of keys that are not known here: only two that contradict each other are refused.
    match CertifiedKey::from_der(chain, parsed, &default_provider()) {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(LocalFileError::OtherKey { certificate: certificate.to_owned(), key: key.to_owned() })
        }
        _ => Ok(()),
    }
}

fn certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, LocalFileError> {
    let pem = read(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| LocalFileError::Content {
        key,
        path: path.to_owned(),
        what: "certificate",
    })
}

fn read(key: &'static str, path: &str) -> Result<Vec<u8>, LocalFileError> {
    std::fs::read(path).map_err(|source| LocalFileError::Unreadable { key, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Tls;

    fn fixture(name: &str) -> String {
        format!("{}/src/verify/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn told(tls: Tls) -> Result<(), String> {
        let settings = Settings { domain: Some("db.example.com".to_owned()), tls, ..Settings::default() };
        let folder = fixture("");
        check(&settings).map_err(|error| error.to_string().replace(&folder, ""))
    }

    #[test]
    fn a_certificate_and_its_key_are_looked_at_together() {
        let files = |certificate, key| {
            let (certificate, key) = (Some(fixture(certificate)), Some(fixture(key)));
            told(Tls { mode: TlsMode::Files, certificate, key, ..Tls::default() })
        };
        assert_eq!(files("db.example.com.pem", "db.example.com.key"), Ok(()));
        for (certificate, key, problem) in [
            ("none.pem", "db.example.com.key", "`tls.certificate`: cannot read none.pem"),
            ("db.example.com.pem", "none.key", "`tls.key`: cannot read none.key"),
            ("db.example.com.key", "db.example.com.key", "db.example.com.key holds no certificate in PEM"),
            ("db.example.com.pem", "ca.pem", "ca.pem holds no private key without a password in PEM"),
            (
                "ca.pem",
                "db.example.com.key",
                "db.example.com.key is not the key of the first certificate in ca.pem",
            ),
        ] {
            let found = files(certificate, key).unwrap_err();
            assert!(found.ends_with(problem), "{found}");
        }
    }

    #[test]
    fn only_what_is_used_is_looked_at() {
        let acme_ca = |mode, name| told(Tls { mode, acme_ca: Some(fixture(name)), ..Tls::default() });
        assert_eq!(acme_ca(TlsMode::Acme, "ca.pem"), Ok(()));
        assert_eq!(acme_ca(TlsMode::Acme, "none"), Err("setting `tls.acme_ca`: cannot read none".to_owned()));
        assert_eq!(acme_ca(TlsMode::Off, "none"), Ok(()));
        let hint = certificates("tls.acme_ca", &fixture("cb.pem")).unwrap_err().hint().unwrap();
        assert!(hint.ends_with("/ca.pem`?"), "{hint}");
    }
}
