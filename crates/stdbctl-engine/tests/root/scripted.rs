//! A host that becomes root as a test says: without a shell, and in no time of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use stdbctl_engine::host::{BoxFuture, Ending, HostError, Output};
use stdbctl_engine::root::{Input, Login, Root, SudoPassword};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// What becomes of a line that is to become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It becomes root, and ends after so many seconds.
    Root(u64),
    /// It is never heard of again, from before or behind the question for the password.
    Unheard,
    Silent,
    /// The connection is lost, before or behind the question.
    CutOff,
    Lost,
    /// What asked has ended.
    Killed,
    Refused,
}

pub(crate) struct Scripted {
    name: &'static str,
    fate: Fate,
    wants_password: bool,
    /// How long there is no channel.
    busy: Duration,
    /// What it was given for a password.
    given: Mutex<Vec<String>>,
}

impl Scripted {
    /// One whose sudo wants a password.
    pub(crate) fn new(name: &'static str, fate: Fate) -> Self {
        Self { name, fate, wants_password: true, busy: Duration::ZERO, given: Mutex::default() }
    }

    /// One whose sudo wants none, and that has no channel for so long.
    pub(crate) fn busy(busy: Duration, fate: Fate) -> Self {
        Self { wants_password: false, busy, ..Self::new("host", fate) }
    }

    pub(crate) fn given(&self) -> Vec<String> {
        self.given.lock().unwrap().clone()
    }

    /// How a command ends as root there.
    pub(crate) async fn become_root(&self, root: &Root) -> Result<Ending, HostError> {
        let (output, mut unread) = mpsc::channel(16);
        let drained = async { while unread.recv().await.is_some() {} };
        tokio::join!(root.command(self, "true", output), drained).0
    }

    pub(crate) async fn with(&self, password: &Arc<SudoPassword>) -> Result<Ending, HostError> {
        self.become_root(&Root::new(Some(Arc::clone(password)))).await
    }

    async fn act(&self, line: &str, input: Input, output: mpsc::Sender<Output>) -> Ending {
        let nonce = line.split(' ').find(|word| word.len() == 32).unwrap();
        let say = async |word: &str| {
            output.send(Output::Stdout(format!("@{nonce} {word}\n").into_bytes())).await.unwrap();
        };
        let complain = async |words: &str| output.send(Output::Stderr(words.into())).await.unwrap();
        sleep(self.busy).await;
        drop(input.begun);
        if self.wants_password && input.key.is_none() {
            complain("sudo: a password is required").await;
            return Ending::Status(1);
        }
        match self.fate {
            Fate::Unheard => std::future::pending().await,
            Fate::CutOff => return Ending::Lost("cut".to_owned()),
            _ => {}
        }
        if let Some(key) = input.key {
            say("ask").await;
            let password = key.await.unwrap();
            self.given.lock().unwrap().push(password.expose_secret().to_owned());
        }
        match self.fate {
            Fate::Silent => std::future::pending().await,
            Fate::Lost => return Ending::Lost("cut".to_owned()),
            Fate::Killed => return Ending::Signal("TERM".to_owned()),
            Fate::Refused => complain("sudo: sorry, not today").await,
            Fate::Root(seconds) => {
                say("root").await;
                sleep(Duration::from_secs(seconds)).await;
                return Ending::Status(0);
            }
            Fate::Unheard | Fate::CutOff => {}
        }
        Ending::Status(1)
    }
}

impl Login for Scripted {
    fn host(&self) -> &str {
        self.name
    }

    fn start<'a>(
        &'a self,
        line: &'a str,
        input: Input,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'a, Result<Ending, HostError>> {
        Box::pin(async move { Ok(self.act(line, input, output).await) })
    }
}
