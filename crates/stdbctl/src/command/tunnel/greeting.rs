//! Whether SpacetimeDB answers through a session, and which one it is.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde::Deserialize;
use stdbctl_ssh::{ForwardError, Session};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::report::clean;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// More of an answer is not read.
const LARGEST: u64 = 64 * 1024;

/// Why it is not known to answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error("the connection to it broke")]
    Io(#[from] io::Error),
    #[error("it took a connection and then said nothing for {} s", PATIENCE.as_secs())]
    Silent,
    #[error("{path} answers `{said}`: is it SpacetimeDB that listens there?")]
    Other { path: &'static str, said: String },
}

/// What `/v1/health` answers.
#[derive(Debug, Deserialize)]
struct Health {
    version: String,
}

/// Asks for its version, and whether it serves.
pub(super) async fn version(session: &Session, far: SocketAddrV4) -> Result<String, NoAnswer> {
    let (_, health) = tokio::try_join!(answer(session, far, "/v1/ping"), answer(session, far, "/v1/health"))?;
    match serde_json::from_str::<Health>(&health) {
        Ok(health) => Ok(clean::line(&health.version)),
        Err(_) => Err(NoAnswer::Other { path: "/v1/health", said: first_line(&health) }),
    }
}

/// The body of a good answer.
async fn answer(session: &Session, far: SocketAddrV4, path: &'static str) -> Result<String, NoAnswer> {
    let answer = timeout(PATIENCE, ask(session, far, path)).await.map_err(|_| NoAnswer::Silent)??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(NoAnswer::Other { path, said: first_line(head) }),
    }
}

/// One request in the oldest HTTP there is: its answer comes in one piece and ends with the connection.
async fn ask(session: &Session, far: SocketAddrV4, path: &str) -> Result<String, NoAnswer> {
    let mut stream = session.forward(&far.ip().to_string(), far.port()).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {far}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn first_line(text: &str) -> String {
    clean::line(text.lines().next().unwrap_or_default()).chars().take(80).collect()
}
