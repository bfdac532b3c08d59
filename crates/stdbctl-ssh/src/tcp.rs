//! From a name to one TCP connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::error::{ConnectError, Step};
use crate::target::Target;

/// How long one address may take before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address of the target that answers. At most one connection is left.
pub(crate) async fn dial(
    target: &Target,
    address: Option<IpAddr>,
    patience: Duration,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let slow =
        |step| ConnectError::Timeout { step, address: target.to_string(), seconds: patience.as_secs() };
    let addresses = match address {
        Some(address) => vec![SocketAddr::new(address, target.port())],
        None => timeout(patience, resolve(target)).await.map_err(|_| slow(Step::Resolve))??,
    };
    let stream = match timeout(patience, race(&addresses)).await {
        Ok(stream) => stream.map_err(|source| unreachable(target, &addresses, source))?,
        Err(_) => return Err(slow(Step::Tcp)),
    };
    let failed = |source| unreachable(target, &addresses, source);
    stream.set_nodelay(true).map_err(failed)?;
    let peer = stream.peer_addr().map_err(failed)?;
    Ok((stream, peer))
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |source| ConnectError::Resolve { host: target.host.clone(), source };
    let found = tokio::net::lookup_host((target.host.as_str(), target.port())).await.map_err(failed)?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut running = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    if let Some(address) = waiting.next() {
        running.spawn(TcpStream::connect(address));
    }
    while !running.is_empty() {
        tokio::select! {
            Some(result) = running.join_next() => match result.map_err(io::Error::other).flatten() {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    failure = error;
                    if let Some(address) = waiting.next() {
                        running.spawn(TcpStream::connect(address));
                    }
                }
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {
                if let Some(address) = waiting.next() {
                    running.spawn(TcpStream::connect(address));
                }
            }
        }
    }
    Err(failure)
}

fn unreachable(target: &Target, addresses: &[SocketAddr], source: io::Error) -> ConnectError {
    let tried: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let address = match tried.as_slice() {
        [only] if target.host.parse::<IpAddr>().is_ok() => only.clone(),
        _ => format!("{target} ({})", tried.join(", ")),
    };
    ConnectError::Tcp { address, source }
}
