//! A connection that is cut just when the firewall waits for its confirmation. ufw and systemd are small scripts here
//! that keep account; `tests/tests/reconnection.rs` has the real ones.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use stdbctl_engine::failure::Failure;

use crate::sandbox::{Sandbox, deploy};
use crate::{changed, of_the_connection, planned};

/// Each writes into the account what it was told; a firewall that is switched on with no way back is a lock-out.
const COMMANDS: [(&str, &str); 4] = [
    (
        "ufw",
        "case $* in
         '--force enable') ls \"$d\"/revert.* >/dev/null 2>&1 || echo 'no way back' >>$d/account; s=yes ;;
         disable) s=no ;;
         esac
         echo \"ENABLED=$s\" >$d/ufw.conf; echo \"$s\" >>$d/account",
    ),
    ("systemd-run", "for word; do case $word in --unit=*) : >$d/revert.${word#--unit=}.timer ;; esac; done"),
    ("systemctl", "[ \"$1\" = stop ] && rm $d/revert.$2"),
    ("iptables", "grep -q yes $d/ufw.conf"),
];

fn tasks() -> Value {
    json!([{"id": "firewall", "title": "firewall", "firewall": {"allow": ["80/tcp"]}}])
}

/// A host with all rules, whose firewall is off.
fn host() -> Sandbox {
    let host = Sandbox::new();
    let write = |name: &str, text: &str| std::fs::write(host.path(name), text).unwrap();
    std::fs::create_dir(host.path("ufw")).unwrap();
    std::fs::create_dir(host.path("commands")).unwrap();
    for (name, script) in COMMANDS {
        let path = host.path("commands").join(name);
        std::fs::write(&path, format!("#!/bin/sh\nd={}\n{script}\n", host.path("ufw").display())).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let rule = |port| format!("### tuple ### allow tcp {port} 0.0.0.0/0 any 0.0.0.0/0 in\n");
    write("ufw/user.rules", &(rule(2222) + &rule(80)));
    write("ufw/default", "DEFAULT_INPUT_POLICY=DROP\nIPV6=no\n");
    write("ufw/ufw.conf", "ENABLED=no\n");
    host
}

/// Whether it goes off later by itself.
fn has_a_way_back(ufw: &Path) -> bool {
    let mut files = std::fs::read_dir(ufw).unwrap().flatten();
    files.any(|entry| entry.file_name().to_string_lossy().starts_with("revert."))
}

/// On or off, each time that was said; and nothing goes off later by itself.
fn account(host: &Sandbox) -> Vec<String> {
    assert!(!has_a_way_back(&host.path("ufw")));
    host.read("ufw/account").lines().map(str::to_owned).collect()
}

/// The same host, whose operator's connection is cut as soon as another one is to confirm the firewall. If that one
/// `gets_in`, as soon as the host knows, of which the operator never hears.
fn cut_at_the_confirmation(gets_in: bool, host_hears: bool) -> Sandbox {
    let asked = Arc::new(AtomicBool::new(false));
    let is_first = Arc::clone(&asked);
    let host = host().lets_in(move || is_first.swap(true, Ordering::SeqCst) || gets_in);
    let ufw = host.path("ufw");
    let so = move || asked.load(Ordering::SeqCst) && !(gets_in && has_a_way_back(&ufw));
    if host_hears { host.cut_when(so) } else { host.forgotten_when(so) }
}

/// A run that is cut there and goes on, and what the account says then.
async fn goes_on(gets_in: bool, expected: &[&str]) {
    for host_hears in [true, false] {
        let host = Arc::new(cut_at_the_confirmation(gets_in, host_hears).that_comes_back());
        let (report, events) = deploy(&host, &tasks(), true).await;
        let connections: Vec<_> = events.iter().filter_map(|event| of_the_connection(&event.kind)).collect();
        assert_eq!(connections, ["lost", "back"]);
        assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
        assert_eq!((report.hosts[0].counts.changed, changed(&events)), (1, vec!["firewall".to_owned()]));
        assert_eq!(account(&host), expected);
    }
}

#[tokio::test]
async fn a_firewall_that_could_not_be_confirmed_before_a_cut_is_confirmed_after_it() {
    goes_on(false, &["yes", "no", "yes"]).await;
}

#[tokio::test]
async fn a_firewall_that_was_confirmed_at_the_cut_stays_on_and_is_not_switched_again() {
    goes_on(true, &["yes"]).await;
}

#[tokio::test]
async fn without_anybody_to_confirm_it_the_firewall_is_off_again_and_the_next_run_switches_it_on() {
    let host = Arc::new(cut_at_the_confirmation(false, true));
    let (report, events) = deploy(&host, &tasks(), true).await;
    let failure = report.hosts[0].failure.as_ref().unwrap();
    assert!(matches!(failure, Failure::Lost(_)), "{failure:?}");
    assert!(failure.hints()[0].contains("run again"), "{:?}", failure.hints());
    assert_eq!((report.hosts[0].counts.changed, changed(&events)), (0, Vec::new()));
    // Whoever looks then waits for the lost run to end.
    let host = Arc::new(Arc::into_inner(host).unwrap().whole());
    let next = async { deploy(&host, &tasks(), true).await };
    let (report, _) = tokio::time::timeout(Duration::from_secs(60), next).await.unwrap();
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    assert_eq!(account(&host), ["yes", "no", "yes"]);
    let (report, _) = deploy(&host, &tasks(), false).await;
    assert_eq!(planned(&report), Vec::<String>::new());
}
