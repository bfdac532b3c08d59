//! A fresh host becomes a SpacetimeDB served over HTTPS, and stays one after a reboot.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::{finish, wait_for};
use stdbctl_tests::lab::{LabHost, checkout, line};
use stdbctl_tests::operator::Operator;

#[test]
fn a_fresh_host_serves_over_https_and_still_does_after_a_reboot() {
    let host = LabHost::up("deploy");
    let operator = Operator::new();

    let run = host.deploy(&operator);
    assert!(run.ok(), "{run}");
    assert!(run.tasks("failed").is_empty(), "{run}");
    assert!(run.tasks("changed").len() > 20, "{run}");
    let lock = std::fs::read_to_string(operator.home().join("stdbctl.lock")).unwrap();
    assert!(lock.contains("spacetimedb 1.3.0 x86_64 sha256:"), "{lock}");

    publish(&host, "demo");
    serves(&host);
    is_hardened(&host);
    verify(&operator, &host, 0);

    host.reboot();
    wait_for("it answers after the reboot", Duration::from_secs(60), || {
        (host.status("GET", "/v1/ping") == 200).then_some(())
    });
    serves(&host);
    is_hardened(&host);
    let again = host.deploy(&operator);
    assert_eq!(again.tasks("changed"), Vec::<String>::new(), "a reboot leaves nothing to do\n{again}");

    host.sh("systemctl stop spacetimedb");
    verify(&operator, &host, 6);
}

/// Publishes the demo module from inside the host, as the world must not.
fn publish(host: &LabHost, database: &str) {
    host.copy_in(&checkout().join("tests/fixtures/modules/demo_v1.wasm"), "/root/demo.wasm");
    host.sh(&format!(
        "set -eu; api=http://127.0.0.1:3000/v1
         token=$(curl -fsS -X POST $api/identity | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')
         curl -fsS -X PUT --data-binary @/root/demo.wasm -H 'Content-Type: application/wasm' \
           -H \"Authorization: Bearer $token\" $api/database/{database}; rm /root/demo.wasm"
    ));
}

fn serves(host: &LabHost) {
    assert_eq!(host.status("GET", "/v1/ping"), 200);
    assert_eq!(host.upgrade("/v1/database/demo/subscribe", "v1.json.spacetimedb"), 101);
    assert_eq!(host.status("POST", "/v1/identity"), 200);
    for (method, path) in [
        ("PUT", "/v1/database/x"),
        ("POST", "/v1/database"),
        ("DELETE", "/v1/database/demo"),
        ("GET", "/v1/database/demo"),
        ("GET", "/v1/database/demo/schema?version=9"),
        ("GET", "/v1/database/demo/logs"),
        ("POST", "/v1/database/demo/call/add"),
        ("POST", "/v1/database/demo/sql"),
        ("GET", "/v1/metrics"),
        ("GET", "/v1/health"),
        ("GET", "/internal/heap"),
        ("POST", "/internal/heap/settings"),
        ("GET", "/v1/database/..%2f..%2finternal/heap"),
        ("GET", "/v1/database/demo%2fsql/subscribe"),
        ("GET", "/"),
    ] {
        assert_eq!(host.status(method, path), 403, "{method} {path}");
    }
    // Plain HTTP leads to HTTPS, and nothing else answers there.
    assert!(plain(host, 80, "/v1/ping").starts_with("HTTP/1.1 301"), "port 80 redirects");
    assert_eq!(plain(host, 3000, "/v1/ping"), "", "port 3000 does not answer from outside");
    let listening = host.sh("ss -Hltn 'sport = :3000'");
    assert!(listening.contains("127.0.0.1:3000") && listening.lines().count() == 1, "{listening}");
}

/// The first line of an answer over plain HTTP; nothing if there is none.
fn plain(host: &LabHost, port: u16, path: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--include", "--max-time", "5", "--header", &format!("Host: {}", host.domain)]);
    curl.arg(format!("http://{}{path}", SocketAddr::new(host.ip(), port)));
    let answer = finish(&mut curl, Duration::from_secs(30));
    answer.stdout.lines().next().unwrap_or_default().trim_end().to_owned()
}

fn is_hardened(host: &LabHost) {
    let firewall = host.sh("ufw status verbose");
    for rule in ["Status: active", "deny (incoming)", "22/tcp", "80/tcp", "443/tcp"] {
        assert!(firewall.contains(rule), "no `{rule}` in\n{firewall}");
    }
    assert!(!firewall.contains("3000"), "{firewall}");
    let unit = host.sh(
        "systemctl show spacetimedb -p KillSignal -p LimitNOFILE -p NoNewPrivileges -p ProtectSystem -p ProtectHome \
         -p PrivateTmp -p PrivateDevices -p User -p UMask -p Restart -p CapabilityBoundingSet -p ActiveState \
         -p UnitFileState -p RequiresMountsFor",
    );
    for line in [
        "KillSignal=2",
        "LimitNOFILE=65536",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "User=spacetimedb",
        "UMask=0077",
        "Restart=always",
        "CapabilityBoundingSet=",
        "ActiveState=active",
        "UnitFileState=enabled",
    ] {
        assert!(unit.lines().any(|shown| shown == line), "no `{line}` in\n{unit}");
    }
    assert_eq!(host.sh("stat -c '%a %U' /stdb/config /stdb/data"), "700 spacetimedb\n700 spacetimedb\n");
    assert!(host.holds("systemctl is-active -q certbot.timer && systemctl is-enabled -q certbot.timer"));
    assert!(!host.holds("systemctl --failed --plain --no-legend | grep ."), "no unit has failed");
}

fn verify(operator: &Operator, host: &LabHost, code: i32) {
    let resolve = format!("{}={}", host.domain, host.ip());
    let root = host.acme_root.to_string_lossy();
    let run = operator.run(&line(
        &[],
        &["verify", "--domain", &host.domain, "--resolve", &resolve, "--ca", &root, "--output", "json"],
    ));
    run.exited(code);
    run.document();
}
