//! Deployments that are not the usual one: from files, from release to release, from the host itself, behind a
//! firewall that locks out, and long after.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stdbctl_tests::deadline::{finish, wait_for};
use stdbctl_tests::lab::{LabHost, checkout, flags, line};
use stdbctl_tests::operator::{Operator, Run, binary};
use stdbctl_tests::proxy::Proxy;

const MEGABYTE: u64 = 1024 * 1024;
/// So far that a release is on its way for two of the seconds after each of which a host says something.
const RTT: Duration = Duration::from_millis(250);
/// Far longer than a service takes to start or to reload.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_release_and_a_certificate_come_from_files() {
    let host = LabHost::up("files");
    let operator = Operator::new();
    let proxy = Proxy::in_front_of(host.ssh_socket(), RTT).unwrap();
    let reach = host.reach_through(&proxy, operator.home());
    let archive = release(&host, &operator);
    let wish = wish_files(&host, &archive);
    certify(&host, &operator);

    missing_and_wrong_files_are_refused(&host, &operator, &[&reach, &wish]);
    // Whoever publishes releases cannot be reached from this host.
    host.sh("echo '127.0.0.9 mirror.lab.test github.com' >>/etc/hosts");
    let deploy = line(&[&reach, &wish], &["deploy", "--yes", "--output", "json"]);
    let (run, memory) = operator.measure(&binary(), &deploy);
    run.exited(0);
    uploads_are_told(&run, fs::metadata(&archive).unwrap().len());
    assert!(memory > MEGABYTE && memory < 40 * MEGABYTE, "{memory} bytes of memory");
    assert!(run.took < Duration::from_secs(90), "{run}");
    let sum = host.sh("head -n 1 /stdb/bin/1.3.0/.stdbctl-archive");
    assert_eq!(sum, format!("archive {}\n", sha256(&archive)));
    key_is_kept_secret(&host, &operator, &run);

    a_new_certificate_only_reloads_nginx(&host, &operator, &wish);
}

/// The settings: a release and a certificate that lie in the operator's home directory.
fn wish_files(host: &LabHost, archive: &Path) -> Vec<String> {
    flags(&[
        ("--domain", &host.domain),
        ("--resolve", &format!("{}={}", host.domain, host.ip())),
        ("--ca", "certificate.pem"),
        ("--set", "tls.mode=files"),
        ("--set", "tls.certificate=certificate.pem"),
        ("--set", "tls.key=key.pem"),
        ("--set", "spacetimedb.version=1.3.0"),
        ("--set", "spacetimedb.source=archive"),
        ("--set", &format!("spacetimedb.archive={}", archive.display())),
    ])
}

/// Fetches the release as an operator would.
fn release(host: &LabHost, operator: &Operator) -> PathBuf {
    let url = format!("{}/releases/download/v1.3.0/spacetime-x86_64-unknown-linux-gnu.tar.gz", host.mirror);
    host.sh(&format!("curl -fsS -o /root/release.tar.gz {url}"));
    let path = operator.home().join("release.tar.gz");
    let from = format!("{}:/root/release.tar.gz", host.container);
    run(Command::new("docker").args(["cp", &from]).arg(&path));
    host.sh("rm /root/release.tar.gz");
    path
}

/// Makes a new key and a certificate of it.
fn certify(host: &LabHost, operator: &Operator) {
    let (subject, name) = (format!("/CN={}", host.domain), format!("subjectAltName=DNS:{}", host.domain));
    run(Command::new("openssl").current_dir(operator.home()).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
        "-subj",
        &subject,
        "-addext",
        &name,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "key.pem",
        "-out",
        "certificate.pem",
    ]));
}

fn missing_and_wrong_files_are_refused(host: &LabHost, operator: &Operator, parts: &[&[String]]) {
    let before = host.state();
    let refused = |code: i32, set: &str, cause: &[&str]| {
        operator.run(&line(parts, &["deploy", "--yes", "--set", set])).failed(code, cause);
    };
    refused(3, "tls.key=nowhere.pem", &["nowhere.pem"]);
    fs::rename(operator.home().join("key.pem"), operator.home().join("own.pem")).unwrap();
    run(Command::new("openssl").current_dir(operator.home()).args(["genrsa", "-out", "key.pem", "2048"]));
    refused(3, "tls.mode=files", &["key.pem is not the key of", "certificate.pem"]);
    fs::rename(operator.home().join("own.pem"), operator.home().join("key.pem")).unwrap();
    refused(1, "spacetimedb.archive=nowhere.tar.gz", &["cannot read nowhere.tar.gz"]);
    let zeros = "0".repeat(64);
    refused(1, &format!("spacetimedb.sha256={zeros}"), &["sha256", &zeros, "release.tar.gz"]);
    before.differences(&host.state()).assert_none("nothing was touched");
}

fn uploads_are_told(run: &Run, length: u64) {
    let events = run.events();
    let release = |event: &&Value| event["event"] == "uploaded" && event["task"] == "release";
    let uploaded: Vec<_> = events.iter().filter(release).collect();
    assert!(uploaded.iter().all(|event| event["total"] == length), "{run}");
    let bytes: Vec<_> = uploaded.iter().filter_map(|event| event["bytes"].as_u64()).collect();
    assert!(bytes.len() > 1 && bytes.is_sorted() && bytes.last() == Some(&length), "{bytes:?}\n{run}");
}

fn key_is_kept_secret(host: &LabHost, operator: &Operator, run: &Run) {
    assert_eq!(host.sh("stat -c '%a %U %G' /etc/ssl/spacetimedb/privkey.pem"), "600 root root\n");
    let key = fs::read_to_string(operator.home().join("key.pem")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "the key is shown\n{run}");
    assert!(run.stdout.contains("BEGIN CERTIFICATE"), "the certificate is shown\n{run}");
}

fn a_new_certificate_only_reloads_nginx(host: &LabHost, operator: &Operator, wish: &[String]) {
    let running = || host.sh("systemctl show -p InvocationID --value spacetimedb nginx");
    let before = running();
    certify(host, operator);
    let expected = ["tls-certificate", "tls-key", "nginx-tls"];

    let plan = operator.succeed(&line(&[&host.reach(), wish], &["plan", "--output", "json"]));
    let planned = plan.planned();
    assert_eq!(planned.iter().map(|change| &change["task"]).collect::<Vec<_>>(), expected, "{plan}");
    assert!(planned[2]["details"].to_string().contains("reload"), "{plan}");
    assert!(!plan.stdout.contains("PRIVATE KEY"), "{plan}");

    let deploy = line(&[&host.reach(), wish], &["deploy", "--yes", "--output", "json"]);
    // It verifies the site against the new certificate alone.
    let run = operator.succeed(&deploy);
    let mut changed = run.tasks("changed");
    // The two files are put there side by side.
    changed[..2].sort();
    assert_eq!(changed, expected, "{run}");
    assert_eq!(running(), before, "neither was restarted");
    assert!(operator.succeed(&deploy).tasks("changed").is_empty());
}

#[test]
fn a_newer_release_takes_over_the_data_and_an_older_one_is_refused() {
    let host = LabHost::up("releases");
    let operator = Operator::new();
    let go = |verb, version| {
        let arguments = [verb, "--version", version, "--output", "json"];
        let confirmed: &[&str] = if verb == "deploy" { &["--yes"] } else { &[] };
        operator.run(&line(&[&host.reach(), &host.wish_private()], &[&arguments, confirmed].concat()))
    };
    go("deploy", "1.2.0").exited(0);
    publish(&host);
    let schema = schema(&host);

    let plan = go("plan", "1.3.0");
    let planned = plan.exited(0).planned();
    let tasks: Vec<_> = planned.iter().map(|change| change["task"].as_str().unwrap_or_default()).collect();
    assert_eq!(tasks, ["release", "current", "service", "answers"], "{plan}");
    let service = planned[2]["details"].to_string();
    assert!(service.contains("restart") && service.contains("release, current"), "{plan}");
    let run = go("deploy", "1.3.0");
    assert_eq!(run.exited(0).tasks("changed"), tasks, "{run}");
    assert!(host.holds("curl -fsS http://127.0.0.1:3000/v1/ping"));
    assert_eq!(self::schema(&host), schema, "the database is still there");
    assert!(go("deploy", "1.3.0").tasks("changed").is_empty());

    // What a tired operator tries next.
    let before = host.snapshot();
    for verb in ["plan", "deploy"] {
        go(verb, "1.2.0").failed(1, &["1.3.0", "1.2.0 cannot open it"]);
    }
    before
        .differences(&host.snapshot())
        .assert_none("an older release is refused before anything is changed");
    assert!(host.holds("curl -fsS http://127.0.0.1:3000/v1/ping"));
}

fn publish(host: &LabHost) {
    host.copy_in(&checkout().join("tests/fixtures/modules/demo_v1.wasm"), "/root/demo.wasm");
    host.sh("set -eu; api=http://127.0.0.1:3000/v1
         token=$(curl -fsS -X POST $api/identity | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')
         curl -fsS -X PUT --data-binary @/root/demo.wasm -H 'Content-Type: application/wasm' \
           -H \"Authorization: Bearer $token\" $api/database/demo");
}

fn schema(host: &LabHost) -> String {
    host.sh("curl -fsS 'http://127.0.0.1:3000/v1/database/demo/schema?version=9'")
}

#[test]
fn a_host_deploys_itself_and_a_firewall_that_locks_out_goes_off_again() {
    let host = LabHost::up("inside");
    host.copy_in(&binary(), "/usr/local/bin/stdbctl");
    let here = |more: &[&str]| {
        let inside = line(&[&host.wish_private()], more).join(" ");
        let mut docker = Command::new("docker");
        docker.args(["exec", "--user", "ubuntu", "--workdir", "/home/ubuntu", "--env", "HOME=/home/ubuntu"]);
        docker.args([&host.container, "sh", "-c", &format!("stdbctl {inside}")]);
        finish(&mut docker, Duration::from_secs(300))
    };
    let deploy = ["deploy", "--host", "local", "--yes", "--output", "json"];
    let first = here(&deploy);
    assert!(first.status.success(), "{first:?}");
    let again = here(&deploy);
    assert!(again.status.success() && again.stdout.contains(r#""changed":0,"#), "{again:?}");
    assert!(host.sh("ufw status").contains("22/tcp"), "sshd's own port stays open");

    let operator = Operator::new();
    locked_out(&host, &operator);
    other_port(&host, &operator);
}

/// From the moment ufw is on, no new connection to SSH gets in.
fn locked_out(host: &LabHost, operator: &Operator) {
    host.sh(
        "ufw disable; cp /etc/ufw/before.rules /root/before.rules; sed -i '0,/^COMMIT/s//\
         -I ufw-before-input 1 -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP\\nCOMMIT/' /etc/ufw/before.rules",
    );
    let run =
        operator.run(&line(&[&host.reach(), &host.wish_private()], &["deploy", "--yes", "--output", "json"]));
    run.failed(1, &["no new ssh connection got in", "off again"]);
    // The connection it came over was not harmed: the host's own account of it has arrived.
    assert_eq!(run.tasks("failed"), ["firewall"], "{run}");
    assert_eq!(host.sh("ufw status"), "Status: inactive\n");
    assert!(!host.holds("systemctl list-timers --all --plain | grep stdbctl-revert"), "no timer is left");
    host.sh("mv /root/before.rules /etc/ufw/before.rules");
}

/// sshd listens elsewhere: that port is let in.
fn other_port(host: &LabHost, operator: &Operator) {
    host.sh(
        "ufw delete allow 22/tcp; echo 'Port 2222' >/etc/ssh/sshd_config.d/port.conf; systemctl restart ssh",
    );
    let address = SocketAddr::new(host.address, 2222);
    wait_for("sshd listens", SOON, || std::net::TcpStream::connect(address).ok());
    let known = fs::read_to_string(&host.known_hosts).unwrap();
    let rename = |line: &str| {
        let (_, key) = line.split_once(' ').unwrap();
        format!("[{}]:2222 {key}\n", host.address)
    };
    let known = operator.write("known_hosts", &known.lines().map(rename).collect::<String>());
    let user = host.ssh.split('@').next().unwrap();
    let reach = flags(&[
        ("--host", &format!("{user}@{address}")),
        ("--identity", &host.identity.to_string_lossy()),
        ("--known-hosts", &known.to_string_lossy()),
    ]);
    let deploy = line(&[&reach, &host.wish_private()], &["deploy", "--yes", "--output", "json"]);
    assert_eq!(operator.succeed(&deploy).tasks("changed"), ["firewall"]);
    let rules = host.sh("ufw status");
    assert!(rules.contains("2222/tcp") && !rules.contains("\n22/tcp"), "{rules}");
    assert!(operator.succeed(&deploy).tasks("changed").is_empty(), "and gets in again");
}

#[test]
fn certificates_are_renewed_and_commands_run_everywhere() {
    let hosts = LabHost::up_all(&["renewed", "beside"]);
    let operator = Operator::new();
    commands_run_everywhere(&hosts, &operator);

    let host = &hosts[0];
    host.deploy(&operator);
    let serial =
        || host.sh(&format!("openssl x509 -noout -serial </etc/letsencrypt/live/{}/cert.pem", host.domain));
    let served = || {
        host.sh(&format!(
            "openssl s_client -connect 127.0.0.1:443 -servername {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
            host.domain
        ))
    };
    let before = serial();
    assert_eq!(served(), before);
    // The unit as it is, with all its additions; only nothing is due yet.
    host.sh("mkdir -p /run/systemd/system/certbot.service.d
         printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/certbot -q renew --no-random-sleep-on-renew \
         --force-renewal\\n' >/run/systemd/system/certbot.service.d/force.conf
         systemctl daemon-reload && systemctl start certbot.service
         rm -r /run/systemd/system/certbot.service.d && systemctl daemon-reload");
    let renewed = serial();
    assert_ne!(renewed, before);
    wait_for("nginx serves the new one", SOON, || (served() == renewed).then_some(()));
    let again = host.deploy(&operator);
    assert!(again.tasks("changed").is_empty(), "{again}");
}

fn commands_run_everywhere(hosts: &[LabHost], operator: &Operator) {
    let known: String = hosts.iter().map(|host| fs::read_to_string(&host.known_hosts).unwrap()).collect();
    let known = operator.write("known_hosts", &known);
    let mut reach = flags(&[
        ("--identity", &hosts[0].identity.to_string_lossy()),
        ("--known-hosts", &known.to_string_lossy()),
    ]);
    reach.extend(hosts.iter().flat_map(|host| flags(&[("--host", &host.ssh)])));
    let exec = |more: &[&str], script: &str| {
        operator.run(&line(&[&reach], &[&["exec"], more, &["--", "sh", "-c", script]].concat()))
    };
    let [one, two] = [&hosts[0], &hosts[1]];

    let run = exec(&[], "hostname; echo aside >&2");
    run.exited(0);
    for host in hosts {
        assert!(run.stdout.lines().any(|line| line == format!("{}: {}", host.ssh, host.name)), "{run}");
        assert!(run.stderr.lines().any(|line| line == format!("{}: aside", host.ssh)), "{run}");
    }
    assert_eq!(run.stdout.lines().count(), 2, "{run}");

    let only_two = |end: &str| format!("[ $(hostname) = {} ] || {end}", one.name);
    exec(&[], &only_two("exit 3")).failed(1, &["1 of 2", &two.ssh, "exit status 3"]);
    let run = exec(&["--output", "json"], &only_two("kill -TERM $$"));
    run.failed(1, &["1 of 2", &two.ssh, "SIGTERM"]);
    assert!(!run.ok(), "{run}");
    let events = run.events();
    let ended = |host: &LabHost| {
        let mut ends = events.iter().filter(|event| event["event"] == "exec_finished");
        ends.find(|event| event["host"] == host.ssh.as_str()).cloned().unwrap_or_default()
    };
    assert_eq!((ended(one)["status"].as_u64(), ended(one)["signal"].as_str()), (Some(0), None), "{run}");
    assert_eq!((ended(two)["status"].as_u64(), ended(two)["signal"].as_str()), (None, Some("TERM")), "{run}");
}

fn sha256(path: &Path) -> String {
    let sum = run(Command::new("sha256sum").arg(path));
    sum.split_whitespace().next().unwrap().to_owned()
}

fn run(command: &mut Command) -> String {
    let finished = finish(command, SOON);
    assert!(finished.status.success(), "{command:?}: {}", finished.stderr);
    finished.stdout
}
