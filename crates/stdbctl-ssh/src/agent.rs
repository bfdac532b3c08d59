//! The operator's ssh-agent: which keys it holds, and signing with them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::key::parse_public_key;
use russh::keys::ssh_encoding::{Decode, Reader};
use russh::keys::{Certificate, HashAlg, PublicKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::client::Shared;
use crate::printable::printable;

/// An agent answers from memory; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// A touch or a confirmation by a person takes longer, but not for ever.
const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(120);
const LONGEST_ANSWER: usize = 256 * 1024;
const REQUEST_IDENTITIES: [u8; 5] = [0, 0, 0, 1, 11];
const IDENTITIES_ANSWER: u8 = 12;

/// A key in the agent.
#[derive(Debug, Clone)]
pub(crate) struct AgentKey {
    pub(crate) key: PublicKey,
    /// Held instead of the bare key, which is often held too.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) comment: String,
}

/// The keys the agent holds.
///
/// Not russh's own list, which one key of a kind unknown to it makes fail as a whole: here such a key is passed
/// over.
pub(crate) async fn list_keys(socket: &Path) -> io::Result<Vec<AgentKey>> {
    timeout(PATIENCE, async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&REQUEST_IDENTITIES).await?;
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        if length > LONGEST_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        read_keys(&answer)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer makes no sense"))
    })
    .await
    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn read_keys(answer: &[u8]) -> Option<Vec<AgentKey>> {
    let (IDENTITIES_ANSWER, mut rest) = answer.split_first().map(|(kind, rest)| (*kind, rest))? else {
        return None;
    };
    let count = u32::decode(&mut rest).ok()?;
    let mut keys = Vec::new();
    for _ in 0..count {
        let blob = Vec::<u8>::decode(&mut rest).ok()?;
        let comment = Vec::<u8>::decode(&mut rest).ok()?;
        keys.extend(read_key(&blob, printable(comment)));
    }
    rest.is_finished().then_some(keys)
}

fn read_key(blob: &[u8], comment: String) -> Option<AgentKey> {
    let key = parse_public_key(blob).ok()?;
    if key.key_data().is_certificate() {
        let certificate = Certificate::from_bytes(blob).ok()?;
        let key = PublicKey::from(certificate.public_key().clone());
        return Some(AgentKey { key, certificate: Some(certificate), comment });
    }
    (!key.key_data().is_other()).then_some(AgentKey { key, certificate: None, comment })
}

/// Signs with a key of the agent.
pub(crate) struct AgentSigner {
    client: AgentClient<UnixStream>,
    /// What the agent knows the key as. A certificate from a file is signed for with the bare key: that is all the
    /// agent knows.
    held: AgentIdentity,
    /// For messages.
    name: String,
    shared: Arc<Shared>,
}

impl AgentSigner {
    pub(crate) async fn connect(
        socket: &Path,
        held: AgentIdentity,
        name: String,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let stream = timeout(PATIENCE, UnixStream::connect(socket)).await??;
        Ok(Self { client: AgentClient::connect(stream), held, name, shared })
    }

    /// The data with its signature behind it.
    ///
    /// # Errors
    /// In words that name the key.
    pub(crate) async fn sign(&mut self, hash: Option<HashAlg>, data: Vec<u8>) -> Result<Vec<u8>, String> {
        let signing = timeout(PATIENCE_WITH_PEOPLE, self.client.sign_request(&self.held, hash, data));
        let unsigned = |why: String| format!("{} did not sign: {}", self.name, printable(why));
        match self.shared.asking(signing).await {
            Ok(signed) => signed.map_err(|error| unsigned(error.to_string())),
            Err(_) => Err(unsigned(io::Error::from(io::ErrorKind::TimedOut).to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    #[test]
    fn a_key_of_an_unknown_kind_hides_no_other() {
        let odd = string(&string(b"ssh-invented"));
        let good = string(&[string(b"ssh-ed25519"), string(&[7; 32])].concat());
        let answer =
            [&[IDENTITIES_ANSWER, 0, 0, 0, 2], odd.as_slice(), &string(b"odd"), &good, &string(b"me@laptop")]
                .concat();
        let keys = read_keys(&answer).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].comment, "me@laptop");
    }

    #[test]
    fn an_answer_cut_anywhere_is_no_answer() {
        let good = string(&[string(b"ssh-ed25519"), string(&[7; 32])].concat());
        let answer = [&[IDENTITIES_ANSWER, 0, 0, 0, 1], good.as_slice(), &string(b"me")].concat();
        assert!(read_keys(&answer).is_some());
        for length in 0..answer.len() {
            assert!(read_keys(&answer[..length]).is_none(), "{length}");
        }
        assert!(read_keys(&[IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff]).is_none());
    }
}
