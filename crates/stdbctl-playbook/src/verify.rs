//! Asks a finished server from outside, as a client would: no SSH, nothing but its name.

mod client;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::settings::{Public, Settings};
use client::{Answer, Client};

pub use client::VerifyError;

/// A database that need not exist: a WebSocket to it proves that the server is reached.
const SUBSCRIBE: &str = "/v1/database/stdbctl-verify/subscribe";

/// How long a port may take to answer before it counts as closed: a firewall that drops never answers.
const PORT_PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait before a check that failed is made again.
const PAUSE: Duration = Duration::from_millis(200);

/// What to ask, and how to get there.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The domain, or the address of a server without one.
    pub host: String,
    /// Whether the server answers HTTPS, with a certificate for `host`.
    pub https: bool,
    /// What the world may reach.
    pub public: Public,
    /// Addresses of names that no resolver knows.
    pub resolve: BTreeMap<String, IpAddr>,
    /// PEM files of CAs to trust besides the system's.
    pub ca: Vec<PathBuf>,
    /// How long one attempt at one check may take.
    pub timeout: Duration,
    /// How long a check that fails is made again and again: nginx takes a moment to take up what was just written.
    pub patience: Duration,
    /// The ports, in case they are forwarded from elsewhere.
    pub ports: Ports,
}

/// The ports of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// nginx without TLS.
    pub http: u16,
    /// nginx with TLS.
    pub https: u16,
    /// SpacetimeDB itself, which must not be reachable from outside. None on the server: from there it is.
    pub spacetimedb: Option<u16>,
}

impl VerifyOptions {
    /// What the settings promise. `address` is asked if there is no domain.
    pub fn of(settings: &Settings, address: &str) -> Self {
        let here = address.parse() == Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let spacetimedb = (!here).then(|| settings.spacetimedb.listen.port());
        Self {
            host: settings.domain.clone().unwrap_or_else(|| address.to_owned()),
            https: settings.https(),
            public: settings.public.clone(),
            resolve: BTreeMap::new(),
            ca: Vec::new(),
            timeout: Duration::from_secs(10),
            patience: Duration::ZERO,
            ports: Ports { http: 80, https: 443, spacetimedb },
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Each check, in a fixed order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether every check succeeded.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What should hold.
    pub name: String,
    /// Whether it does.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// One thing that should hold.
#[derive(Debug, Clone)]
enum Probe {
    Certificate,
    Ping,
    Redirect,
    WebSocket,
    Closed { method: &'static str, path: &'static str },
    PortClosed(u16),
}

/// Found to hold, or not, and in which words.
type Finding = Result<String, String>;

/// Makes all checks at the same time.
///
/// # Errors
/// If a CA file cannot be used. A server that cannot be reached is a finding, not an error.
pub async fn verify(options: &VerifyOptions) -> Result<Report, VerifyError> {
    let client = Client::new(options)?;
    let mut running = JoinSet::new();
    for (index, probe) in probes(options).into_iter().enumerate() {
        let (client, patience) = (client.clone(), options.patience);
        running.spawn(async move { (index, patiently(&probe, &client, patience).await) });
    }
    let mut checks = BTreeMap::new();
    while let Some(Ok((index, check))) = running.join_next().await {
        checks.insert(index, check);
    }
    Ok(Report { checks: checks.into_values().collect() })
}

fn probes(options: &VerifyOptions) -> Vec<Probe> {
    let public = &options.public;
    let closed = [
        (public.publish, "PUT", "/v1/database/stdbctl_verify"),
        (public.publish, "POST", "/v1/database"),
        (public.call, "POST", "/v1/database/stdbctl-verify/call/verify"),
        (public.sql, "POST", "/v1/database/stdbctl-verify/sql"),
        (public.subscribe, "GET", SUBSCRIBE),
        (public.identity, "POST", "/v1/identity"),
        (false, "GET", "/internal/heap"),
        (false, "GET", "/v1/metrics"),
    ];
    let closed = closed.into_iter().filter(|(open, ..)| !open);
    let closed = closed.map(|(_, method, path)| Probe::Closed { method, path });
    let mut probes = vec![Probe::Ping];
    if options.https {
        probes.insert(0, Probe::Certificate);
        probes.push(Probe::Redirect);
    }
    if public.subscribe {
        probes.push(Probe::WebSocket);
    }
    probes.extend(closed);
    probes.extend(options.ports.spacetimedb.map(Probe::PortClosed));
    probes
}

async fn patiently(probe: &Probe, client: &Client, patience: Duration) -> Check {
    let deadline = Instant::now() + patience;
    loop {
        let finding = probe.find(client).await;
        if finding.is_ok() || Instant::now() >= deadline {
            let ok = finding.is_ok();
            let (Ok(detail) | Err(detail)) = finding;
            return Check { name: probe.name(client), ok, detail };
        }
        sleep(PAUSE).await;
    }
}

impl Probe {
    fn name(&self, client: &Client) -> String {
        let options = client.options();
        match self {
            Self::Certificate => format!("the certificate is valid for {}", options.host),
            Self::Ping => "SpacetimeDB answers /v1/ping".to_owned(),
            Self::Redirect => "HTTP leads to HTTPS".to_owned(),
            Self::WebSocket => "a WebSocket reaches SpacetimeDB".to_owned(),
            Self::Closed { method, path } => format!("{method} {path} is closed"),
            Self::PortClosed(port) => format!("port {port} is closed"),
        }
    }

    async fn find(&self, client: &Client) -> Finding {
        if let Self::PortClosed(port) = self {
            return port_closed(client, *port).await;
        }
        let limit = client.options().timeout;
        timeout(limit, self.ask(client))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
    }

    async fn ask(&self, client: &Client) -> Finding {
        match self {
            Self::Certificate => client.certificate().await,
            Self::Ping => ping(&client.ask(client.options().https, "GET", "/v1/ping").await?),
            Self::Redirect => redirect(&client.ask(false, "GET", "/v1/ping").await?, &client.options().host),
            Self::WebSocket => websocket(&client.upgrade(SUBSCRIBE).await?),
            Self::Closed { method, path } => closed(&client.ask(client.options().https, method, path).await?),
            Self::PortClosed(_) => Ok(String::new()),
        }
    }
}

fn ping(answer: &Answer) -> Finding {
    if answer.status == 200 { Ok("200".to_owned()) } else { Err(answer.to_string()) }
}

fn closed(answer: &Answer) -> Finding {
    if answer.status == 403 {
        Ok("403".to_owned())
    } else {
        Err(format!("it answers {answer} instead of 403"))
    }
}

fn redirect(answer: &Answer, host: &str) -> Finding {
    let wanted = format!("https://{host}/v1/ping");
    match &answer.location {
        Some(location) if matches!(answer.status, 301 | 308) && *location == wanted => {
            Ok(answer.status.to_string())
        }
        Some(location) => Err(format!("{} to {location} instead of {wanted}", answer.status)),
        None => Err(format!("{answer} instead of a redirect to {wanted}")),
    }
}

/// An upgrade, or any words of SpacetimeDB's own: it says that there is no such database. nginx answers in its
/// place with a page that bears its name, and with 502 or 504 if it cannot reach it.
fn websocket(answer: &Answer) -> Finding {
    match answer.status {
        101 => Ok("101, upgraded".to_owned()),
        300..=399 | 403 | 426 | 502..=504 => Err(answer.to_string()),
        _ if answer.body.contains("<center>nginx") => Err(answer.to_string()),
        status => Ok(format!("{status} from SpacetimeDB")),
    }
}

async fn port_closed(client: &Client, port: u16) -> Finding {
    let patience = PORT_PATIENCE.min(client.options().timeout);
    for address in client.addresses(port).await? {
        if let Ok(Ok(true)) = timeout(patience, answers(address)).await {
            return Err(format!("{address} answers: everyone can do everything there"));
        }
    }
    Ok("no answer".to_owned())
}

/// Whether anything at all is answered. A connection alone proves nothing: forwarders take it before they look
/// whether somebody is there.
async fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /v1/ping HTTP/1.0\r\n\r\n").await?;
    Ok(stream.read(&mut [0; 1]).await? > 0)
}

#[cfg(test)]
mod tests;
