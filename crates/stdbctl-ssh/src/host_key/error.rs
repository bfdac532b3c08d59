//! Why a server's key was refused, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::HostKeyPrompt;
use crate::certificate::CertificateFault;
use crate::error::ErrorKind;
use crate::target::DEFAULT_PORT;

/// Why the server's key was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// It is on record nowhere.
    #[error("the host key of {} is not known: {} {}", .0.host, .0.key_type, .0.fingerprint)]
    Unknown(Box<HostKeyPrompt>),
    /// Another key is on record.
    #[error("the host key of {host} has changed: it is now {offered}, but line {line} of {} has {recorded}", .file.display())]
    Changed {
        /// The host as `known_hosts` spells it.
        host: String,
        /// The fingerprint of the key the server has shown.
        offered: String,
        /// The fingerprint of the key on record.
        recorded: String,
        /// The file that has it.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
    },
    /// It is marked as revoked.
    #[error("the host key of {host}, {offered}, is revoked by line {line} of {}", .file.display())]
    Revoked {
        /// The host as `known_hosts` spells it.
        host: String,
        /// The fingerprint of the revoked key: the host's, or that of the authority behind its certificate.
        offered: String,
        /// The file that says so.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
    },
    /// It is a certificate that is not good for this host.
    #[error("the certificate of {host} is not accepted")]
    Certificate {
        /// The host as given.
        host: String,
        /// What is wrong with it.
        #[source]
        source: CertificateFault,
    },
    /// It is of a type that was not agreed on.
    #[error("{host} has shown a host key of a type that was not agreed on: {key_type}")]
    OtherType {
        /// The host as given.
        host: String,
        /// The type that was shown.
        key_type: String,
    },
    /// It has signed with another algorithm than was agreed on: an RSA key with SHA-1, for example.
    #[error("{host} was to sign with {agreed}, and has signed with {used}")]
    OtherSignature {
        /// The host as given.
        host: String,
        /// The algorithm that both sides have agreed on.
        agreed: String,
        /// What the signature says it was made with.
        used: String,
    },
    /// It is an RSA key of so few bits that it could be broken.
    #[error("the host key of {host} is an RSA key of {bits} bits; RequiredRSASize wants {required}")]
    TooShort {
        /// The host as given.
        host: String,
        /// How many it has.
        bits: u32,
        /// How many it must have.
        required: u32,
    },
    /// A file with known keys is there but cannot be read.
    #[error("cannot read {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The accepted key could not be put on record.
    #[error("cannot add the host key to {}", .file.display())]
    NotSaved {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HostKeyError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown(_) => ErrorKind::HostKeyUnknown,
            Self::Changed { .. } => ErrorKind::HostKeyChanged,
            Self::Revoked { .. } => ErrorKind::HostKeyRevoked,
            Self::Certificate { .. } => ErrorKind::HostKeyCertificate,
            Self::OtherType { .. } | Self::OtherSignature { .. } | Self::TooShort { .. } => {
                ErrorKind::KeyExchange
            }
            Self::Unreadable { .. } | Self::NotSaved { .. } => ErrorKind::KnownHosts,
        }
    }

    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown(prompt) => unknown_hints(prompt),
            Self::Changed { host, file, .. } => vec![
                "somebody may be in between, or the server was set up anew".to_owned(),
                format!("if it was: `ssh-keygen -R '{host}' -f '{}'`, then connect again", file.display()),
            ],
            Self::Revoked { .. } => {
                vec![
                    "somebody may be using a stolen key; connect only after the host has got a new one"
                        .to_owned(),
                ]
            }
            Self::Certificate { .. } => Vec::new(),
            Self::OtherType { .. } | Self::OtherSignature { .. } => {
                vec![
                    "no honest server does that: find out what answers there before you try again".to_owned(),
                ]
            }
            Self::TooShort { .. } => {
                vec!["give the host a new key: `ssh-keygen -A` makes those it lacks".to_owned()]
            }
            Self::Unreadable { .. } => {
                vec![
                    "no host can be told from an impostor without it: make it readable or name another"
                        .to_owned(),
                ]
            }
            Self::NotSaved { .. } => {
                vec!["make the file writable, or name another with --known-hosts".to_owned()]
            }
        }
    }
}

fn unknown_hints(prompt: &HostKeyPrompt) -> Vec<String> {
    let HostKeyPrompt { host, port, key_type, fingerprint, .. } = prompt;
    let name = key_type.split('-').find(|part| !["ssh", "sha2"].contains(part)).unwrap_or("ed25519");
    let port = if *port == DEFAULT_PORT { String::new() } else { format!("-p {port} ") };
    vec![
        format!(
            "compare {fingerprint} with what the host's own console shows: `ssh-keygen -lf /etc/ssh/ssh_host_{name}_key.pub`"
        ),
        format!("if they are the same, accept it with --accept-new, or log in once with `ssh {port}{host}`"),
    ]
}
