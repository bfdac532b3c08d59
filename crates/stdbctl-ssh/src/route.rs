//! The way to a host: straight, through another host, or through a command.

use std::net::{IpAddr, SocketAddr};

use crate::connect::ConnectOptions;
use crate::count::Stream;
use crate::error::ConnectError;
use crate::forward::LONGEST_WAIT_BEHIND;
use crate::hops::Reached;
use crate::proxy_command::{CommandStream, LastWords};
use crate::tcp;

/// How a host is reached.
#[derive(Debug, Clone, Default)]
pub enum Route {
    /// By TCP.
    #[default]
    Direct,
    /// By a channel of the connection to this host, which hosts behind it share.
    Through(Box<ConnectOptions>),
    /// Through this command's standard input and output: a line for the shell, with the tokens of `ssh_config(5)`.
    Command(String),
}

/// A way that leads to a host, before anything was said on it.
pub(crate) struct Way {
    pub(crate) stream: Box<dyn Stream>,
    /// The host, and its address where it is known: for messages.
    pub(crate) place: String,
    pub(crate) address: Option<SocketAddr>,
    /// What the command complains about, if there is one.
    pub(crate) words: Option<LastWords>,
}

impl Way {
    /// Finds the way. `hop` is there if the route leads through one.
    pub(crate) async fn find(options: &ConnectOptions, hop: Option<&Reached>) -> Result<Self, ConnectError> {
        let place = options.place();
        match (&options.route, hop) {
            (Route::Command(line), _) => {
                let (stream, words) = CommandStream::start(line, options)?;
                Ok(Self { stream: Box::new(stream), place, address: None, words: Some(words) })
            }
            (Route::Through(through), Some(hop)) => {
                let host = options.address.map(|address| address.to_string());
                let host = host.as_deref().unwrap_or_else(|| options.host_name());
                let name = through.target.host.clone();
                let stream = hop
                    .session
                    .carry(host, options.target.port(), LONGEST_WAIT_BEHIND)
                    .await
                    .map_err(|source| ConnectError::Forward { hop: name, source })?;
                Ok(Self { stream: Box::new(stream), place, address: None, words: None })
            }
            _ => {
                let (stream, peer) = tcp::dial(options).await?;
                let is_address = options.target.host.parse::<IpAddr>().is_ok();
                let place = if is_address { peer.to_string() } else { format!("{place} ({peer})") };
                Ok(Self { stream: Box::new(stream), place, address: Some(peer), words: None })
            }
        }
    }
}
