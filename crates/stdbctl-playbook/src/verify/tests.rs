//! The checks against servers on loopback that answer as they are told to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NGINX_PAGE: &str = "<html><body><center><h1>404</h1></center><hr><center>nginx</center></body></html>";

type Answers = fn(&str) -> (u16, &'static str, &'static str);

/// What a server as the playbook leaves it answers.
fn sound(request: &str) -> (u16, &'static str, &'static str) {
    match request {
        "GET /v1/ping" => (200, "", ""),
        "GET /v1/database/stdbctl-verify/subscribe" => (404, "", "no such database"),
        _ => (403, "", NGINX_PAGE),
    }
}

fn redirecting(_: &str) -> (u16, &'static str, &'static str) {
    (301, "location: https://db.example.com/v1/ping\r\n", NGINX_PAGE)
}

fn open(request: &str) -> (u16, &'static str, &'static str) {
    match request {
        "GET /v1/ping" => (502, "", NGINX_PAGE),
        "GET /v1/database/stdbctl-verify/subscribe" => (404, "", NGINX_PAGE),
        _ => (200, "", "anything"),
    }
}

fn upgrading(request: &str) -> (u16, &'static str, &'static str) {
    match request {
        "GET /v1/database/stdbctl-verify/subscribe" => {
            (101, "connection: upgrade\r\nupgrade: websocket\r\n", "")
        }
        request => sound(request),
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, answers: Answers) {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|n| n > 2) {
        head.push(std::mem::take(&mut line));
    }
    let Some(request) = head.first() else { return };
    let (status, headers, body) = answers(request.trim_end().trim_end_matches(" HTTP/1.1"));
    let length = if status == 101 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let text = format!("HTTP/1.1 {status} X\r\n{headers}{length}\r\n{body}");
    if stream.write_all(text.as_bytes()).await.is_ok() {
        drop(stream.shutdown().await);
    }
}

async fn serve(answers: Answers, tls: bool) -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.then(acceptor);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => answer(stream, answers).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer(stream, answers).await;
                        }
                    }
                }
            });
        }
    });
    port
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("fixtures/db.example.com.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/db.example.com.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A port that nobody listens on, and nobody else can, for as long as the socket is there.
fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((LOOPBACK, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn ca() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/verify/fixtures/ca.pem"))
}

fn options(host: &str, ports: Ports) -> VerifyOptions {
    VerifyOptions {
        host: host.to_owned(),
        https: ports.https != 0,
        public: Public::default(),
        resolve: BTreeMap::from([(host.to_owned(), LOOPBACK)]),
        ca: vec![ca()],
        timeout: Duration::from_secs(10),
        patience: Duration::ZERO,
        ports,
    }
}

fn told(report: &Report) -> String {
    let line =
        |check: &Check| format!("{} {}: {}", if check.ok { "ok " } else { "BAD" }, check.name, check.detail);
    report.checks.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_sound_server_passes_every_check() {
    let (_held, closed) = closed_port();
    let ports = Ports {
        http: serve(redirecting, false).await,
        https: serve(sound, true).await,
        spacetimedb: Some(closed),
    };
    let report = verify(&options("db.example.com", ports)).await.unwrap();
    assert!(report.ok(), "{}", told(&report));
    insta::assert_snapshot!(told(&report).replace(&ports.spacetimedb.unwrap().to_string(), "PORT"));
}

#[tokio::test]
async fn a_plain_server_that_is_open_fails_nearly_every_check() {
    let http = serve(open, false).await;
    let ports = Ports { http, https: 0, spacetimedb: Some(http) };
    let report = verify(&options("127.0.0.1", ports)).await.unwrap();
    assert!(!report.ok());
    insta::assert_snapshot!(told(&report).replace(&http.to_string(), "PORT"));
}

#[tokio::test]
async fn what_is_opened_on_purpose_is_not_asked_for() {
    let (_held, closed) = closed_port();
    let ports = Ports { http: serve(upgrading, false).await, https: 0, spacetimedb: Some(closed) };
    let public = Public { subscribe: true, identity: true, call: true, sql: true, publish: true, ipv6: true };
    let report = verify(&VerifyOptions { public, ..options("db.example.com", ports) }).await.unwrap();
    assert!(report.ok(), "{}", told(&report));
    let closed: Vec<&str> =
        report.checks.iter().map(|c| c.name.as_str()).filter(|name| name.ends_with("is closed")).collect();
    assert_eq!(closed[..2], ["GET /internal/heap is closed", "GET /v1/metrics is closed"]);
    assert!(told(&report).contains("101, upgraded"));
}

#[tokio::test]
async fn a_certificate_must_be_for_the_name_and_from_a_known_ca() {
    let (_held, closed) = closed_port();
    let ports = Ports {
        http: serve(redirecting, false).await,
        https: serve(sound, true).await,
        spacetimedb: Some(closed),
    };
    let other_name = verify(&options("other.example.com", ports)).await.unwrap();
    assert!(!other_name.checks[0].ok);
    assert!(other_name.checks[0].detail.contains("not valid for name"), "{}", told(&other_name));

    let dir = tempfile::tempdir().unwrap();
    let other_ca = dir.path().join("ca.pem");
    std::fs::copy(ca().with_file_name("db.example.com.pem"), &other_ca).unwrap();
    let unknown = VerifyOptions { ca: vec![other_ca], ..options("db.example.com", ports) };
    let unknown = verify(&unknown).await.unwrap();
    assert!(!unknown.checks[0].ok && !unknown.checks[1].ok, "{}", told(&unknown));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let http = listener.local_addr().unwrap().port();
    let (_held, closed) = closed_port();
    let ports = Ports { http, https: 0, spacetimedb: Some(closed) };
    let options = VerifyOptions { timeout: Duration::from_millis(50), ..options("db.example.com", ports) };
    let report = verify(&options).await.unwrap();
    assert!(report.checks[0].detail.starts_with("no answer"), "{}", told(&report));
}

#[tokio::test]
async fn patience_outlasts_a_server_that_is_not_ready_yet() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    fn late(request: &str) -> (u16, &'static str, &'static str) {
        let ready = request != "GET /v1/ping" || ASKED.fetch_add(1, Ordering::SeqCst) >= 3;
        if ready { sound(request) } else { (502, "", NGINX_PAGE) }
    }
    let (_held, closed) = closed_port();
    let ports = Ports { http: serve(late, false).await, https: 0, spacetimedb: Some(closed) };
    let at_once = options("db.example.com", ports);
    assert!(!verify(&at_once).await.unwrap().ok());
    let patient = VerifyOptions { patience: Duration::from_secs(20), ..at_once };
    let report = verify(&patient).await.unwrap();
    assert!(report.ok(), "{}", told(&report));
    assert_eq!(ASKED.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_port_that_takes_connections_and_says_nothing_is_closed() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let spacetimedb = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let ports = Ports { http: serve(sound, false).await, https: 0, spacetimedb: Some(spacetimedb) };
    let report = verify(&options("db.example.com", ports)).await.unwrap();
    assert!(report.ok(), "{}", told(&report));
}

#[test]
fn the_server_itself_may_reach_its_own_port() {
    let port = |address| VerifyOptions::of(&Settings::default(), address).ports.spacetimedb;
    assert_eq!(port("127.0.0.1"), None);
    assert_eq!(port("203.0.113.9"), Some(3000));
}

#[tokio::test]
async fn a_ca_file_without_a_certificate_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    let ports = Ports { http: 1, https: 1, spacetimedb: Some(1) };
    let with_ca = |path: PathBuf| VerifyOptions { ca: vec![path], ..options("db.example.com", ports) };
    assert!(matches!(verify(&with_ca(empty.clone())).await, Err(VerifyError::Ca { .. })));
    std::fs::write(&empty, "nothing").unwrap();
    assert!(matches!(verify(&with_ca(empty)).await, Err(VerifyError::EmptyCa(_))));
}
