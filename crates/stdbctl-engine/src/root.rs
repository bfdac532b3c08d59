//! Becoming root on a host: by being root, with sudo, with sudo and a password, or with doas.
//!
//! Which way it goes is found out by the first script itself, at no cost where neither a password nor a terminal is
//! needed; what is refused for want of one is begun anew with it, and the rest of the run knows. A host says
//! under a nonce that it has become root before anything else that root says, and that it wants the password before it
//! gets it: neither a prompt nor a message of the day is ever taken for that, and the password is never sent to
//! something that did not ask for it. It goes to the host once a script, as the first line of standard input, to be
//! seen in no list of processes, no environment and no file.

mod line;
mod password;
mod refusal;
mod terminal;
mod threshold;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

pub use self::password::{PasswordSource, SudoPassword};
pub use self::refusal::RootError;

use self::line::{Door, Errand, line};
use self::password::{Attempt, Key};
use self::threshold::Threshold;
use crate::dialogue::random_name;
use crate::host::{BoxFuture, Ending, HostError, Output, Stdin};

/// Those who wait for a person to type, for a channel or for sudo are heard of so often, or they would be given up.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// How long a host may take to become root, once the line has been started there: longer than sudo takes that asks a
/// directory server, or somebody's telephone.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a line of the login user's shell reads.
#[derive(Debug, Default)]
pub struct Input {
    /// The password of sudo, which comes first, as a line, once the host has asked for it. If the other end is dropped
    /// it never will, and there is no input.
    pub key: Option<oneshot::Receiver<SecretString>>,
    /// What comes then.
    pub pieces: Vec<Stdin>,
    /// Dropped as soon as the host has been told to start the line, which may have to wait for a channel: from then on
    /// the host has only so long to become root.
    pub begun: Option<oneshot::Sender<()>>,
}

/// Somebody who has logged in to a host, and can start one line of its shell at a time.
pub trait Login: Send + Sync {
    /// The host, as messages call it.
    fn host(&self) -> &str;

    /// Starts a line, feeds it and sends what it writes to `output` until it has ended.
    fn start<'a>(
        &'a self,
        line: &'a str,
        input: Input,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'a, Result<Ending, HostError>>;

    /// A line that does what `line` does with this input, and needs none itself. None if there is no such line.
    ///
    /// # Errors
    /// If it cannot be written.
    fn carrying(&self, line: &str, input: &[u8]) -> Result<Option<String>, HostError> {
        let _ = (line, input);
        Ok(None)
    }
}

/// How one host becomes root.
#[derive(Debug, Default)]
pub struct Root {
    password: Option<Arc<SudoPassword>>,
    nonce: OnceLock<String>,
    way: Mutex<Way>,
}

/// What has been found out so far.
#[derive(Debug, Clone)]
enum Way {
    Through(Door),
    Closed(RootError),
}

impl Default for Way {
    fn default() -> Self {
        Self::Through(Door::default())
    }
}

/// What is done as root, and what it reads.
#[derive(Clone)]
enum Task<'a> {
    Run(Vec<Stdin>),
    Look(Vec<u8>),
    Command(&'a str),
}

impl Root {
    /// `password` is what sudo gets if it wants one. Without, such a host is refused.
    pub fn new(password: Option<Arc<SudoPassword>>) -> Self {
        Self { password, ..Self::default() }
    }

    /// Runs a script as root: its length in bytes, a newline, the script, its payloads.
    ///
    /// # Errors
    /// If it cannot be started; [`RootError`] is behind it if the host did not become root.
    pub async fn run(
        &self,
        login: &dyn Login,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> Result<Ending, HostError> {
        self.perform(login, Task::Run(stdin), output).await
    }

    /// The same for a script that holds nothing secret and reads no payloads.
    ///
    /// # Errors
    /// As [`Root::run`].
    pub async fn look(
        &self,
        login: &dyn Login,
        script: Vec<u8>,
        output: mpsc::Sender<Output>,
    ) -> Result<Ending, HostError> {
        self.perform(login, Task::Look(script), output).await
    }

    /// Runs a command as root, which reads nothing: its words, quoted for the login user's shell.
    ///
    /// # Errors
    /// As [`Root::run`].
    pub async fn command(
        &self,
        login: &dyn Login,
        words: &str,
        output: mpsc::Sender<Output>,
    ) -> Result<Ending, HostError> {
        self.perform(login, Task::Command(words), output).await
    }

    /// The line that the next [`Root::run`] starts, as far as is known.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn script_line(&self) -> Result<String, HostError> {
        let door = match self.way() {
            Way::Through(door) => door,
            Way::Closed(_) => Door::default(),
        };
        Ok(line(door, Errand::Script, self.nonce()?))
    }

    async fn perform(
        &self,
        login: &dyn Login,
        task: Task<'_>,
        output: mpsc::Sender<Output>,
    ) -> Result<Ending, HostError> {
        loop {
            let door = match self.way() {
                Way::Through(door) => door,
                Way::Closed(error) => return Err(error.into()),
            };
            let error = match self.enter(login, task.clone(), door, &output).await? {
                Ok(ending) => return Ok(ending),
                Err(error) => error,
            };
            let Some(next) = self.next_door(door, &error) else { return Err(self.close(error)) };
            self.found(door, next);
            task.again();
        }
    }

    /// What may help where this door is closed.
    fn next_door(&self, door: Door, error: &RootError) -> Option<Door> {
        match error {
            RootError::TerminalNeeded(_) if !door.on_terminal => Some(Door { on_terminal: true, ..door }),
            RootError::PasswordNeeded if !door.with_password && self.password.is_some() => {
                Some(Door { with_password: true, ..door })
            }
            _ => None,
        }
    }

    /// Does the task behind this door, or says why it is closed.
    async fn enter(
        &self,
        login: &dyn Login,
        task: Task<'_>,
        door: Door,
        output: &mpsc::Sender<Output>,
    ) -> Result<Result<Ending, RootError>, HostError> {
        let mut attempt = None;
        if door.with_password {
            match self.attempt(login.host(), output).await {
                Ok(first) => attempt = Some(first),
                Err(error) => return Ok(Err(error)),
            }
        }
        let (attempt, key) = attempt.unzip();
        let mut threshold = Threshold::new(self.nonce()?, attempt);
        let (line, pieces) = task.line(login, door, self.nonce()?)?;
        let status = match start(login, &line, (key, pieces), output, &mut threshold).await? {
            Ok(Ending::Status(status)) if !threshold.is_passed() => status,
            other => return Ok(other),
        };
        let error = RootError::behind(door, status, &threshold.complaint());
        if matches!(error, RootError::WrongPassword(_)) {
            threshold.fail();
        }
        Ok(Err(error))
    }

    /// Waits for the password, and meanwhile says now and then that it does.
    async fn attempt(
        &self,
        host: &str,
        output: &mpsc::Sender<Output>,
    ) -> Result<(Attempt<'_>, Key), RootError> {
        let Some(password) = &self.password else { return Err(RootError::PasswordNeeded) };
        tokio::select! {
            biased;
            attempt = password.attempt(host) => attempt,
            never = show_life(output) => match never {},
        }
    }

    fn way(&self) -> Way {
        self.way.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where this door is closed, the next is tried. Others may have found out more meanwhile.
    fn found(&self, door: Door, next: Door) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*way, Way::Through(known) if known == door) {
            *way = Way::Through(next);
        }
    }

    /// Nothing will be tried again on a host that refused, or that nothing was heard of for so long: it counts, or
    /// takes as long again.
    fn close(&self, error: RootError) -> HostError {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Way::Closed(error.clone());
        error.into()
    }

    /// One for all lines, so that one can be started before it is known what it will read.
    fn nonce(&self) -> Result<&str, HostError> {
        if self.nonce.get().is_none() {
            let nonce = random_name().map_err(|failure| HostError::new(failure.to_string()))?;
            drop(self.nonce.set(nonce));
        }
        Ok(self.nonce.get().map_or("", String::as_str))
    }
}

/// Starts the line, and passes on what comes once there is a root.
async fn start(
    login: &dyn Login,
    line: &str,
    (key, pieces): (Option<Key>, Vec<Stdin>),
    output: &mpsc::Sender<Output>,
    threshold: &mut Threshold<'_>,
) -> Result<Result<Ending, RootError>, HostError> {
    let (sender, receiver) = mpsc::channel(16);
    let (begun, has_begun) = oneshot::channel();
    let starting = login.start(line, Input { key, pieces, begun: Some(begun) }, sender);
    let given_up = async {
        has_begun.await.ok();
        sleep(PATIENCE).await;
    };
    // Who does not listen any more hangs up.
    match tokio::try_join!(async { Ok(starting.await) }, listen(receiver, output, threshold, given_up)) {
        Ok((ending, ())) => ending.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Passes on what is for others to read, until nothing more comes or, before there is a root, it is `given_up`.
async fn listen(
    mut receiver: mpsc::Receiver<Output>,
    output: &mpsc::Sender<Output>,
    threshold: &mut Threshold<'_>,
    given_up: impl Future<Output = ()>,
) -> Result<(), RootError> {
    let waiting = show_life(output);
    tokio::pin!(waiting, given_up);
    loop {
        let piece = tokio::select! {
            biased;
            piece = receiver.recv() => piece,
            () = &mut given_up, if !threshold.is_passed() => {
                return Err(RootError::Undecided(format!("within {} s", PATIENCE.as_secs())));
            }
            never = &mut waiting, if !threshold.is_passed() => match never {},
        };
        let Some(piece) = piece else { break };
        pass_on(output, threshold.take(piece)?).await;
    }
    pass_on(output, threshold.rest()).await;
    Ok(())
}

/// Says now and then that something is waited for.
async fn show_life(output: &mpsc::Sender<Output>) -> Infallible {
    loop {
        sleep(SIGN_OF_LIFE).await;
        // Where something waits to be read already, that is sign enough.
        drop(output.try_send(Output::Stderr(Vec::new())));
    }
}

/// A reader that went away does not end a script.
async fn pass_on(output: &mpsc::Sender<Output>, pieces: Vec<Output>) {
    for piece in pieces {
        drop(output.send(piece).await);
    }
}

impl Task<'_> {
    /// The line that does it, and what that reads behind the password.
    fn line(self, login: &dyn Login, door: Door, nonce: &str) -> Result<(String, Vec<Stdin>), HostError> {
        Ok(match self {
            Self::Run(pieces) => (line(door, Errand::Script, nonce), pieces),
            Self::Command(words) => (line(door, Errand::Command(words), nonce), Vec::new()),
            Self::Look(bytes) => {
                let line = line(door, Errand::Script, nonce);
                let carrying = if door.with_password { None } else { login.carrying(&line, &bytes)? };
                carrying.map_or_else(|| (line, vec![Stdin::Bytes(bytes)]), |line| (line, Vec::new()))
            }
        })
    }

    /// What was sent to somebody who did not read it does not count.
    fn again(&self) {
        if let Self::Run(pieces) = self {
            for piece in pieces {
                if let Stdin::File { sent, .. } = piece {
                    sent.restart();
                }
            }
        }
    }
}
