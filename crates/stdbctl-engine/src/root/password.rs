//! The password of sudo: asked for at most once a run, whatever the number of hosts.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, MutexGuard, oneshot};

use super::RootError;
use super::threshold::KeyHolder;
use crate::host::{BoxFuture, HostError};

/// Where the password comes from: a person, or a file.
pub trait PasswordSource: Send + Sync {
    /// Asks for it. `host` is the first one that wants it.
    ///
    /// # Errors
    /// If there is none to be had.
    fn password<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretString, HostError>>;
}

/// The password of sudo on all hosts of a run. Kept in memory alone, and zeroised when the last host lets go of it.
///
/// The first host proves it. Until then the others wait, and if it was wrong it is tried on no other: the accounts may
/// be one account, and a directory server counts.
pub struct SudoPassword {
    source: Box<dyn PasswordSource>,
    state: Mutex<State>,
}

enum State {
    NotAsked,
    Untested(SecretString),
    Proven(SecretString),
    Unfit(RootError),
}

/// One host's use of the password.
pub(super) struct Attempt<'a> {
    password: SecretString,
    /// Held while others must wait for what comes of it.
    first: Option<MutexGuard<'a, State>>,
}

impl fmt::Debug for SudoPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SudoPassword").finish_non_exhaustive()
    }
}

impl SudoPassword {
    /// A password that is asked for when the first host wants it.
    pub fn new(source: impl PasswordSource + 'static) -> Self {
        Self { source: Box::new(source), state: Mutex::new(State::NotAsked) }
    }

    /// The password, for one attempt on `host`.
    pub(super) async fn attempt(&self, host: &str) -> Result<Attempt<'_>, RootError> {
        let mut state = self.state.lock().await;
        if matches!(*state, State::NotAsked) {
            *state = match self.source.password(host).await {
                Ok(password) => fit(password),
                Err(error) => State::Unfit(RootError::NoPassword(error.chain())),
            };
        }
        match &*state {
            State::Proven(password) => Ok(Attempt { password: password.clone(), first: None }),
            State::Untested(password) => Ok(Attempt { password: password.clone(), first: Some(state) }),
            State::Unfit(error) => Err(error.clone()),
            State::NotAsked => Err(RootError::PasswordNeeded),
        }
    }
}

/// What can be a line for sudo.
fn fit(password: SecretString) -> State {
    let text = password.expose_secret();
    let why = if text.is_empty() {
        "it is empty"
    } else if text.contains(['\n', '\r', '\0']) {
        "it holds a line break or a NUL byte"
    } else {
        return State::Untested(password);
    };
    State::Unfit(RootError::NoPassword(why.to_owned()))
}

impl Attempt<'_> {
    /// The password, and where it comes out once the host has asked for it.
    pub(super) fn hand_over(&self) -> (KeyHolder, oneshot::Receiver<SecretString>) {
        let (hand, key) = oneshot::channel();
        ((self.password.clone(), hand), key)
    }

    /// It was the right one: nobody has to wait any longer.
    pub(super) fn succeed(&mut self) {
        if let Some(mut state) = self.first.take() {
            *state = State::Proven(self.password.clone());
        }
    }

    /// It was not, on `host`.
    pub(super) fn fail(self, host: &str) {
        if let Some(mut state) = self.first {
            *state = State::Unfit(RootError::NotTried(host.to_owned()));
        }
    }
}
