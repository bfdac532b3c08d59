//! What a person has unlocked or told while a run logs in to its hosts: asked for once, shared by all connections.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PrivateKey;
use secrecy::SecretString;
use tokio::sync::{Mutex as TurnMutex, OnceCell};

use crate::key_file::{self, Unlocking};
use crate::last_keys::LastKeys;

/// What a person is asked for, to log in. Everything in it is fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// The passphrase of a key file.
    Passphrase {
        /// The file.
        file: PathBuf,
        /// What was typed before was not it.
        again: bool,
    },
    /// The password of a user on a host.
    Password {
        /// The user.
        user: String,
        /// The host as given.
        host: String,
    },
    /// Whatever the server wants to know. The words are its own, so a person must see whose they are.
    Server {
        /// The user to be logged in.
        user: String,
        /// The host as given.
        host: String,
        /// What it says before, a line each.
        said: Vec<String>,
        /// What it asks.
        prompt: String,
        /// Whether the answer must not be seen.
        hidden: bool,
    },
}

/// A person's answer, once there is one.
pub type Answering = Pin<Box<dyn Future<Output = io::Result<SecretString>> + Send>>;

/// Asks a person. An error is no answer, and ends the login.
pub type AskPerson = Arc<dyn Fn(Question) -> Answering + Send + Sync>;

/// What the connections of one run log in with, besides keys that need no words. Clones are the same.
#[derive(Clone, Default)]
pub struct Keyring(Arc<Held>);

#[derive(Default)]
struct Held {
    ask: Option<AskPerson>,
    last_keys: Option<LastKeys>,
    keys: Mutex<HashMap<PathBuf, Arc<UnlockedKey>>>,
    accounts: Mutex<HashMap<String, Arc<TurnMutex<Account>>>>,
}

/// Made once; who waits for it meanwhile shares the failure too.
type UnlockedKey = OnceCell<Result<Arc<PrivateKey>, String>>;

/// What is known of a user's password on a host. Whoever holds it is the one who tries it.
#[derive(Debug, Default)]
pub(crate) enum Account {
    #[default]
    Unasked,
    /// It was typed, and has not been sent.
    Typed(SecretString),
    /// It was taken in this run.
    Proven(SecretString),
    /// It was wrong, or was sent and no answer came. It is not asked for again: one more could lock the account.
    Refused,
}

impl Account {
    /// To be called before it is sent: a server that hangs up, or does not answer in time, may well have refused it.
    pub(crate) fn risk(&mut self) {
        if matches!(self, Self::Typed(_)) {
            *self = Self::Refused;
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Keyring {
    /// A keyring that asks a person, if there is one, and keeps on record in a file which key was taken by which
    /// host, so that it is offered first the next time.
    pub fn new(ask: Option<AskPerson>, last_keys: Option<PathBuf>) -> Self {
        Self(Arc::new(Held { ask, last_keys: last_keys.map(LastKeys::new), ..Held::default() }))
    }

    pub(crate) fn can_ask(&self) -> bool {
        self.0.ask.is_some()
    }

    pub(crate) fn last_keys(&self) -> Option<&LastKeys> {
        self.0.last_keys.as_ref()
    }

    /// Asks a person.
    ///
    /// # Errors
    /// If there is none, or no answer.
    pub(crate) async fn ask(&self, question: Question) -> io::Result<SecretString> {
        match &self.0.ask {
            Some(ask) => ask(question).await,
            None => Err(io::Error::other("nobody can be asked")),
        }
    }

    /// The account's password, for as long as it takes to try it: others who want it wait.
    pub(crate) fn account(&self, name: String) -> Arc<TurnMutex<Account>> {
        let mut accounts = self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(accounts.entry(name).or_default())
    }

    /// The key of a file with a passphrase, which is asked for if nobody has been yet, up to so many times.
    ///
    /// # Errors
    /// In words, if it stays locked; then for the whole run.
    pub(crate) async fn unlock(&self, file: &Path, prompts: u32) -> Result<Arc<PrivateKey>, String> {
        let cell = {
            let mut keys = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(keys.entry(file.to_owned()).or_default())
        };
        cell.get_or_init(|| self.ask_and_unlock(file, prompts)).await.clone()
    }

    async fn ask_and_unlock(&self, file: &Path, prompts: u32) -> Result<Arc<PrivateKey>, String> {
        let shown = file.display();
        for number in 0..prompts {
            let question = Question::Passphrase { file: file.to_owned(), again: number > 0 };
            let passphrase =
                self.ask(question).await.map_err(|error| format!("{shown} stays locked: {error}"))?;
            match key_file::unlock(file, passphrase).await {
                Ok(key) => return Ok(Arc::new(key)),
                Err(Unlocking::NoPassphrase) => {
                    return Err(format!("{shown} stays locked: no passphrase was typed"));
                }
                Err(Unlocking::Wrong) => {}
                Err(Unlocking::Impossible(why)) => return Err(format!("{shown} stays locked: {why}")),
            }
        }
        Err(format!("{shown} stays locked: none of the passphrases is its own"))
    }
}
