//! A server that lets in whoever gives it the proofs that a test wants, one after the other.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{Auth, Config, Handler, Response, VerifiedPublicKey, run_stream};
use russh::{MethodKind, MethodSet};
use secrecy::SecretString;
use stdbctl_ssh::{ConnectOptions, Keyring, Question, UnknownKey};
use tokio::net::TcpListener;

use crate::sshd::{generate_key, options_for, put_forward};

pub(crate) const PASSWORD: &str = "pass'word $1";

/// A question, whether it is echoed, and the right answer.
pub(crate) type Prompt = (&'static str, bool, &'static str);

/// What a server says and asks at a time.
#[derive(Clone, Default)]
pub(crate) struct Round {
    pub(crate) name: &'static str,
    pub(crate) instructions: &'static str,
    pub(crate) prompts: Vec<Prompt>,
}

/// What a server wants.
#[derive(Clone, Default)]
pub(crate) struct Wish {
    /// These proofs, in this order.
    pub(crate) proofs: Vec<MethodKind>,
    /// What it says that it takes, and never does.
    pub(crate) pretended: Vec<MethodKind>,
    /// What it asks interactively.
    pub(crate) rounds: Vec<Round>,
    /// It never comes to an end.
    pub(crate) for_ever: bool,
    /// It hangs up on the first visitor after this time.
    pub(crate) grace: Option<Duration>,
    /// How long it takes to refuse anything but the first question for what it takes.
    pub(crate) refuses_after: Duration,
}

/// A running server; it ends with the test's runtime.
pub(crate) struct Asking {
    pub(crate) port: u16,
    tried: Arc<Mutex<Vec<String>>>,
}

impl Asking {
    pub(crate) async fn start(wish: Wish) -> Self {
        let directory = tempfile::tempdir().unwrap();
        generate_key(&directory.path().join("key"), "ed25519", "");
        let text = std::fs::read_to_string(directory.path().join("key")).unwrap();
        let config = Arc::new(Config {
            keys: vec![PrivateKey::from_openssh(text).unwrap()],
            auth_rejection_time: wish.refuses_after,
            auth_rejection_time_initial: Some(Duration::ZERO),
            nodelay: true,
            ..Config::default()
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tried = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&tried);
        tokio::spawn(async move {
            let mut grace = wish.grace;
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let visit = Visit { wish: wish.clone(), tried: Arc::clone(&log), done: 0, round: 0 };
                let (config, grace) = (Arc::clone(&config), grace.take());
                let (near, mut far) = tokio::io::duplex(1 << 16);
                tokio::spawn(async move {
                    if let Ok(session) = run_stream(config, near, visit).await {
                        drop(session.await);
                    }
                });
                tokio::spawn(async move {
                    let mut stream = stream;
                    let carry = tokio::io::copy_bidirectional(&mut stream, &mut far);
                    match grace {
                        Some(grace) => drop(tokio::time::timeout(grace, carry).await),
                        None => drop(carry.await),
                    }
                });
            }
        });
        Self { port, tried }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Options with a person who gives these answers, however long that takes.
    pub(crate) fn options(&self, person: &Person) -> ConnectOptions {
        let mut options = options_for(self.port);
        options.configured_identities = Some(Vec::new());
        options.unknown_key = UnknownKey::AcceptNew;
        options.keyring = person.keyring.clone();
        options.keep_alive = Duration::from_secs(3600);
        options
    }

    /// What it was tried with, in order.
    pub(crate) fn tried(&self) -> Vec<String> {
        self.tried.lock().unwrap().clone()
    }
}

struct Visit {
    wish: Wish,
    tried: Arc<Mutex<Vec<String>>>,
    /// How many proofs were given.
    done: usize,
    round: usize,
}

impl Visit {
    fn log(&self, tried: String) {
        self.tried.lock().unwrap().push(tried);
    }

    fn judge(&mut self, method: MethodKind, is_right: bool) -> Auth {
        let partial_success = is_right && self.wish.proofs.get(self.done) == Some(&method);
        self.done += usize::from(partial_success);
        if self.done == self.wish.proofs.len() {
            return Auth::Accept;
        }
        let next = self.wish.proofs.get(self.done).into_iter().chain(&self.wish.pretended);
        let methods: Vec<_> = next.copied().collect();
        Auth::Reject { proceed_with_methods: Some(MethodSet::from(&methods[..])), partial_success }
    }

    fn ask(&self) -> Auth {
        let round = self.wish.rounds[self.round % self.wish.rounds.len()].clone();
        let prompts: Vec<_> =
            round.prompts.iter().map(|(prompt, echo, _)| (Cow::Borrowed(*prompt), *echo)).collect();
        Auth::Partial {
            name: round.name.into(),
            instructions: round.instructions.into(),
            prompts: prompts.into(),
        }
    }
}

impl Handler for Visit {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        self.log("none".to_owned());
        Ok(self.judge(MethodKind::None, true))
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Self::Error> {
        self.log(format!("password {password}"));
        Ok(self.judge(MethodKind::Password, password == PASSWORD))
    }

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        self.log("publickey".to_owned());
        Ok(self.judge(MethodKind::PublicKey, true))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(response) = response else {
            self.log("keyboard-interactive".to_owned());
            self.round = 0;
            let is_taken = self.wish.proofs.get(self.done) == Some(&MethodKind::KeyboardInteractive);
            return Ok(if is_taken {
                self.ask()
            } else {
                self.judge(MethodKind::KeyboardInteractive, false)
            });
        };
        let answers: Vec<_> = response.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
        self.log(format!("answers {}", answers.join("|")));
        let rounds = self.wish.rounds.len();
        let right: Vec<_> =
            self.wish.rounds[self.round % rounds].prompts.iter().map(|(_, _, right)| *right).collect();
        self.round += 1;
        if self.wish.for_ever || (answers == right && self.round < rounds) {
            return Ok(self.ask());
        }
        Ok(self.judge(MethodKind::KeyboardInteractive, answers == right))
    }
}

/// Somebody who is asked, and gives these answers.
pub(crate) struct Person {
    pub(crate) keyring: Keyring,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Person {
    pub(crate) fn answering(answers: &[&str]) -> Self {
        Self::answering_once(|_| async {}, answers)
    }

    /// One who thinks for so long before each answer. No test need wait for it: the clock is put forward.
    pub(crate) fn answering_after(thinking: Duration, answers: &[&str]) -> Self {
        let think = move |_| async move {
            // In steps: a deadline that is made anew meanwhile passes as well, and who has one gets to act on it.
            for _ in 0..20 {
                put_forward(thinking / 20).await;
            }
        };
        Self::answering_once(think, answers)
    }

    /// One who does nothing about the first question.
    pub(crate) fn asleep_at_first(answers: &[&str]) -> Self {
        let think = |number| async move {
            if number == 0 {
                std::future::pending::<()>().await;
            }
        };
        Self::answering_once(think, answers)
    }

    /// One who gives each answer once this has come to its end, which knows how many questions there were before.
    pub(crate) fn answering_once<F>(
        think: impl Fn(usize) -> F + Send + Sync + 'static,
        answers: &[&str],
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let left: VecDeque<_> = answers.iter().map(|&answer| SecretString::from(answer)).collect();
        let left = Arc::new(Mutex::new(left));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let questions = Arc::clone(&asked);
        let ask = move |question| {
            let mut questions = questions.lock().unwrap();
            let thinking = think(questions.len());
            questions.push(question);
            let left = Arc::clone(&left);
            let answer = async move {
                thinking.await;
                let answer = left.lock().unwrap().pop_front();
                answer.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "none was typed"))
            };
            Box::pin(answer) as stdbctl_ssh::Answering
        };
        Self { keyring: Keyring::new(Some(Arc::new(ask)), None), asked }
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}
