//! Connecting again to a host whose connection was lost: what restarts its sshd is given a moment, and so is a laptop
//! that has just woken up or changed its network. Nothing is hammered.

use std::future::Future;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::connect::{ConnectOptions, connect};
use crate::error::{ConnectError, Step};
use crate::forward::ForwardError;
use crate::hops::Connection;
use crate::session::Session;

/// How long a host that refuses the connection is left alone before the second try and the third. With the first
/// connection and one more that may be needed to prove something, all stay below the six in 30 s that
/// `ufw limit` allows.
const PAUSES: [Duration; 2] = [Duration::from_millis(1500), Duration::from_secs(5)];
/// How long this side is given to find its network again: the host notices nothing of such tries.
const OFFLINE_PAUSE: Duration = Duration::from_millis(1500);
/// What a `ProxyCommand` says that has not come through, the C library's words and those of `ssh`.
const NO_WAY: [&str; 7] = [
    "Could not resolve hostname",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "No route to host",
    "Connection refused",
    "timed out",
];

/// Connects and logs in as [`connect`] does, to a host that was there a moment ago. One where nobody takes the
/// connection, or that hangs up before the login, may be restarting its sshd: it is tried three times at most. A
/// network that is not there, at the first connection a matter of spelling, may be back in a moment. No try begins
/// later than a step may take after the first has failed. Whatever else fails is final.
///
/// # Errors
/// As [`connect`].
pub async fn reconnect(options: ConnectOptions) -> Result<Session, ConnectError> {
    let options = ConnectOptions { retries: 0, ..options };
    let before = Arc::new(options.hops.known(&options.route));
    until_back(options.connect_timeout, || attempt(options.clone(), Arc::clone(&before))).await
}

async fn attempt(
    options: ConnectOptions,
    before: Arc<Vec<Arc<Connection>>>,
) -> Result<Session, ConnectError> {
    let hops = options.hops.clone();
    let result = connect(options).await;
    if result.as_ref().is_err_and(is_stuck) {
        // The host on the way may be as lost as this one was, and nobody has noticed.
        hops.forget(&before);
    }
    result
}

async fn until_back<T, A: Future<Output = Result<T, ConnectError>>>(
    patience: Duration,
    attempt: impl Fn() -> A,
) -> Result<T, ConnectError> {
    let (mut pauses, mut end) = (PAUSES.into_iter(), None);
    loop {
        let error = match attempt().await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        let now = Instant::now();
        let end = *end.get_or_insert(now + patience);
        let pause = match () {
            () if is_offline(&error) => Some(OFFLINE_PAUSE),
            () if is_restart(&error) => pauses.next(),
            () => None,
        };
        let Some(pause) = pause.filter(|pause| now + *pause < end) else { return Err(error) };
        tracing::debug!(%error, ?pause, "not back yet");
        sleep(pause).await;
    }
}

/// Whether nothing has got as far as the host, or the first host on the way: this side has no network, or another.
fn is_offline(error: &ConnectError) -> bool {
    match error {
        ConnectError::Resolve { .. } | ConnectError::Timeout { step: Step::Resolve, .. } => true,
        ConnectError::Tcp { source, .. } => matches!(
            source.kind(),
            ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable
        ),
        ConnectError::Hop { source, .. } => is_offline(source),
        _ => false,
    }
}

/// Whether sshd looks like this from outside while it is restarted.
fn is_restart(error: &ConnectError) -> bool {
    error.is_early_drop() || is_unreachable(error)
}

fn is_unreachable(error: &ConnectError) -> bool {
    match error {
        ConnectError::Tcp { .. } | ConnectError::Timeout { step: Step::Tcp, .. } => true,
        // Gone is a host on the way that was lost with all behind it, which is noticed only now.
        ConnectError::Forward { source, .. } => {
            matches!(
                source,
                ForwardError::Unreachable { .. } | ForwardError::Gone(_) | ForwardError::Timeout { .. }
            )
        }
        ConnectError::ProxyCommand { words: Some(words), .. } => NO_WAY.iter().any(|no| words.contains(no)),
        // One on the way that hangs up has been tried several times already.
        ConnectError::Hop { source, .. } => is_unreachable(source),
        _ => false,
    }
}

/// Whether a host on the way has not answered at all.
fn is_stuck(error: &ConnectError) -> bool {
    match error {
        ConnectError::Forward { source, .. } => matches!(source, ForwardError::Timeout { .. }),
        ConnectError::Hop { source, .. } => is_stuck(source),
        _ => false,
    }
}

#[cfg(test)]
#[path = "reconnect_tests.rs"]
mod tests;
