//! From a name to one TCP connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connect::ConnectOptions;
use crate::error::{ConnectError, Step};
use crate::observer::Observation;
use crate::ssh_config::AddressFamily;

/// How long one address may take before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address of the host that answers. At most one connection is left.
pub(crate) async fn dial(options: &ConnectOptions) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let patience = options.connect_timeout;
    let slow = |step| ConnectError::Timeout { step, address: options.place(), seconds: patience.as_secs() };
    let (from, addresses) = timeout(patience, resolve(options)).await.map_err(|_| slow(Step::Resolve))??;
    options.observer.tell(|| Observation::Resolved { addresses: addresses.clone() });
    let stream = match timeout(patience, race(from, &addresses)).await {
        Ok(stream) => stream.map_err(|source| unreachable(options, &addresses, source))?,
        Err(_) => return Err(slow(Step::Tcp)),
    };
    let failed = |source| unreachable(options, &addresses, source);
    stream.set_nodelay(true).map_err(failed)?;
    let peer = stream.peer_addr().map_err(failed)?;
    Ok((stream, peer))
}

/// Where to connect from, and to: addresses of the right family, and where a source is given, of its family.
async fn resolve(options: &ConnectOptions) -> Result<(Option<IpAddr>, Vec<SocketAddr>), ConnectError> {
    let family = options.address_family;
    let from = match &options.bind_address {
        Some(name) => Some(look_up(name, 0, family).await?.first().map(SocketAddr::ip)),
        None => None,
    };
    let from = from.flatten();
    let port = options.target.port();
    let mut addresses = match options.address {
        Some(address) => vec![SocketAddr::new(address, port)],
        None => look_up(options.host_name(), port, family).await?,
    };
    if let Some(from) = from {
        addresses.retain(|address| address.is_ipv4() == from.is_ipv4());
        if addresses.is_empty() {
            let source = io::Error::new(
                io::ErrorKind::NotFound,
                format!("it has no address of the kind of BindAddress {from}"),
            );
            return Err(ConnectError::Resolve { host: options.host_name().to_owned(), source });
        }
    }
    Ok((from, addresses))
}

async fn look_up(name: &str, port: u16, family: AddressFamily) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |source| ConnectError::Resolve { host: name.to_owned(), source };
    let found = tokio::net::lookup_host((name, port)).await.map_err(failed)?;
    let wanted = |address: &SocketAddr| match family {
        AddressFamily::Any => true,
        AddressFamily::Inet => address.is_ipv4(),
        AddressFamily::Inet6 => address.is_ipv6(),
    };
    let addresses: Vec<_> = found.filter(wanted).collect();
    if addresses.is_empty() {
        let why = match family {
            AddressFamily::Any => "the name has no address",
            AddressFamily::Inet => "the name has no IPv4 address, which AddressFamily asks for",
            AddressFamily::Inet6 => "the name has no IPv6 address, which AddressFamily asks for",
        };
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, why)));
    }
    Ok(addresses)
}

async fn connect(from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(to).await };
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

async fn race(from: Option<IpAddr>, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut running = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    if let Some(address) = waiting.next() {
        running.spawn(connect(from, address));
    }
    while !running.is_empty() {
        tokio::select! {
            Some(result) = running.join_next() => match result.map_err(io::Error::other).flatten() {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    failure = error;
                    if let Some(address) = waiting.next() {
                        running.spawn(connect(from, address));
                    }
                }
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {
                if let Some(address) = waiting.next() {
                    running.spawn(connect(from, address));
                }
            }
        }
    }
    Err(failure)
}

fn unreachable(options: &ConnectOptions, addresses: &[SocketAddr], source: io::Error) -> ConnectError {
    let tried: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let host = &options.target.host;
    let address = match tried.as_slice() {
        [only] if host.parse::<IpAddr>().is_ok() => only.clone(),
        _ => format!("{host} ({})", tried.join(", ")),
    };
    ConnectError::Tcp { address, source }
}
