//! Being recognised by the server: keys are offered until it takes one, and then a person is asked.

mod order;
mod signing;
mod typed;

use std::sync::Arc;

use russh::MethodSet;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::{HashAlg, PublicKey};

use self::order::{Order, Try};
pub(crate) use self::signing::SigningError;
use self::signing::{KeySigner, LockedSigner};
use crate::agent::AgentSigner;
use crate::client::{Client, Ended, Shared};
use crate::connect::{ConnectOptions, Line};
use crate::count::Counter;
use crate::error::{ConnectError, Step, Typed};
use crate::identity::{Identities, Identity, Offer, Signing};
use crate::observer::{self, Observation};
use crate::ssh_config::Method;

/// One login, and what came of it so far.
pub(crate) struct Login<'a> {
    handle: &'a mut Handle<Client>,
    shared: Arc<Shared>,
    counter: Arc<Counter>,
    options: &'a ConnectOptions,
    user: &'a str,
    /// The host and its address, for messages.
    address: &'a str,
    /// What a person's words were tried as.
    typed: Option<Typed>,
    /// The bare keys that were offered.
    offered: Vec<PublicKey>,
}

/// What came of one try.
#[derive(Debug)]
enum Answer {
    Taken,
    Refused {
        methods: Vec<String>,
        /// It was right, and not enough.
        partial: bool,
    },
    /// The server was not asked after all.
    Skipped(String),
    /// The server would take the key, and whoever holds it did not sign.
    Unsigned(String),
    /// There is no use in going on.
    GivenUp(String),
    Gone,
}

/// What is known when no try is left.
#[derive(Default)]
struct Refusal {
    tried: Vec<String>,
    typed: Option<Typed>,
    skipped: Vec<String>,
    /// None if the server has not said yet.
    methods: Option<Vec<String>>,
    partial: bool,
}

impl Answer {
    fn observed(&self, identity: String) -> Observation {
        let answer = match self {
            Self::Taken => observer::Answer::Taken,
            Self::Refused { methods, partial } => {
                observer::Answer::Refused { methods: methods.clone(), partial: *partial }
            }
            Self::Skipped(why) | Self::GivenUp(why) => observer::Answer::NotOffered(why.clone()),
            Self::Unsigned(why) => observer::Answer::Unsigned(why.clone()),
            Self::Gone => observer::Answer::HungUp,
        };
        Observation::Answered { identity, answer }
    }
}

impl<'a> Login<'a> {
    pub(crate) fn new(
        line: &'a mut Line,
        options: &'a ConnectOptions,
        user: &'a str,
        address: &'a str,
    ) -> Self {
        let (shared, counter) = (Arc::clone(&line.shared), Arc::clone(&line.counter));
        Self {
            handle: &mut line.handle,
            shared,
            counter,
            options,
            user,
            address,
            typed: None,
            offered: Vec::new(),
        }
    }

    /// Tries one after the other, and says which key was the first to be taken, if all before it were refused. Each
    /// answer must come within the options' patience.
    pub(crate) async fn run(mut self, identities: &Identities) -> Result<Option<String>, ConnectError> {
        let mut order = Order::new(self.options, &identities.offered);
        let mut refusal = Refusal { skipped: identities.skipped.clone(), ..Refusal::default() };
        let (mut taken, mut all_offered) = (None, true);
        while let Some(next) = order.next(refusal.methods.as_deref()) {
            let (shared, patience) = (Arc::clone(&self.shared), self.options.connect_timeout);
            let answer = shared.within(patience, self.attempt(next)).await.map_err(|_| self.slow())?;
            tracing::debug!(address = self.address, next = ?next.name(), ?answer, "tried");
            self.options.observer.tell(|| answer.observed(next.name()));
            match answer {
                Answer::Taken => return Ok(taken.or_else(|| next.mark()).filter(|_| all_offered)),
                Answer::Refused { methods, partial: true } => {
                    taken = taken.or_else(|| next.mark());
                    refusal.partial = true;
                    refusal.methods = Some(methods);
                    self.typed = None;
                }
                Answer::Refused { methods, partial: false } => {
                    if matches!(next, Try::Key(_))
                        && !methods.iter().any(|name| name == Method::PublicKey.name())
                    {
                        self.offered.clear();
                        order.put_back();
                    } else {
                        refusal.add(next);
                    }
                    refusal.methods = Some(methods);
                    // A mistyped password is not tried in another way, nor asked for again: that could lock the
                    // account.
                    if self.typed.is_some() {
                        break;
                    }
                }
                Answer::Skipped(why) | Answer::Unsigned(why) => {
                    all_offered = false;
                    refusal.skipped.push(why);
                }
                Answer::GivenUp(why) => {
                    refusal.skipped.push(why);
                    break;
                }
                Answer::Gone => {
                    // "Too many authentication failures" and the like: a refusal, not an accident.
                    let Some(Ended::Said(words)) = self.shared.ended() else { return Err(self.lost()) };
                    refusal.add(next);
                    refusal.skipped.push(format!("the server hung up: {words}"));
                    break;
                }
            }
        }
        refusal.skipped.extend(order.held_back());
        refusal.typed = self.typed;
        Err(self.refuse(refusal))
    }

    /// The one place where anything is offered.
    async fn attempt(&mut self, next: Try<'_>) -> Answer {
        match next {
            Try::Nothing => {
                let result = self.handle.authenticate_none(self.user).await;
                result.map_or(Answer::Gone, |result| self.read(result))
            }
            Try::Key(Offer::Key(identity)) => self.offer(identity).await,
            Try::Key(Offer::Sealed(file)) => {
                let unlocking = self.options.keyring.unlock(file, self.options.authentication.prompts);
                match self.shared.asking(unlocking).await {
                    Ok(key) => self.offer(&Identity::of_file(key, file)).await,
                    Err(why) => Answer::Skipped(why),
                }
            }
            Try::Answers => self.answers().await,
            Try::Password => self.password().await,
        }
    }

    async fn offer(&mut self, identity: &Identity) -> Answer {
        // Which key is in a file with a passphrase is known only now.
        if let Some(why) = identity.too_short(self.options.required_rsa_size) {
            return Answer::Skipped(why);
        }
        let hash = match self.hash_for(identity).await {
            Ok(hash) => hash,
            Err(answer) => return answer,
        };
        let mut signer = match self.signer(identity).await {
            Ok(signer) => signer,
            Err(why) => return Answer::Skipped(why),
        };
        let (user, key) = (self.user, identity.key.clone());
        // Which key is in a file is known late.
        if identity.certificate.is_none() {
            if self.offered.iter().any(|offered| offered.key_data() == key.key_data()) {
                return Answer::Skipped(format!("{} was offered before", identity.name));
            }
            self.offered.push(key.clone());
        }
        let result = if let Some(certificate) = identity.certificate.clone() {
            self.handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await
        } else {
            self.handle.authenticate_publickey_with(user, key, hash, &mut signer).await
        };
        match result {
            Ok(result) => self.read(result),
            Err(SigningError::Gone(_)) => Answer::Gone,
            Err(SigningError::Unsigned(why)) => Answer::Unsigned(why),
        }
    }

    async fn signer(&self, identity: &Identity) -> Result<KeySigner, String> {
        let held = match (&identity.signing, &identity.certificate) {
            (Signing::File(key), _) => return Ok(KeySigner::File(Arc::clone(key))),
            (Signing::Locked(file), _) => {
                return Ok(KeySigner::Locked(LockedSigner {
                    file: file.clone(),
                    public: identity.key.clone(),
                    keyring: self.options.keyring.clone(),
                    prompts: self.options.authentication.prompts,
                    shared: Arc::clone(&self.shared),
                }));
            }
            (Signing::AgentByCertificate, Some(certificate)) => AgentIdentity::from(certificate.clone()),
            (Signing::Agent | Signing::AgentByCertificate, _) => AgentIdentity::from(identity.key.clone()),
        };
        let name = &identity.name;
        let socket = self.options.agent_socket.as_deref().ok_or_else(|| format!("{name}: no agent"))?;
        let signer = AgentSigner::connect(socket, held, name.clone(), Arc::clone(&self.shared)).await;
        signer
            .map(|signer| KeySigner::Agent(Box::new(signer)))
            .map_err(|error| format!("{name}: the agent is gone: {error}"))
    }

    /// With which hash an RSA key signs: never SHA-1.
    async fn hash_for(&self, identity: &Identity) -> Result<Option<HashAlg>, Answer> {
        let (rules, is_certified) = (&self.options.algorithms, identity.certificate.is_some());
        let not_listed =
            || Answer::Skipped(format!("{}: PubkeyAcceptedAlgorithms does not list its type", identity.name));
        if !identity.key.key_data().is_rsa() {
            // A file with a passphrase has told its type only now.
            let is_allowed = rules.allows_user_key(&identity.key.algorithm(), is_certified);
            return if is_allowed { Ok(None) } else { Err(not_listed()) };
        }
        let best = match self.handle.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => hash,
            Ok(None) => HashAlg::Sha512,
            Ok(Some(None)) => {
                let why = "the server takes RSA keys only with SHA-1";
                return Err(Answer::Skipped(format!("{}: {why}", identity.name)));
            }
            Err(_) => return Err(Answer::Gone),
        };
        rules.user_key_hash(best, is_certified).map(Some).ok_or_else(not_listed)
    }

    fn read(&self, result: AuthResult) -> Answer {
        match result {
            AuthResult::Success => Answer::Taken,
            AuthResult::Failure { remaining_methods, partial_success } => {
                self.refused(&remaining_methods, partial_success)
            }
        }
    }

    fn refused(&self, methods: &MethodSet, partial: bool) -> Answer {
        // russh reports a lost connection as a refusal without methods.
        if methods.is_empty() && self.handle.is_closed() {
            return Answer::Gone;
        }
        Answer::Refused { methods: methods.iter().map(String::from).collect(), partial }
    }

    fn refuse(&self, refusal: Refusal) -> ConnectError {
        let Refusal { tried, typed, mut skipped, methods, partial } = refusal;
        let methods = methods.unwrap_or_default();
        if let Some(why) = self.options.why_not_asked(&methods).filter(|_| typed.is_none()) {
            skipped.push(why);
        }
        ConnectError::AuthRefused {
            user: self.user.to_owned(),
            host: self.options.target.host.clone(),
            tried,
            typed,
            skipped,
            methods,
            partial,
        }
    }

    fn slow(&self) -> ConnectError {
        ConnectError::Timeout {
            step: Step::Authentication,
            address: self.address.to_owned(),
            seconds: self.options.connect_timeout.as_secs(),
        }
    }

    fn lost(&self) -> ConnectError {
        ConnectError::Lost {
            step: Step::Authentication,
            address: self.address.to_owned(),
            reason: self.shared.reason(),
        }
    }
}

impl Refusal {
    fn add(&mut self, tried: Try<'_>) {
        if let Try::Key(offer) = tried {
            self.tried.push(offer.name());
            self.skipped.extend(offer.doubt());
        }
    }
}
