//! A known host that changes its keys: it lists them once somebody is logged in, proves those that are new, and the
//! user's files follow (`hostkeys-00@openssh.com`, OpenSSH's `UpdateHostKeys`).
//!
//! It runs beside the session, and whatever goes wrong with it is no failure of the run.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::algorithms::AlgorithmRules;
use crate::known_hosts::fingerprint;
use crate::known_hosts_file::{self, LockedFile};
use crate::known_hosts_update::{Changes, Names, compare, with_keys, without_host};

/// More than these no honest host has, even while it changes them.
const MOST_KEYS: usize = 32;
/// The longest RSA key whose signatures can be verified.
const LONGEST_RSA: u32 = 8192;
/// How long proving the new keys may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How much longer once the session is over. The proof takes one round trip from the login on, any command two: it is
/// late only where this side is busy.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// How often a file is read again that others are changing too.
const MOST_TRIES: usize = 8;

/// What is to be kept up to date for one host.
#[derive(Debug, Clone)]
pub(crate) struct HostKeyUpdate {
    pub(crate) names: Names,
    /// The user's files. New keys go to the first.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) hash_names: bool,
    pub(crate) algorithms: Arc<AlgorithmRules>,
    pub(crate) required_rsa_size: u32,
}

/// A host that is being followed, for as long as its session lasts.
#[derive(Debug)]
pub(crate) struct Following {
    task: JoinHandle<()>,
    /// Dropping it says that the session is over.
    leave: oneshot::Sender<()>,
}

impl Following {
    /// Begins with it once the host has `announced` its keys; `prove` has it prove some.
    pub(crate) fn start<P>(
        update: HostKeyUpdate,
        announced: oneshot::Receiver<Vec<PublicKey>>,
        prove: impl FnOnce(Vec<PublicKey>) -> P + Send + 'static,
    ) -> Self
    where
        P: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (leave, leaving) = oneshot::channel();
        Self { task: tokio::spawn(update.run(announced, leaving, prove)), leave }
    }

    /// Lets all of them come to their end, within `patience` together. Files are written to their end; hosts that owe a
    /// proof are waited for half a second, all at the same time.
    pub(crate) async fn end(all: Vec<Self>, patience: Duration) {
        let deadline = Instant::now() + patience;
        let leave = |Self { task, leave }| {
            drop(leave);
            task
        };
        let tasks: Vec<_> = all.into_iter().map(leave).collect();
        for mut task in tasks {
            if timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                task.await.ok();
            }
        }
    }
}

impl HostKeyUpdate {
    /// Waits for the host's list of its keys, and has the files follow it.
    async fn run<P>(
        self,
        announced: oneshot::Receiver<Vec<PublicKey>>,
        mut leaving: oneshot::Receiver<()>,
        prove: impl FnOnce(Vec<PublicKey>) -> P,
    ) where
        P: Future<Output = Result<(), String>>,
    {
        let announced = tokio::select! {
            biased;
            announced = announced => announced,
            _ = &mut leaving => return,
        };
        // Nothing is to be done for a host that was not recognised by the user's files.
        let Ok(announced) = announced else { return };
        let host = self.names.host.clone();
        let prove = async |keys| {
            tokio::select! {
                proof = prove(keys) => proof,
                () = last_moment(leaving) => Err("no proof came".to_owned()),
            }
        };
        match self.follow(announced, prove).await {
            Ok(Some(changes)) => tracing::info!("{}", told(&host, &changes)),
            Ok(None) => {}
            Err(error) => tracing::debug!(host, error, "known_hosts is left as it is"),
        }
    }

    async fn follow(
        self,
        announced: Vec<PublicKey>,
        prove: impl AsyncFnOnce(Vec<PublicKey>) -> Result<(), String>,
    ) -> Result<Option<Changes>, String> {
        let keys = self.taken(announced)?;
        let gone = |error: tokio::task::JoinError| error.to_string();
        let (update, all) = (self.clone(), keys.clone());
        let changes = spawn_blocking(move || update.compare(&all)).await.map_err(gone)??;
        if changes == Changes::default() {
            return Ok(None);
        }
        let proven = self.provable(&changes.new);
        if proven.is_empty() && changes.gone.is_empty() {
            return Ok(None);
        }
        if !proven.is_empty() {
            prove(proven.iter().cloned().map(|key| PublicKey::new(key, "")).collect()).await?;
        }
        spawn_blocking(move || self.write(&keys, &proven)).await.map_err(gone)?
    }

    /// The keys that count of a host's list: those of types that may be used.
    fn taken(&self, announced: Vec<PublicKey>) -> Result<Vec<KeyData>, String> {
        if announced.len() > MOST_KEYS {
            return Err(format!("the host lists {} keys", announced.len()));
        }
        let mut keys = Vec::new();
        for key in announced {
            if !self.algorithms.allows_host_key(&key.algorithm()) {
                continue;
            }
            let key = KeyData::from(key);
            if keys.contains(&key) {
                return Err("the host lists a key twice".to_owned());
            }
            keys.push(key);
        }
        // A host without any would be a stranger from then on.
        if keys.is_empty() { Err("the host lists no key".to_owned()) } else { Ok(keys) }
    }

    /// Those of new keys that could be used to recognise the host.
    fn provable(&self, new: &[KeyData]) -> Vec<KeyData> {
        let is_usable = |key: &&KeyData| match key {
            KeyData::Rsa(key) => (self.required_rsa_size..=LONGEST_RSA).contains(&key.key_size()),
            KeyData::Ed25519(_) | KeyData::Ecdsa(_) => true,
            _ => false,
        };
        new.iter().filter(is_usable).cloned().collect()
    }

    fn compare(&self, keys: &[KeyData]) -> Result<Changes, String> {
        let mut contents = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            match std::fs::read(file) {
                Ok(content) => contents.push(content),
                // New keys would have nowhere to go without the first.
                Err(error) if error.kind() == io::ErrorKind::NotFound && index > 0 => {}
                Err(error) => return Err(format!("{}: {error}", file.display())),
            }
        }
        let contents: Vec<_> = contents.iter().map(Vec::as_slice).collect();
        compare(&contents, &self.names, keys).map_err(|why| why.to_string())
    }

    /// Makes the files say what the host says. They may have changed while it proved its keys.
    fn write(&self, keys: &[KeyData], proven: &[KeyData]) -> Result<Option<Changes>, String> {
        for _ in 0..MOST_TRIES {
            let Some((locked, changes)) = self.locked(keys)? else { return Ok(None) };
            let recorded = keys.iter().filter(|key| !changes.new.contains(key) || proven.contains(key));
            let recorded: Vec<_> = recorded.cloned().collect();
            if recorded.is_empty() {
                return Err("the host would be a stranger from then on".to_owned());
            }
            let new = changes.new.into_iter().filter(|key| proven.contains(key)).collect();
            let changes = Changes { new, gone: changes.gone };
            if self.replace(&locked, &recorded).map_err(|error| error.to_string())? {
                return Ok(Some(changes).filter(|changes| *changes != Changes::default()));
            }
        }
        Err("others keep changing it".to_owned())
    }

    /// The files, first of all the first, and what is to be changed in them; None if it is nothing.
    fn locked(&self, keys: &[KeyData]) -> Result<Option<(Vec<LockedFile>, Changes)>, String> {
        let mut locked = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            if locked.iter().any(|locked: &LockedFile| locked.is(file)) {
                continue;
            }
            match LockedFile::open(file, known_hosts_file::PATIENCE) {
                Ok(Some(file)) => locked.push(file),
                // Keys of a second file would have nowhere to go.
                Ok(None) if index == 0 => return Err(format!("{} does not exist", file.display())),
                Ok(None) => {}
                Err(error) => return Err(format!("{}: {error}", file.display())),
            }
        }
        let contents: Vec<_> = locked.iter().map(|file| file.content.as_slice()).collect();
        let changes = compare(&contents, &self.names, keys).map_err(|why| why.to_string())?;
        Ok((changes != Changes::default()).then_some((locked, changes)))
    }

    fn replace(&self, locked: &[LockedFile], recorded: &[KeyData]) -> io::Result<bool> {
        for (index, file) in locked.iter().enumerate() {
            let content = if index == 0 {
                with_keys(&file.content, &self.names, recorded, self.hash_names)?
            } else {
                without_host(&file.content, &self.names)
            };
            if content != file.content && !file.replace(&content)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// When a host that has not proven its keys will not do it any more.
async fn last_moment(leaving: oneshot::Receiver<()>) {
    if timeout(PATIENCE, leaving).await.is_ok() {
        sleep(LAST_WAIT).await;
    }
}

/// One line for the operator.
fn told(host: &str, Changes { new, gone }: &Changes) -> String {
    let keys = |verb: &str, keys: &[KeyData]| {
        let keys: Vec<_> =
            keys.iter().map(|key| format!("{} {}", key.algorithm(), fingerprint(key))).collect();
        (!keys.is_empty()).then(|| format!("{verb} {}", keys.join(", ")))
    };
    let parts: Vec<_> = [keys("added", new), keys("removed", gone)].into_iter().flatten().collect();
    format!("known_hosts follows the host keys of {host}: {}", parts.join("; "))
}

#[cfg(test)]
#[path = "host_key_update_tests.rs"]
mod tests;
