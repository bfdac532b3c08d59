//! What russh asks and tells this side while a connection lives.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, Names};
use tokio::sync::oneshot;
use tokio::time::{error::Elapsed, timeout};

use crate::host_key::{HostKeyCheck, HostKeyError, Trust, type_of};
use crate::observer::{Algorithms, Observation, Observer};
use crate::printable::printable;

/// How a connection ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// The server said goodbye, and why.
    Said(String),
    /// It broke.
    Broke(String),
}

/// What the two ends of a connection, russh's task and ours, know together.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Odd while a person is being asked; each question makes it two more.
    questions: AtomicU64,
    ended: Mutex<Option<Ended>>,
    /// With what the server was to sign when the connection was made.
    agreed: OnceLock<Algorithm>,
}

impl Shared {
    /// Waits for a person: meanwhile no deadline of [`Shared::within`] runs.
    pub(crate) async fn asking<F: Future>(&self, question: F) -> F::Output {
        self.questions.fetch_add(1, Ordering::AcqRel);
        let answer = question.await;
        self.questions.fetch_add(1, Ordering::AcqRel);
        answer
    }

    /// Whether a person has been asked at all.
    pub(crate) fn has_asked(&self) -> bool {
        self.questions.load(Ordering::Acquire) > 0
    }

    /// Waits for a server for as long as `patience` lasts, which starts anew when a person has been asked.
    pub(crate) async fn within<F: Future>(&self, patience: Duration, step: F) -> Result<F::Output, Elapsed> {
        let mut step = pin!(step);
        let mut questions = self.questions.load(Ordering::Acquire);
        loop {
            match timeout(patience, &mut step).await {
                Ok(result) => return Ok(result),
                Err(elapsed) => {
                    let now = self.questions.load(Ordering::Acquire);
                    if now == questions && now.is_multiple_of(2) {
                        return Err(elapsed);
                    }
                    questions = now;
                }
            }
        }
    }

    /// None before the first key exchange is over.
    pub(crate) fn agreed(&self) -> Option<&Algorithm> {
        self.agreed.get()
    }

    fn end(&self, ended: Ended) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(ended);
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server did not say why.
    pub(crate) fn ended_silently(&self) -> bool {
        !matches!(self.ended(), Some(Ended::Said(_)))
    }

    /// Why the connection ended, fit for a terminal.
    pub(crate) fn reason(&self) -> String {
        match self.ended() {
            Some(Ended::Said(words)) if words.is_empty() => "the server hung up".to_owned(),
            Some(Ended::Said(words)) => format!("the server hung up: {words}"),
            Some(Ended::Broke(reason)) => reason,
            None => "the server closed the connection".to_owned(),
        }
    }
}

/// Why a connection could not be set up, as far as russh's task goes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    /// It has opened a channel. Nothing of what may lead to one was asked for, and russh by itself takes every one.
    #[error("the server opened a channel that nobody had asked for")]
    Uninvited,
}

/// Hangs up on a server that opens a channel of one of these kinds, whatever it says of it.
macro_rules! hang_up_on {
    ($($kind:ident($($detail:ty),*);)*) => {$(
        async fn $kind(
            &mut self,
            _: Channel<Msg>,
            $(_: $detail,)*
            _: ChannelOpenHandle,
            _: &mut Session,
        ) -> Result<(), Self::Error> {
            Err(ClientError::Uninvited)
        }
    )*};
}

pub(crate) struct Client {
    pub(crate) check: HostKeyCheck,
    /// The type of the key that the server has shown, until it is known on which they have agreed.
    pub(crate) shown: Option<Algorithm>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) observer: Observer,
    /// Where the server's list of its keys goes, the first time.
    pub(crate) announce: Option<oneshot::Sender<Vec<PublicKey>>>,
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        if self.check.check(shown, &self.shared).await? != Trust::OfUser {
            self.announce = None;
        }
        self.shown = Some(type_of(shown));
        self.observer.tell(|| Observation::Recognised(self.check.recognised(shown)));
        Ok(true)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(shown) = self.shown.take() {
            self.check.check_agreed(&names.key, &shown)?;
            self.shared.agreed.set(names.key.clone()).ok();
        }
        self.observer.tell(|| Observation::Agreed(Algorithms::new(names)));
        Ok(())
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<PublicKey>,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(announce) = self.announce.take() {
            announce.send(keys).ok();
        }
        Ok(())
    }

    hang_up_on! {
        server_channel_open_session();
        server_channel_open_agent_forward();
        server_channel_open_x11(&str, u32);
        server_channel_open_forwarded_tcpip(&str, u32, &str, u32);
        server_channel_open_forwarded_streamlocal(&str);
        server_channel_open_direct_tcpip(&str, u32, &str, u32);
        server_channel_open_direct_streamlocal(&str);
        server_channel_open_unknown();
    }

    /// Of any other kind too: what is accepted comes to the last of those.
    async fn should_accept_unknown_server_channel(&mut self, _: ChannelId, _: &str) -> bool {
        true
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        self.shared.end(match reason {
            DisconnectReason::ReceivedDisconnect(said) => Ended::Said(printable(said.message)),
            DisconnectReason::Error(ClientError::Ssh(error)) => Ended::Broke(describe(&error)),
            DisconnectReason::Error(error) => Ended::Broke(error.to_string()),
        });
        Ok(())
    }
}

/// russh's errors in words that say what happened.
pub(crate) fn describe(error: &russh::Error) -> String {
    match error {
        russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => {
            "the server stopped answering".to_owned()
        }
        russh::Error::Disconnect | russh::Error::HUP => "the server closed the connection".to_owned(),
        russh::Error::IO(error) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            std::io::ErrorKind::TimedOut => "the server stopped answering".to_owned(),
            std::io::ErrorKind::ConnectionAborted => "it was given up".to_owned(),
            _ => error.to_string(),
        },
        russh::Error::NoAuthMethod => "the server takes no login".to_owned(),
        other => printable(other.to_string()),
    }
}
