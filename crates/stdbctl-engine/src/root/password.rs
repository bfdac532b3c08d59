//! The password of sudo: asked for at most once a run, whatever the number of hosts.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, MutexGuard, oneshot};

use super::RootError;
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
/// The first host that asks proves it. Until then the others wait. Unless that host becomes root with it, whatever the
/// reason, it is tried on no other: the accounts may be one account, and a directory server counts.
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
    host: String,
    password: SecretString,
    /// Where the password comes out, until the host has asked for it.
    hand: Option<oneshot::Sender<SecretString>>,
    /// Held while others must wait for what comes of it.
    first: Option<MutexGuard<'a, State>>,
}

/// Where the password comes out once the host has asked for it.
pub(super) type Key = oneshot::Receiver<SecretString>;

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
    pub(super) async fn attempt(&self, host: &str) -> Result<(Attempt<'_>, Key), RootError> {
        let mut state = self.state.lock().await;
        if matches!(*state, State::NotAsked) {
            *state = match self.source.password(host).await {
                Ok(password) => fit(password),
                Err(error) => State::Unfit(RootError::NoPassword(error.chain())),
            };
        }
        match &*state {
            State::Proven(password) => Ok(Attempt::new(host, password.clone(), None)),
            State::Untested(password) => Ok(Attempt::new(host, password.clone(), Some(state))),
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

impl<'a> Attempt<'a> {
    fn new(host: &str, password: SecretString, first: Option<MutexGuard<'a, State>>) -> (Self, Key) {
        let (hand, key) = oneshot::channel();
        (Self { host: host.to_owned(), password, hand: Some(hand), first }, key)
    }

    /// One that nobody waits for.
    #[cfg(test)]
    pub(super) fn alone(password: &str) -> (Self, Key) {
        Self::new("host", SecretString::from(password), None)
    }

    /// The host has asked for it, and gets it. Nobody else does from now on: only its right use makes that good.
    pub(super) fn hand_over(&mut self) {
        let Some(hand) = self.hand.take() else { return };
        if let Some(state) = &mut self.first {
            **state = State::Unfit(RootError::Unproven(self.host.clone()));
        }
        // Nobody takes it if the input has failed, which says so itself.
        drop(hand.send(self.password.clone()));
    }

    /// The host has become root. If it was with the password, that is the right one.
    pub(super) fn succeed(self) {
        if let (None, Some(mut state)) = (self.hand, self.first) {
            *state = State::Proven(self.password);
        }
    }

    /// It was the wrong one.
    pub(super) fn fail(self) {
        if let Some(mut state) = self.first {
            *state = State::Unfit(RootError::NotTried(self.host));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always;

    impl PasswordSource for Always {
        fn password<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<SecretString, HostError>> {
            Box::pin(async { Ok(SecretString::from("secret")) })
        }
    }

    #[tokio::test]
    async fn a_root_that_never_asked_proves_nothing() {
        let password = SudoPassword::new(Always);
        let (attempt, _key) = password.attempt("one").await.unwrap();
        attempt.succeed();
        assert!(matches!(*password.state.lock().await, State::Untested(_)));
        let (mut attempt, key) = password.attempt("two").await.unwrap();
        attempt.hand_over();
        attempt.succeed();
        assert_eq!(key.await.unwrap().expose_secret(), "secret");
        assert!(matches!(*password.state.lock().await, State::Proven(_)));
    }
}
