//! What the plan lists is what a deployment changes: on a fresh host, on a finished one, and on a damaged one.

use std::collections::BTreeSet;

use serde_json::Value;
use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::{Operator, Run};

/// A damage, the words the plan must name it with, and whether SpacetimeDB must be started anew to mend it.
struct Damage {
    name: &'static str,
    inflict: &'static str,
    /// Words of the change that names it: in its details or its diffs.
    named: &'static [&'static str],
    restarts: bool,
}

const DAMAGES: [Damage; 10] = [
    Damage {
        name: "site file deleted",
        inflict: "rm /etc/nginx/sites-available/spacetimedb",
        named: &["/etc/nginx/sites-available/spacetimedb", "server_name"],
        restarts: false,
    },
    Damage {
        name: "user's shell changed",
        inflict: "usermod -s /bin/bash spacetimedb",
        named: &["/bin/bash", "/usr/sbin/nologin"],
        restarts: false,
    },
    Damage { name: "firewall off", inflict: "ufw disable", named: &["switch it on"], restarts: false },
    Damage {
        name: "symlink moved",
        inflict: "ln -sfn /nowhere /etc/nginx/sites-enabled/spacetimedb",
        named: &["/nowhere -> /etc/nginx/sites-available/spacetimedb"],
        restarts: false,
    },
    Damage {
        name: "directory mode changed",
        inflict: "chmod 0755 /stdb/data",
        named: &["0755", "0700"],
        restarts: false,
    },
    Damage {
        name: "certificate removed",
        inflict: "rm -rf /etc/letsencrypt/live /etc/letsencrypt/archive /etc/letsencrypt/renewal",
        named: &["certificate"],
        restarts: false,
    },
    Damage {
        name: "package purged",
        inflict: "DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq certbot >/dev/null 2>&1",
        named: &["certbot"],
        restarts: false,
    },
    Damage {
        name: "unit edited",
        inflict: "sed -i 's/KillSignal=SIGINT/KillSignal=SIGTERM/' /etc/systemd/system/spacetimedb.service; \
                  systemctl daemon-reload; systemctl restart spacetimedb",
        named: &["-KillSignal=SIGTERM", "+KillSignal=SIGINT"],
        restarts: true,
    },
    Damage {
        name: "archive corrupted",
        inflict: "printf x >>/stdb/bin/1.3.0/spacetimedb-cli",
        named: &["1.3.0"],
        // What runs was started from the whole release.
        restarts: false,
    },
    Damage {
        name: "service stopped",
        inflict: "systemctl stop spacetimedb",
        named: &["start"],
        restarts: true,
    },
];

#[test]
fn the_plan_is_what_is_done() {
    let host = LabHost::up("damage");
    let operator = Operator::new();

    let fresh = plan(&operator, &host);
    assert!(tasks(&fresh).len() > 20, "a fresh host has a full plan");
    let site =
        fresh.iter().find(|change| change["diffs"][0]["path"] == "/etc/nginx/sites-available/spacetimedb");
    assert!(site.is_some_and(|change| change.to_string().contains("server_name")), "with full diffs");
    assert!(!host.holds("test -e /stdb || id spacetimedb"), "a plan changes nothing");
    agree("a fresh host", &fresh, &host.deploy(&operator));
    assert!(plan(&operator, &host).is_empty(), "a finished host has an empty plan");
    agree("a finished host", &[], &host.deploy(&operator));

    let finished = host.state();
    for damage in &DAMAGES {
        one_at_a_time(damage, &operator, &host);
        finished.differences(&host.state()).assert_none(damage.name);
    }
    all_at_once(&operator, &host);
    finished.differences(&host.state()).assert_none("all damages at once");
    assert_eq!(host.status("GET", "/v1/ping"), 200);
}

fn one_at_a_time(damage: &Damage, operator: &Operator, host: &LabHost) {
    let name = damage.name;
    host.sh(damage.inflict);
    let running = started(host);
    let changes = plan(operator, host);
    let words = changes.iter().map(Value::to_string).collect::<String>();
    for word in damage.named {
        assert!(words.contains(word), "{name}: the plan does not say `{word}`: {changes:#?}");
    }
    assert!(changes.len() <= 8, "{name}: more than it needs: {changes:#?}");
    let run = host.deploy(operator);
    agree(name, &changes, &run);
    assert_eq!(started(host) != running, damage.restarts, "{name}: whether SpacetimeDB was restarted\n{run}");
    assert!(plan(operator, host).is_empty(), "{name}: mended");
}

fn all_at_once(operator: &Operator, host: &LabHost) {
    for damage in &DAMAGES {
        host.sh(damage.inflict);
    }
    let changes = plan(operator, host);
    agree("all damages at once", &changes, &host.deploy(operator));
    assert!(plan(operator, host).is_empty(), "all mended");
}

/// Which start of SpacetimeDB is running.
fn started(host: &LabHost) -> String {
    host.sh("systemctl show -p InvocationID -p MainPID spacetimedb")
}

fn plan(operator: &Operator, host: &LabHost) -> Vec<Value> {
    operator.succeed(&line(&[&host.reach(), &host.wish()], &["plan", "--output", "json"])).planned()
}

fn tasks(changes: &[Value]) -> BTreeSet<String> {
    changes.iter().map(|change| change["task"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What was listed is what was changed: no more, no less.
fn agree(what: &str, planned: &[Value], run: &Run) {
    let changed: BTreeSet<_> = run.tasks("changed").into_iter().collect();
    assert_eq!(tasks(planned), changed, "{what}\n{run}");
}
