//! Scripts of a verb's own, which is no task graph: publishing, asking a database. They answer with the same
//! records, and those that change something do it under the same lock, as the scripts of a task graph.
//!
//! A script runs as root under any POSIX sh with `set -u`, `LC_ALL=C`, a fixed `PATH` and `umask 077`. It calls
//! `rec KIND DATA` to answer; data is text without NUL, so what is binary goes as base64. Its standard input holds
//! the payloads, one after the other.

use crate::conversation::{Conversation, ConversationError};
use crate::failure::Failure;
use crate::host::{Ending, Host, Stdin};
use crate::observe::hex;
use crate::root::RootError;
use crate::script::framed;

pub use crate::record::Record;
pub use crate::sh::{condense, quote};

/// Who changes a host, for whoever finds it locked.
#[derive(Debug, Clone, Copy)]
pub struct Changing<'a> {
    /// Who runs this and from where: `ada@laptop`.
    pub operator: &'a str,
    /// The verb, as typed.
    pub verb: &'a str,
}

/// `name` set to `value`, as a line of a script.
pub fn assign(name: &str, value: &str) -> String {
    format!("{name}={}\n", quote(value))
}

/// Runs a script that only looks and holds nothing secret: the host may carry it in the command's line. If the
/// connection is lost, it is run once more over a new one.
///
/// # Errors
/// If it did not run to its last line.
pub async fn look(host: &dyn Host, script: &str) -> Result<Vec<Record>, Failure> {
    match look_once(host, script).await {
        Err(Failure::Lost(why)) => {
            reconnect(host, why).await.map_err(looking)?;
            look_once(host, script).await.map_err(looking)
        }
        looked => looked,
    }
}

async fn look_once(host: &dyn Host, script: &str) -> Result<Vec<Record>, Failure> {
    let nonce = random_name()?;
    let script = asking(&nonce, script);
    let said = whole(Conversation::hold(&nonce, |output| host.look(script, output), |_| ()).await)?;
    Ok(said.records)
}

/// Like [`look`], for a script that comes on standard input, and its payloads after it.
///
/// # Errors
/// As [`look`].
pub async fn ask(host: &dyn Host, script: &str, payloads: Vec<Stdin>) -> Result<Vec<Record>, Failure> {
    match run(host, script, payloads.clone()).await {
        Err(Failure::Lost(why)) => {
            reconnect(host, why).await.map_err(looking)?;
            run(host, script, payloads).await.map_err(looking)
        }
        asked => asked,
    }
}

/// Like [`ask`], for a script of which nobody knows what it changes: it is run at most once.
///
/// # Errors
/// As [`look`]; [`Failure::Unknown`] if the connection is lost.
pub async fn ask_once(host: &dyn Host, script: &str, payloads: Vec<Stdin>) -> Result<Vec<Record>, Failure> {
    run(host, script, payloads).await.map_err(unknown)
}

/// What a loss means to a script that may have changed something.
fn unknown(failure: Failure) -> Failure {
    match failure {
        Failure::Lost(why) => Failure::Unknown(why),
        failure => failure,
    }
}

/// What a loss means to a script that only looks.
fn looking(failure: Failure) -> Failure {
    match failure {
        Failure::Lost(_) | Failure::NotReconnected { .. } => Failure::Looking(Box::new(failure)),
        failure => failure,
    }
}

async fn run(host: &dyn Host, script: &str, payloads: Vec<Stdin>) -> Result<Vec<Record>, Failure> {
    let nonce = random_name()?;
    let stdin = with_payloads(asking(&nonce, script), payloads);
    let said = whole(Conversation::hold(&nonce, |output| host.run(stdin, output), |_| ()).await)?;
    Ok(said.records)
}

/// Makes the connection anew that was lost for this reason, if that has not been done before.
async fn reconnect(host: &dyn Host, why: String) -> Result<(), Failure> {
    let Some(connecting) = host.reconnect() else { return Err(Failure::Lost(why)) };
    tracing::warn!("{}: the connection was lost: {why}; connecting again", host.name());
    connecting.await.map_err(|source| Failure::NotReconnected { lost: why, source })
}

/// Like [`ask_once`] without payloads, for a script that may go on for ever and be silent for long. No record is kept.
///
/// # Errors
/// As [`look`].
pub async fn follow(host: &dyn Host, script: &str, on_record: impl FnMut(&Record)) -> Result<(), Failure> {
    let nonce = random_name()?;
    let stdin = vec![Stdin::Bytes(asking(&nonce, script))];
    whole(Conversation::follow(&nonce, |output| host.run(stdin, output), on_record).await)
        .map_err(looking)?;
    Ok(())
}

/// Like [`ask_once`], for a script that changes something: it defines `main`, which runs under the host's lock and to its
/// end even if the connection is lost. There it has `$run_id`, a private directory `$run`, and may call
/// `tell KIND DATA`, a record unless nobody listens any more, and `ticking COMMAND...`, which it must for whatever
/// takes longer than a few seconds.
///
/// # Errors
/// As [`ask_once`]; [`Failure::Locked`] if another run holds the lock.
pub async fn change(
    host: &dyn Host,
    who: Changing<'_>,
    script: &str,
    payloads: Vec<Stdin>,
    on_record: impl FnMut(&Record),
) -> Result<Vec<Record>, Failure> {
    let run = RunKey::new(who.operator, who.verb)?;
    let stdin = with_payloads(changing(&run, script), payloads);
    let said = whole(Conversation::hold(&run.nonce, |output| host.run(stdin, output), on_record).await)
        .map_err(unknown)?;
    refused(&said.records)?;
    Ok(said.records)
}

fn asking(nonce: &str, script: &str) -> Vec<u8> {
    let record = condense(include_str!("sh/record.sh"));
    framed(&format!("nonce={nonce}\n{record}{script}\nrec end ''\n"))
}

fn changing(run: &RunKey, script: &str) -> Vec<u8> {
    let RunKey { nonce, id, holder } = run;
    let parts = condense(concat!(
        include_str!("sh/record.sh"),
        include_str!("sh/lock.sh"),
        include_str!("sh/change.sh")
    ));
    let holder = quote(holder);
    framed(&format!("nonce={nonce} run_id={id} holder={holder}\n{parts}{script}\nchange\nrec end ''\n"))
}

fn with_payloads(script: Vec<u8>, payloads: Vec<Stdin>) -> Vec<Stdin> {
    std::iter::once(Stdin::Bytes(script)).chain(payloads).collect()
}

/// What a changing run is known by.
pub(crate) struct RunKey {
    pub(crate) nonce: String,
    /// Sorts by time.
    pub(crate) id: String,
    pub(crate) holder: String,
}

impl RunKey {
    pub(crate) fn new(operator: &str, verb: &str) -> Result<Self, Failure> {
        let nonce = random_name()?;
        let now = jiff::Timestamp::now();
        let id = format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), nonce.get(..8).unwrap_or(&nonce));
        let holder = format!("{operator}, {verb} since {}", now.strftime("%Y-%m-%d %H:%M:%S UTC"));
        Ok(Self { nonce, id, holder })
    }
}

/// A script's run that went to its last line; anything else is a failure of its own.
pub(crate) fn whole(said: Result<Conversation, ConversationError>) -> Result<Conversation, Failure> {
    let said = said.map_err(|error| match error {
        ConversationError::Host(error) if RootError::is_behind(&error) => Failure::Root(error),
        ConversationError::Host(error) => Failure::NotRun(error),
        ConversationError::Record(error) => Failure::Protocol(error.to_string()),
        silent @ ConversationError::Silent => Failure::Silent(silent.to_string()),
    })?;
    if said.is_whole() {
        return Ok(said);
    }
    Err(match said.ending {
        Ending::Lost(why) => Failure::Lost(why),
        Ending::Status(status) => Failure::Protocol(format!(
            "the script ended early with status {status}: {}",
            last_line(&said.stderr)
        )),
        Ending::Signal(name) => Failure::Protocol(format!("the script was ended by SIG{name}")),
    })
}

/// Why the host did not begin with the changes.
pub(crate) fn refused(records: &[Record]) -> Result<(), Failure> {
    let first = |kind: &str| records.iter().find(|record| record.kind == kind);
    if let Some(record) = first("locked") {
        return Err(Failure::Locked(record.text()));
    }
    if let Some(record) = first("failed") {
        return Err(Failure::Storage(record.text()));
    }
    if first("elsewhere").is_some() {
        return Err(Failure::Elsewhere);
    }
    if first("stale").is_some() {
        return Err(Failure::Stale);
    }
    Ok(())
}

/// A name nobody can guess: 16 random bytes in hex.
pub(crate) fn random_name() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Protocol(format!("no random numbers: {error}")))?;
    Ok(hex(&bytes))
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().to_owned()
}
