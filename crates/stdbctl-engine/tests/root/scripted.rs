//! A host whose sudo wants a password, and that does with it what a test says: without a shell, and in no time.

use std::sync::{Arc, Mutex};

use secrecy::ExposeSecret as _;
use stdbctl_engine::host::{BoxFuture, Ending, HostError, Output};
use stdbctl_engine::root::{Input, Login, Root, SudoPassword};
use tokio::sync::mpsc;

/// What becomes of a line that is to become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It asks for the password, becomes root and ends.
    Root,
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
    /// What it was given for a password.
    given: Mutex<Vec<String>>,
}

impl Scripted {
    pub(crate) fn new(name: &'static str, fate: Fate) -> Self {
        Self { name, fate, given: Mutex::default() }
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
        let Some(key) = input.key else {
            complain("sudo: a password is required").await;
            return Ending::Status(1);
        };
        match self.fate {
            Fate::Unheard => std::future::pending().await,
            Fate::CutOff => return Ending::Lost("cut".to_owned()),
            _ => {}
        }
        say("ask").await;
        let password = key.await.unwrap();
        self.given.lock().unwrap().push(password.expose_secret().to_owned());
        match self.fate {
            Fate::Silent => std::future::pending().await,
            Fate::Lost => return Ending::Lost("cut".to_owned()),
            Fate::Killed => return Ending::Signal("TERM".to_owned()),
            Fate::Refused => complain("sudo: sorry, not today").await,
            Fate::Root => {
                say("root").await;
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
