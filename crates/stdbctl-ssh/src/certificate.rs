//! Certificates: what one of a trusted authority must say to be good for a host, and what speaks against a user's.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate};

use crate::known_hosts::wildcard_matches;
use crate::printable::printable;

/// What is wrong with a host certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// No `@cert-authority` line for the host has the key that signed it.
    #[error("it is signed by {authority}, which no @cert-authority line trusts for this host")]
    UnknownAuthority {
        /// The fingerprint of the authority's key.
        authority: String,
    },
    /// It is a user's certificate.
    #[error("it is a certificate for users, not for hosts")]
    NotForHosts,
    /// The authority's signature is wrong, or made with SHA-1.
    #[error("its signature is wrong or made with SHA-1")]
    Signature,
    /// Its signature is made with something that the configuration does not take.
    #[error("it is signed with {algorithm}, which CASignatureAlgorithms does not list")]
    SignatureAlgorithm {
        /// The algorithm's name.
        algorithm: String,
    },
    /// It is not valid yet.
    #[error("it is not valid yet (is the clock right?)")]
    NotYetValid,
    /// It has expired.
    #[error("it expired {} s ago", .seconds)]
    Expired {
        /// How long ago, in seconds.
        seconds: u64,
    },
    /// It names other hosts.
    #[error("it is for {}, not for this host", .names.join(", "))]
    OtherHost {
        /// The hosts it names.
        names: Vec<String>,
    },
    /// It names no host at all.
    #[error("it names no host")]
    NoHost,
    /// It has a restriction that must be understood, and nothing here does.
    #[error("it has the critical option {name:?}, which is not supported")]
    CriticalOption {
        /// The option's name.
        name: String,
    },
}

/// Whether a certificate of a trusted authority is good for the host at a time in seconds since 1970.
pub(crate) fn check_certificate(
    certificate: &Certificate,
    host: &str,
    now: u64,
) -> Result<(), CertificateFault> {
    if certificate.cert_type() != CertType::Host {
        return Err(CertificateFault::NotForHosts);
    }
    let sha1 = certificate.signature().algorithm() == Algorithm::Rsa { hash: None };
    if sha1 || certificate.verify_signature().is_err() {
        return Err(CertificateFault::Signature);
    }
    if now < certificate.valid_after() {
        return Err(CertificateFault::NotYetValid);
    }
    if now >= certificate.valid_before() {
        return Err(CertificateFault::Expired { seconds: now - certificate.valid_before() });
    }
    if let Some((name, _)) = certificate.critical_options().iter().next() {
        return Err(CertificateFault::CriticalOption { name: printable(name) });
    }
    let names = certificate.valid_principals();
    if names.is_empty() {
        return Err(CertificateFault::NoHost);
    }
    let host = host.to_lowercase();
    if names.iter().any(|name| wildcard_matches(&name.to_lowercase(), &host)) {
        return Ok(());
    }
    Err(CertificateFault::OtherHost { names: names.iter().take(8).map(printable).collect() })
}

/// Why a user's certificate will hardly be taken; the server decides, by its own clock and rules.
pub(crate) fn doubt_certificate(certificate: &Certificate, user: &str, now: u64) -> Option<String> {
    if certificate.cert_type() != CertType::User {
        return Some("is for hosts, not for users".to_owned());
    }
    if now < certificate.valid_after() {
        return Some("is not valid yet (is the clock right?)".to_owned());
    }
    if now >= certificate.valid_before() {
        return Some(format!("expired {} s ago", now - certificate.valid_before()));
    }
    let names = certificate.valid_principals();
    let is_meant = names.is_empty() || names.iter().any(|name| name == user);
    let shown = || names.iter().take(8).map(printable).collect::<Vec<_>>().join(", ");
    (!is_meant).then(|| format!("is for {}, not for {user}", shown()))
}
