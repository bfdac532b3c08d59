//! Connecting again to a host whose connection was lost: what restarts its sshd is given a moment, and nothing is
//! hammered.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::connect::{ConnectOptions, connect};
use crate::error::ConnectError;
use crate::forward::ForwardError;
use crate::session::Session;

/// How long a host that refuses the connection is left alone before the second try and the third. With the first
/// connection and one more that may be needed to prove something, all stay below the six in 30 s that
/// `ufw limit` allows.
const PAUSES: [Duration; 2] = [Duration::from_millis(1500), Duration::from_secs(5)];

/// Connects and logs in as [`connect`] does, to a host that was there a moment ago. One where nobody takes the
/// connection, or that hangs up before the login, may be restarting its sshd: it is tried three times at most, and
/// not for longer than a step may take. Whatever else fails is final.
///
/// # Errors
/// As [`connect`].
pub async fn reconnect(options: ConnectOptions) -> Result<Session, ConnectError> {
    let end = Instant::now() + options.connect_timeout;
    let options = ConnectOptions { retries: 0, ..options };
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match connect(options.clone()).await {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        let pause = pauses.next().filter(|pause| Instant::now() + *pause < end && is_restart(&error));
        let Some(pause) = pause else { return Err(error) };
        tracing::debug!(host = options.target.host, %error, ?pause, "not back yet");
        sleep(pause).await;
    }
}

/// Whether sshd looks like this from outside while it is restarted.
fn is_restart(error: &ConnectError) -> bool {
    error.is_early_drop() || is_refused(error)
}

fn is_refused(error: &ConnectError) -> bool {
    match error {
        ConnectError::Tcp { source, .. } => source.kind() == io::ErrorKind::ConnectionRefused,
        // Gone is a host on the way that was lost with all behind it, which is noticed only now.
        ConnectError::Forward { source, .. } => {
            matches!(source, ForwardError::Unreachable { .. } | ForwardError::Gone(_))
        }
        // One on the way that hangs up has been tried several times already.
        ConnectError::Hop { source, .. } => is_refused(source),
        _ => false,
    }
}
