//! Hosts that cannot be reached, cannot be trusted or will not let us in: which exit code, which last words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::{Operator, Run};
use tokio::net::TcpSocket;

/// A listener that says this to whoever comes, and keeps the connection.
fn listener(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _client_may_be_gone = stream.write_all(words);
                let _until_it_goes = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

/// A plan of a host at this address, by somebody with a key and patience for two seconds.
fn plan(host: &str) -> Run {
    let operator = Operator::new();
    generate_key(&operator, "key");
    operator.run(&["plan", "--host", host, "--identity", "key", "--timeout", "2", "--set", "tls.mode=off"])
}

#[test]
fn nobody_there() {
    // Held, so that nobody else gets the port, and never listened on.
    let held = TcpSocket::new_v4().unwrap();
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let run = plan(&format!("ubuntu@{}", held.local_addr().unwrap()));
    run.failed(4, &["refused", "127.0.0.1"]);
    assert!(run.stderr.contains("try:"), "{run}");
}

#[test]
fn no_such_name() {
    plan("ubuntu@no-such-host.invalid").failed(4, &["no-such-host.invalid"]);
}

#[test]
fn a_port_that_says_nothing() {
    let run = plan(&format!("ubuntu@{}", listener(b"")));
    run.failed(4, &["127.0.0.1", "says nothing"]);
    assert!(run.took < Duration::from_secs(20), "a dead target does not hang the run\n{run}");
}

#[test]
fn a_port_that_is_no_ssh() {
    let run = plan(&format!("ubuntu@{}", listener(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    run.failed(4, &["127.0.0.1", "not an SSH server", "400 Bad Request"]);
    assert!(run.took < Duration::from_secs(20), "{run}");
}

#[test]
fn a_port_that_never_stops_talking() {
    // OpenSSH allows lines before the version; not megabytes of them.
    static CHATTER: [u8; 4 * 1024 * 1024] = [b'a'; 4 * 1024 * 1024];
    plan(&format!("ubuntu@{}", listener(&CHATTER))).failed(4, &["127.0.0.1", "not an SSH server"]);
}

#[test]
fn host_keys_and_logins() {
    let host = LabHost::up("connection");
    let operator = Operator::new();
    let known = std::fs::read_to_string(&host.known_hosts).unwrap();
    let with_known = |name: &str, content: &str| {
        let file = operator.write(name, content);
        let identity = host.identity.to_string_lossy().into_owned();
        let reach = flags(&[
            ("--host", &host.ssh),
            ("--identity", &identity),
            ("--known-hosts", &file.to_string_lossy()),
        ]);
        (reach, file)
    };
    let wish = host.wish_private();
    let planned =
        |reach: &[String], more: &[&str]| operator.run(&line(&[reach, &wish], &[&["plan"], more].concat()));

    let (unknown, _) = with_known("unknown", "");
    planned(&unknown, &[]).failed(5, &["not known"]);

    let other = generate_key(&operator, "other");
    let changed: String = format!("{} {other}\n", host.ip());
    let (changed, file) = with_known("changed", &changed);
    planned(&changed, &[]).failed(5, &["changed"]);
    planned(&changed, &["--accept-new"]).failed(5, &["changed"]);
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 1, "nothing was recorded");

    let revoked = known.lines().map(|line| format!("@revoked {line}")).collect::<Vec<_>>().join("\n");
    let (revoked, _) = with_known("revoked", &format!("{known}{revoked}\n"));
    planned(&revoked, &[]).failed(5, &["revoked"]);
    planned(&revoked, &["--accept-new"]).failed(5, &["revoked"]);

    let (fresh, file) = with_known("accepted", "");
    planned(&fresh, &["--accept-new"]).exited(0);
    // By its name or, where HashKnownHosts says so, its hash.
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 1, "the key was recorded");
    planned(&fresh, &[]).exited(0);

    let stranger = operator.home().join("other").to_string_lossy().into_owned();
    let mut wrong_key = host.reach();
    wrong_key[3] = stranger;
    let run = planned(&wrong_key, &[]);
    run.failed(4, &["ubuntu"]);
    assert!(run.stderr.contains("try:"), "{run}");

    let before = host.state();
    host.sh("mv /etc/sudoers.d/90-lab /root/sudoers");
    let run = operator.run(&line(&[&host.reach(), &wish], &["deploy", "--yes"]));
    run.failed(4, &["sudo"]);
    assert!(run.stderr.contains("NOPASSWD"), "{run}");
    host.sh("mv /root/sudoers /etc/sudoers.d/90-lab");
    before.differences(&host.state()).assert_none("nothing was done");

    host.docker("pause");
    let run = planned(&host.reach(), &["--timeout", "3"]);
    host.docker("unpause");
    run.failed(4, &[]);
    assert!(run.took < Duration::from_secs(30), "a hung host does not hang the run\n{run}");
}

/// Makes a key pair in the operator's home and returns its public half.
fn generate_key(operator: &Operator, name: &str) -> String {
    let path = operator.home().join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "other", "-f"]).arg(&path);
    assert!(finish(&mut keygen, Duration::from_secs(30)).status.success());
    std::fs::read_to_string(path.with_extension("pub")).unwrap().trim_end().to_owned()
}
