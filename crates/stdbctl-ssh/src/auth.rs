//! Being recognised by the server: keys are offered until it takes one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{self, HashAlg, PrivateKey, PrivateKeyWithHashAlg, ssh_key};
use russh::{AgentAuthError, Signer};

use crate::agent::AgentSigner;
use crate::client::{Client, Ended, Shared};
use crate::error::{ConnectError, Step};
use crate::identity::{Identities, Identity, Signing};
use crate::observer::{self, Observation, Observer};

/// One login, and what came of it so far.
pub(crate) struct Login<'a> {
    pub(crate) handle: &'a mut Handle<Client>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) agent: Option<&'a Path>,
    pub(crate) user: &'a str,
    pub(crate) host: &'a str,
    pub(crate) address: String,
    pub(crate) patience: Duration,
    pub(crate) observer: &'a Observer,
}

enum Answer {
    Taken,
    Refused {
        methods: Vec<String>,
        partial: bool,
    },
    /// The key could not be offered after all.
    Skipped(String),
    Gone,
}

impl Answer {
    fn observed(&self, identity: &str) -> Observation {
        let answer = match self {
            Self::Taken => observer::Answer::Taken,
            Self::Refused { methods, partial } => {
                observer::Answer::Refused { methods: methods.clone(), partial: *partial }
            }
            Self::Skipped(why) => observer::Answer::NotOffered(why.clone()),
            Self::Gone => observer::Answer::HungUp,
        };
        Observation::Answered { identity: identity.to_owned(), answer }
    }
}

impl Login<'_> {
    /// Offers the keys in order. Each answer must come within the patience.
    pub(crate) async fn run(mut self, identities: &Identities) -> Result<(), ConnectError> {
        let Identities { offered, skipped } = identities;
        let mut skipped = skipped.clone();
        let (mut tried, mut methods, mut partial) = (Vec::new(), Vec::new(), false);
        for identity in offered {
            let shared = Arc::clone(&self.shared);
            let answer = shared.within(self.patience, self.offer(identity)).await.map_err(|_| self.slow())?;
            self.observer.tell(|| answer.observed(&identity.name));
            match answer {
                Answer::Taken => return Ok(()),
                Answer::Skipped(why) => skipped.push(why),
                Answer::Refused { methods: now, partial: took } => {
                    tried.push(identity.name.clone());
                    skipped.extend(identity.doubt.clone());
                    partial |= took;
                    methods = now;
                    if !methods.iter().any(|method| method == "publickey") {
                        break;
                    }
                }
                Answer::Gone => {
                    // "Too many authentication failures" and the like: a refusal, not an accident.
                    let Some(Ended::Said(words)) = self.shared.ended() else { return Err(self.lost()) };
                    tried.push(identity.name.clone());
                    skipped.push(format!("the server hung up: {words}"));
                    break;
                }
            }
        }
        Err(ConnectError::AuthRefused {
            user: self.user.to_owned(),
            host: self.host.to_owned(),
            tried,
            skipped,
            methods,
            partial,
        })
    }

    async fn offer(&mut self, identity: &Identity) -> Answer {
        let hash = match self.hash_for(identity).await {
            Ok(hash) => hash,
            Err(answer) => return answer,
        };
        let held = match (&identity.signing, &identity.certificate) {
            (Signing::File(key), None) => {
                let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
                let result = self.handle.authenticate_publickey(self.user, key).await;
                return result.map_or(Answer::Gone, |result| self.read(result));
            }
            (Signing::File(key), Some(_)) => {
                let signer = FileSigner { key: Arc::clone(key) };
                return self.offer_with(identity, hash, signer).await;
            }
            (Signing::AgentByCertificate, Some(certificate)) => AgentIdentity::from(certificate.clone()),
            (Signing::Agent | Signing::AgentByCertificate, _) => AgentIdentity::from(identity.key.clone()),
        };
        let Some(socket) = self.agent else { return Answer::Skipped(format!("{}: no agent", identity.name)) };
        match AgentSigner::connect(socket, held, Arc::clone(&self.shared)).await {
            Ok(signer) => self.offer_with(identity, hash, signer).await,
            Err(error) => Answer::Skipped(format!("{}: the agent is gone: {error}", identity.name)),
        }
    }

    async fn offer_with<S>(&mut self, identity: &Identity, hash: Option<HashAlg>, mut signer: S) -> Answer
    where
        S: Signer<Error = AgentAuthError>,
    {
        let (user, key) = (self.user, identity.key.clone());
        let result = if let Some(certificate) = identity.certificate.clone() {
            self.handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await
        } else {
            self.handle.authenticate_publickey_with(user, key, hash, &mut signer).await
        };
        match result {
            Ok(result) => self.read(result),
            Err(AgentAuthError::Send(_)) => Answer::Gone,
            Err(AgentAuthError::Key(error)) => {
                Answer::Skipped(format!("{} did not sign: {error}", identity.name))
            }
        }
    }

    /// With which hash an RSA key signs: never SHA-1.
    async fn hash_for(&self, identity: &Identity) -> Result<Option<HashAlg>, Answer> {
        if !identity.key.key_data().is_rsa() {
            return Ok(None);
        }
        match self.handle.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => Ok(Some(hash)),
            Ok(None) => Ok(Some(HashAlg::Sha512)),
            Ok(Some(None)) => {
                Err(Answer::Skipped(format!("{}: the server takes RSA keys only with SHA-1", identity.name)))
            }
            Err(_) => Err(Answer::Gone),
        }
    }

    fn read(&self, result: AuthResult) -> Answer {
        match result {
            AuthResult::Success => Answer::Taken,
            // russh reports a lost connection as a refusal without methods.
            AuthResult::Failure { remaining_methods, .. }
                if remaining_methods.is_empty() && self.handle.is_closed() =>
            {
                Answer::Gone
            }
            AuthResult::Failure { remaining_methods, partial_success } => Answer::Refused {
                methods: remaining_methods.iter().map(String::from).collect(),
                partial: partial_success,
            },
        }
    }

    fn slow(&self) -> ConnectError {
        ConnectError::Timeout {
            step: Step::Authentication,
            address: self.address.clone(),
            seconds: self.patience.as_secs(),
        }
    }

    fn lost(&self) -> ConnectError {
        ConnectError::Lost {
            step: Step::Authentication,
            address: self.address.clone(),
            reason: self.shared.reason(),
        }
    }
}

/// Signs for a certificate with its key's file. russh's own way would sign for an RSA certificate with SHA-1's name.
struct FileSigner {
    key: Arc<PrivateKey>,
}

impl Signer for FileSigner {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        let signature: Signature = match self.key.key_data() {
            KeypairData::Rsa(key) => (key, hash).try_sign(&data),
            key => key.try_sign(&data),
        }
        .map_err(|error| keys::Error::from(ssh_key::Error::from(error)))?;
        let signature = signature.encode_vec().map_err(keys::Error::from)?;
        signature.encode(&mut data).map_err(keys::Error::from)?;
        Ok(data)
    }
}
