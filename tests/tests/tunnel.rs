//! The whole server on a local port, through SSH only; and its site in the `spacetime` CLI of the operator.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stdbctl_tests::deadline::{Finished, finish};
use stdbctl_tests::lab::{LabHost, checkout, line};
use stdbctl_tests::operator::{Operator, Run, Running};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_tunnel_and_a_site_in_the_cli() {
    let host = LabHost::up("tunnel");
    let operator = Operator::new();
    assert!(host.deploy(&operator).ok());
    let cli = cli(&host, &operator);

    whole_server(&host, &operator, &cli);
    port_asked_for(&host, &operator);
    lost_connection(&host, &operator);
    closed_ways(&host, &operator);
    server_add(&host, &operator, &cli);
}

/// An open tunnel, and where it is.
fn open(host: &LabHost, operator: &Operator, more: &[&str]) -> (Running, SocketAddr) {
    let arguments = line(&[&host.reach()], &[&["tunnel", "--output", "json"], more].concat());
    let running = operator.start(&arguments);
    let document: Value = serde_json::from_str(&running.wait_for_line("address", SOON)).unwrap();
    assert_eq!(document["version"], "1.3.0", "{document}");
    assert_eq!(document["host"], host.ssh, "{document}");
    (running, document["address"].as_str().unwrap().parse().unwrap())
}

/// Ends it as Ctrl-C does.
fn interrupt(running: Running) -> Run {
    let kill = finish(Command::new("kill").args(["-INT", &running.id().to_string()]), SOON);
    assert!(kill.status.success());
    running.wait()
}

fn whole_server(host: &LabHost, operator: &Operator, cli: &Cli<'_>) {
    let (running, address) = open(host, operator, &[]);
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    let url = format!("http://{address}/v1");

    // What nginx closes to the world is open here.
    publish(&url);
    let rows = curl(&["--data", "select * from person", &format!("{url}/database/demo/sql")]);
    assert!(rows.stdout.contains("\"first\""), "{rows:?}");
    let metrics = curl(&[&format!("{url}/metrics")]);
    assert!(metrics.stdout.len() > 10_000, "{metrics:?}");
    assert_eq!(upgrade(address), "HTTP/1.1 101 Switching Protocols");

    let fifty = format!("{url}/ping?[1-50]");
    let at_once = ["--parallel", "--parallel-immediate", "--parallel-max", "50", "--output", "/dev/null"];
    let answers = curl(&[&at_once[..], &["--write-out", "%{http_code}\n", &fifty]].concat());
    assert_eq!(answers.stdout, "200\n".repeat(50), "{answers:?}");

    // The CLI of the guide takes the address as it is.
    let sql = cli.run(&["sql", "-s", &format!("http://{address}"), "demo", "select name from person"]);
    assert!(sql.stdout.contains("first"), "{sql:?}");

    // Nobody else can reach it: neither there nor here.
    assert_eq!(host.status("GET", "/v1/metrics"), 403);
    // The lab takes the connection, and finds nobody to give it to.
    let direct = format!("http://{}/v1/ping", SocketAddr::new(host.ip(), 3000));
    let direct =
        finish(Command::new("curl").args(["--silent", "--max-time", "5", "--include", &direct]), SOON);
    assert!(!direct.status.success() && direct.stdout.is_empty(), "{direct:?}");
    let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), address.port()));
    assert!(TcpStream::connect(elsewhere).is_err(), "it listens on 127.0.0.1 only");

    let run = interrupt(running);
    run.exited(0);
    assert_eq!(run.stdout.lines().count(), 1, "{run}");
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

/// Creates the demo database, as whoever asks may at the server's own port.
fn publish(url: &str) {
    let token = curl(&["--request", "POST", &format!("{url}/identity")]);
    let token: Value = serde_json::from_str(&token.stdout).unwrap();
    let module = checkout().join("tests/fixtures/modules/demo_v1.wasm");
    let created = curl(&[
        "--upload-file",
        &module.to_string_lossy(),
        "--header",
        &format!("Authorization: Bearer {}", token["token"].as_str().unwrap()),
        &format!("{url}/database/demo"),
    ]);
    assert!(created.stdout.contains("created"), "{created:?}");
}

/// The first line of the answer to a WebSocket upgrade.
fn upgrade(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "GET /v1/database/demo/subscribe HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: v1.json.spacetimedb\r\n\r\n"
    )
    .unwrap();
    BufReader::new(stream).lines().next().unwrap().unwrap()
}

fn curl<S: AsRef<str>>(arguments: &[S]) -> Finished {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "30"]);
    let finished = finish(curl.args(arguments.iter().map(AsRef::as_ref)), SOON);
    assert!(finished.status.success(), "{finished:?}");
    finished
}

fn port_asked_for(host: &LabHost, operator: &Operator) {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let busy = line(&[&host.reach()], &["tunnel", "--port", &port]);
    operator.run(&busy).failed(2, &["cannot listen on 127.0.0.1:", &port]);
    drop(taken);
    let (running, address) = open(host, operator, &["--port", &port]);
    assert_eq!(address.port().to_string(), port);
    interrupt(running).exited(0);
}

fn lost_connection(host: &LabHost, operator: &Operator) {
    let (running, _) = open(host, operator, &[]);
    host.sh("pkill -KILL -u ubuntu sshd");
    let run = running.wait();
    run.failed(4, &["the tunnel is gone"]);
    assert!(run.stderr.contains("try:"), "{run}");
}

fn closed_ways(host: &LabHost, operator: &Operator) {
    let arguments = line(&[&host.reach()], &["tunnel"]);
    host.sh("systemctl stop spacetimedb");
    let run = operator.run(&arguments);
    run.failed(1, &["SpacetimeDB does not answer", "127.0.0.1:3000"]);
    assert!(run.stderr.contains("stdbctl plan"), "{run}");
    host.sh("systemctl start spacetimedb");

    let keys = "/home/ubuntu/.ssh/authorized_keys";
    host.sh(&format!("sed -i 's/^ssh-/no-port-forwarding ssh-/' {keys}"));
    let run = operator.run(&arguments);
    host.sh(&format!("sed -i 's/^no-port-forwarding //' {keys}"));
    run.failed(1, &["allows no forwarding"]);
    assert!(run.stderr.contains("AllowTcpForwarding local"), "{run}");
}

/// The real CLI of the release, for an operator.
struct Cli<'a> {
    operator: &'a Operator,
    folder: PathBuf,
    /// Where to ask for names that only the lab knows.
    proxy: SocketAddr,
    ca: PathBuf,
}

fn cli<'a>(host: &LabHost, operator: &'a Operator) -> Cli<'a> {
    let folder = operator.home().join("tools");
    std::fs::create_dir(&folder).unwrap();
    let from = format!("{}:/stdb/bin/1.3.0/spacetimedb-cli", host.container);
    let copied = finish(Command::new("docker").arg("cp").arg(from).arg(folder.join("spacetime")), SOON);
    assert!(copied.status.success(), "{copied:?}");
    Cli { operator, folder, proxy: proxy_to(SocketAddr::new(host.ip(), 443)), ca: host.acme_root.clone() }
}

impl Cli<'_> {
    /// Runs it as it is.
    fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(self.folder.join("spacetime"));
        command.args(arguments).env_clear().env("HOME", self.operator.home());
        let finished = finish(&mut command, SOON);
        assert!(finished.status.success(), "{finished:?}");
        finished
    }

    /// Runs stdbctl where it is in the PATH.
    fn stdbctl(&self, arguments: &[&str]) -> Finished {
        let mut command = self.operator.command(arguments);
        command.env("PATH", &self.folder).env("SSL_CERT_FILE", &self.ca);
        finish(command.env("HTTPS_PROXY", format!("http://{}", self.proxy)), SOON)
    }
}

/// A web proxy that leads to one address, whatever is asked of it.
fn proxy_to(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || carry(&client.unwrap(), server));
        }
    });
    address
}

fn carry(mut client: &TcpStream, server: SocketAddr) {
    let mut asked = BufReader::new(client.try_clone().unwrap()).lines();
    while asked.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let server = TcpStream::connect(server).unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    let _either_may_hang_up_first = std::io::copy(&mut &server, &mut client);
}

fn server_add(host: &LabHost, operator: &Operator, cli: &Cli<'_>) {
    let domain = host.domain.as_str();
    let url = format!("https://{domain}");
    let add = |more: &[&str]| cli.stdbctl(&[&["server-add", "--domain", domain], more].concat());
    let refused = |finished: &Finished, words: &[&str]| {
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        for word in words {
            assert!(finished.stderr.contains(word), "no `{word}` in\n{}", finished.stderr);
        }
    };

    // Without the CLI: where to get it, and what it would have been asked to do.
    let missing = operator.run(&["server-add", "--domain", domain]);
    missing.failed(1, &["no `spacetime` CLI"]);
    assert!(missing.stderr.contains(&format!("spacetime server add --url {url} {domain}")), "{missing}");

    // It asks the real site for its public key, over HTTPS with a valid certificate.
    let done = add(&["--output", "json"]);
    assert!(done.status.success(), "{done:?}");
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document, serde_json::json!({ "name": domain, "url": url, "added": true, "default": false }));
    let listed = cli.run(&["server", "list"]).stdout;
    assert_eq!(listed.matches(domain).count(), 2, "host and nickname:\n{listed}");
    let known = std::fs::read_to_string(operator.home().join(".config/spacetime/cli.toml")).unwrap();
    assert!(known.contains("BEGIN PUBLIC KEY"), "{known}");

    let again = add(&[]);
    assert!(again.status.success() && again.stdout.contains("was there already"), "{again:?}");
    let default = add(&["--default"]);
    assert!(default.status.success() && default.stdout.contains("default now"), "{default:?}");
    let listed = cli.run(&["server", "list"]).stdout;
    assert!(listed.lines().any(|line| line.contains("***") && line.contains(domain)), "{listed}");

    refused(&add(&["prod"]), &["knows", domain, "--new-name prod"]);
    let other = cli.stdbctl(&["server-add", domain, "--domain", "other.example"]);
    refused(&other, &["as another server", "server remove"]);
    // A site whose certificate is not good for its name is not taken over.
    refused(&cli.stdbctl(&["server-add", "--domain", "other.example"]), &["failed", "--no-fingerprint"]);
    let unseen = cli.stdbctl(&["server-add", "--domain", "other.example", "--no-fingerprint"]);
    assert!(unseen.status.success() && unseen.stdout.contains("added"), "{unseen:?}");
}
