//! Questions to the operator. Only asked where [`crate::console::Console::can_ask`].

use std::io::{self, Write as _};

use dialoguer::{Confirm, Input};
use indicatif::MultiProgress;
use secrecy::SecretString;
use stdbctl_ssh::HostKeyPrompt;
use tokio::sync::{Mutex, MutexGuard};

use crate::report::clean;
use crate::typed_line::{self, Echo};

/// Held by the question that is being asked: meanwhile the screen is the person's.
static ASKING: Mutex<()> = Mutex::const_new(());

/// Waits until no question is being asked. Whoever draws while hosts are connected to waits here first: drawing itself
/// would wait for the person, and every connection with it.
pub(crate) async fn answered_all() {
    drop(ASKING.lock().await);
}

/// Asks a question as far as the others are concerned.
#[cfg(test)]
pub(crate) async fn asking() -> MutexGuard<'static, ()> {
    ASKING.lock().await
}

/// Whether a question is being asked.
pub(crate) fn is_asking() -> bool {
    ASKING.try_lock().is_err()
}

/// Shows `text` and asks a question that is answered with yes or no. Bars on the screen stand aside meanwhile.
///
/// # Errors
/// If the terminal fails, or the operator interrupts.
pub(crate) async fn confirm(screen: MultiProgress, text: String, question: String) -> io::Result<bool> {
    // Waiting for a key must not keep connections from being kept alive.
    let asking = ASKING.lock().await;
    let answer = tokio::task::spawn_blocking(move || ask(&asking, &screen, &text, question));
    answer.await.map_err(io::Error::other)?
}

/// Shows `text` and asks for a name to be typed. Anything else, and nothing at all, is a no.
///
/// # Errors
/// If the terminal fails, or the operator interrupts.
pub(crate) async fn type_name(
    screen: MultiProgress,
    text: String,
    question: String,
    name: String,
) -> io::Result<bool> {
    let asking = ASKING.lock().await;
    let answer = tokio::task::spawn_blocking(move || {
        let _asking = asking;
        screen.suspend(|| {
            anstream::stderr().write_all(text.as_bytes())?;
            let typed = Input::<String>::new().with_prompt(question).allow_empty(true).interact_text();
            answered(typed.map(|typed| typed.trim() == name))
        })
    });
    answer.await.map_err(io::Error::other)?
}

/// Asks for a line that is not shown while it is typed.
///
/// # Errors
/// If the terminal fails, or the operator types none. Whoever interrupts gets no answer: that ends the run.
pub(crate) async fn secret(screen: MultiProgress, question: String) -> io::Result<SecretString> {
    typed(screen, question, Echo::Off).await
}

/// Asks for a line that is shown while it is typed.
///
/// # Errors
/// As [`secret`].
pub(crate) async fn line(screen: MultiProgress, question: String) -> io::Result<SecretString> {
    typed(screen, question, Echo::On).await
}

async fn typed(screen: MultiProgress, question: String, echo: Echo) -> io::Result<SecretString> {
    let asking = ASKING.lock().await;
    let answer = tokio::task::spawn_blocking(move || {
        let typed = screen.suspend(|| {
            let ask = || anstream::stderr().write_all(clean::text(&question).as_bytes());
            let typed = typed_line::read(echo, ask);
            if echo == Echo::Off || typed.is_err() {
                anstream::stderr().write_all(b"\n")?;
            }
            typed
        });
        match &typed {
            // The run ends: those that wait to be asked must not be.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => std::mem::forget(asking),
            _ => drop(asking),
        }
        typed
    });
    match answer.await.map_err(io::Error::other)? {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => std::future::pending().await,
        answer => answer,
    }
}

/// Shows `text` above whatever moves on the screen.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn show(screen: &MultiProgress, text: &str) -> io::Result<()> {
    screen.suspend(|| anstream::stderr().write_all(text.as_bytes()))
}

/// Asks whether a host key that is not known is to be trusted from now on. Blocks; no answer is a no.
pub(crate) fn trust(screen: &MultiProgress, key: &HostKeyPrompt) -> bool {
    let HostKeyPrompt { host, address, key_type, fingerprint, .. } = key;
    let whom = match address {
        Some(address) if address.ip().to_string() != *host => format!("{host} ({address})"),
        _ => host.clone(),
    };
    let text = format!("The host key of {whom} is not known:\n  {key_type} {fingerprint}\n");
    let question = "Is it the right one, to be trusted from now on?".to_owned();
    ask(&ASKING.blocking_lock(), screen, &clean::text(&text), question).unwrap_or(false)
}

fn ask(_: &MutexGuard<'_, ()>, screen: &MultiProgress, text: &str, question: String) -> io::Result<bool> {
    screen.suspend(|| {
        anstream::stderr().write_all(text.as_bytes())?;
        let asked = Confirm::new().with_prompt(question).default(false).wait_for_newline(true).interact();
        answered(asked)
    })
}

/// A question that was interrupted keeps its line to itself.
fn answered(answer: dialoguer::Result<bool>) -> io::Result<bool> {
    answer.map_err(|dialoguer::Error::IO(error)| {
        drop(writeln!(anstream::stderr()));
        error
    })
}
