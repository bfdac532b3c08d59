//! One request on a connection of its own, over TLS or not.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, LOCATION, UPGRADE, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::VerifyOptions;

/// More of an answer than this is not read.
const LARGEST_BODY: usize = 64 * 1024;
const DAY: u64 = 24 * 60 * 60;
/// Certificates that are valid for longer are told to be valid for this long.
const FARTHEST_DAYS: u64 = 10_000;

/// The checks cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A CA file cannot be read.
    #[error("the CA file {} cannot be read", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A CA file holds no certificate.
    #[error("the CA file {} holds no certificate", .0.display())]
    EmptyCa(PathBuf),
    /// TLS cannot be set up.
    #[error("no CA to check the server's certificate with: name one with --ca")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_nginx = if self.body.contains("<center>nginx") { " from nginx" } else { "" };
        write!(f, "{}{by_nginx}", self.status)
    }
}

/// Asks one server.
#[derive(Clone)]
pub(super) struct Client {
    options: Arc<VerifyOptions>,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    verifier: Arc<WebPkiServerVerifier>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Client {
    pub(super) fn new(options: &VerifyOptions) -> Result<Self, VerifyError> {
        let tls = if options.https { Some(Tls::new(&options.ca)?) } else { None };
        Ok(Self { options: Arc::new(options.clone()), tls })
    }

    pub(super) fn options(&self) -> &VerifyOptions {
        &self.options
    }

    /// The server's addresses, with this port.
    pub(super) async fn addresses(&self, port: u16) -> Result<Vec<SocketAddr>, String> {
        let host = self.options.host.as_str();
        if let Some(address) = self.options.resolve.get(host) {
            return Ok(vec![SocketAddr::new(*address, port)]);
        }
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found =
            lookup_host((host, port)).await.map_err(|error| format!("{host} does not resolve: {error}"))?;
        Ok(found.collect())
    }

    /// How long the certificate is valid for.
    pub(super) async fn certificate(&self) -> Result<String, String> {
        let tls = self.tls.as_ref().ok_or("TLS is off")?;
        let stream = self.connect_tls(tls).await?;
        let (_, session) = stream.get_ref();
        let (end, intermediates) = session
            .peer_certificates()
            .and_then(<[_]>::split_first)
            .ok_or("the server showed no certificate")?;
        let valid_in = |days: u64| {
            let then =
                UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + days * DAY));
            let name = self.name()?;
            tls.verifier.verify_server_cert(end, intermediates, &name, &[], then).map_err(|e| e.to_string())
        };
        let days = last_valid_day(|days| valid_in(days).is_ok());
        Ok(format!("for {days} more days"))
    }

    /// Sends a request without a body.
    pub(super) async fn ask(&self, https: bool, method: &str, path: &str) -> Result<Answer, String> {
        let request = self.request(method, path);
        self.send(https, request.body(Empty::new()).map_err(|e| e.to_string())?).await
    }

    /// Asks for a WebSocket.
    pub(super) async fn upgrade(&self, path: &str) -> Result<Answer, String> {
        let request = self
            .request("GET", path)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "c3RkYmN0bC12ZXJpZnkhIQ==")
            .header("sec-websocket-protocol", "v1.json.spacetimedb");
        self.send(self.options.https, request.body(Empty::new()).map_err(|e| e.to_string())?).await
    }

    fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.options.host.as_str())
            .header(USER_AGENT, concat!("stdbctl/", env!("CARGO_PKG_VERSION")))
    }

    async fn send(&self, https: bool, request: Request<Empty<Bytes>>) -> Result<Answer, String> {
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) if https => Box::new(self.connect_tls(tls).await?),
            _ => Box::new(self.connect(self.options.ports.http).await?),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| told(&e))?;
        let connection = tokio::spawn(connection.with_upgrades());
        let answer = match sender.send_request(request).await {
            Ok(response) => read(response).await,
            Err(error) => Err(told(&error)),
        };
        connection.abort();
        answer
    }

    async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let mut failure = format!("{} has no address", self.options.host);
        for address in self.addresses(port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = format!("no connection to {address}: {error}"),
            }
        }
        Err(failure)
    }

    async fn connect_tls(&self, tls: &Tls) -> Result<TlsStream<TcpStream>, String> {
        let stream = self.connect(self.options.ports.https).await?;
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        connector.connect(self.name()?, stream).await.map_err(|error| told(&error))
    }

    fn name(&self) -> Result<ServerName<'static>, String> {
        ServerName::try_from(self.options.host.clone()).map_err(|error| told(&error))
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let status = response.status().as_u16();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // After an upgrade there is no body to wait for.
    let body = if status == 101 {
        Bytes::new()
    } else {
        let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| told(error.as_ref()))?
    };
    Ok(Answer { status, location, body: String::from_utf8_lossy(&body).into_owned() })
}

impl Tls {
    fn new(files: &[PathBuf]) -> Result<Self, VerifyError> {
        let unusable = |error: Box<dyn Error + Send + Sync>| VerifyError::Tls(error);
        let provider = Arc::new(default_provider());
        let roots = Arc::new(roots(files)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(error.into()))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), verifier })
    }
}

fn roots(files: &[PathBuf]) -> Result<RootCertStore, VerifyError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a certificate of the system was left out");
    }
    roots.add_parsable_certificates(native.certs);
    for file in files {
        for certificate in certificates(file)? {
            roots
                .add(certificate)
                .map_err(|error| VerifyError::Ca { path: file.clone(), source: error.into() })?;
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, VerifyError> {
    let unreadable = |source: Box<dyn Error + Send + Sync>| VerifyError::Ca { path: file.to_owned(), source };
    let text = std::fs::read(file).map_err(|error: io::Error| unreadable(error.into()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(error.to_string().into()))?;
    if found.is_empty() { Err(VerifyError::EmptyCa(file.to_owned())) } else { Ok(found) }
}

/// The last day counted from today on which `valid` holds, given that it holds until some day and never after.
fn last_valid_day(valid: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, FARTHEST_DAYS);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if valid(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// An error with its causes, in one line.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    PLAIN.iter().find(|(jargon, _)| text == *jargon).map_or(text, |(_, plain)| (*plain).to_owned())
}

/// What the libraries say most often, in words for people.
const PLAIN: [(&str, &str); 2] = [
    ("tls handshake eof", "the server hung up instead of agreeing on TLS"),
    (
        "operation was canceled: connection closed before message completed",
        "the server hung up instead of answering",
    ),
];

#[cfg(test)]
mod tests {
    use super::last_valid_day;

    #[test]
    fn the_last_valid_day_is_found() {
        for days in [0, 1, 2, 89, 90, 9_999, 10_000] {
            assert_eq!(last_valid_day(|day| day <= days), days);
        }
    }
}
