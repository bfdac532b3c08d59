//! Signing for a key that the server would take.

use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use russh::{SendError, Signer};

use crate::agent::AgentSigner;
use crate::client::Shared;
use crate::keyring::Keyring;
use crate::printable::printable;

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    #[error("the connection is gone")]
    Gone(#[from] SendError),
    /// In words that name the key.
    #[error("{0}")]
    Unsigned(String),
}

/// What signs.
pub(crate) enum KeySigner {
    File(Arc<PrivateKey>),
    Locked(LockedSigner),
    Agent(Box<AgentSigner>),
}

/// A key file with a passphrase, which is asked for when the server has said that it takes the key.
pub(crate) struct LockedSigner {
    pub(crate) file: PathBuf,
    pub(crate) public: PublicKey,
    pub(crate) keyring: Keyring,
    pub(crate) prompts: u32,
    pub(crate) shared: Arc<Shared>,
}

impl LockedSigner {
    async fn unlock(&self) -> Result<Arc<PrivateKey>, SigningError> {
        let unlocking = self.keyring.unlock(&self.file, self.prompts);
        let key = self.shared.asking(unlocking).await.map_err(SigningError::Unsigned)?;
        if key.public_key().key_data() != self.public.key_data() {
            let file = self.file.display();
            return Err(SigningError::Unsigned(format!(
                "{file} is not the key that is beside it as {file}.pub"
            )));
        }
        Ok(key)
    }
}

impl Signer for KeySigner {
    type Error = SigningError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        match self {
            Self::File(key) => sign(key, hash, data),
            Self::Locked(signer) => sign(&*signer.unlock().await?, hash, data),
            Self::Agent(signer) => signer.sign(hash, data).await.map_err(SigningError::Unsigned),
        }
    }
}

/// The data with its signature behind it. russh's own way would sign for an RSA certificate with SHA-1's name.
fn sign(key: &PrivateKey, hash: Option<HashAlg>, mut data: Vec<u8>) -> Result<Vec<u8>, SigningError> {
    let signed = |error: &dyn std::fmt::Display| SigningError::Unsigned(printable(error.to_string()));
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(key) => (key, hash).try_sign(&data),
        key => key.try_sign(&data),
    }
    .map_err(|error| signed(&error))?;
    let signature = signature.encode_vec().map_err(|error| signed(&error))?;
    signature.encode(&mut data).map_err(|error| signed(&error))?;
    Ok(data)
}
