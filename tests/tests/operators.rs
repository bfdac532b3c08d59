//! Several people and a job, each with a key of their own, publish to one host with no step in between.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::lab::{LabHost, checkout, flags, line};
use stdbctl_tests::operator::Operator;

/// Someone who logs in to the host in a way of their own.
struct Member {
    operator: Operator,
    reach: Vec<String>,
}

impl Member {
    /// With a new key, which `user` of the host lets in under these options of `authorized_keys(5)`.
    fn join(host: &LabHost, user: &str, options: &str) -> Self {
        let operator = Operator::new();
        let key = operator.home().join("key");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        assert!(finish(&mut keygen, Duration::from_secs(20)).status.success());
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        host.sh(&format!(
            "install -d -m 700 -o {user} -g {user} /home/{user}/.ssh && \
             echo '{options} {}' >>/home/{user}/.ssh/authorized_keys && chown {user}: /home/{user}/.ssh/authorized_keys",
            public.trim()
        ));
        let reach = flags(&[
            ("--host", &format!("{user}@{}", host.ip())),
            ("--identity", &key.to_string_lossy()),
            ("--known-hosts", &host.known_hosts.to_string_lossy()),
        ]);
        Self { operator, reach }
    }

    fn publish(&self, module: &str, more: &[&str]) {
        let module = modules().join(module);
        let publish = ["publish", module.to_str().unwrap(), "--name", "game", "--yes", "--output", "json"];
        let run = self.operator.succeed(&line(&[&self.reach], &[&publish[..], more].concat()));
        assert!(run.tasks("changed").contains(&"publish".to_owned()), "{run}");
    }
}

fn modules() -> PathBuf {
    checkout().join("tests/fixtures/modules")
}

#[test]
fn whoever_may_log_in_publishes_as_the_same_owner() {
    let host = LabHost::up("members");
    let ada = Operator::new();
    let deploy = ["deploy", "--yes", "--output", "json"];
    ada.succeed(&line(&[&host.reach(), &host.wish_private()], &deploy));
    host.sh("useradd -m -s /bin/bash bob && echo 'bob ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/bob");
    let ada = Member { operator: ada, reach: host.reach() };
    let bob = Member::join(&host, "bob", "");
    let job = Member::join(&host, "ubuntu", "restrict");

    ada.publish("demo_v1.wasm", &[]);
    bob.publish("demo_v4_noreducer.wasm", &["--break-clients"]);
    job.publish("demo_v1.wasm", &[]);
    ada.publish("demo_v2_addtable.wasm", &[]);

    let tokens = host.sh("find /stdb/config/stdbctl -type f -printf '%m %u %p\\n'");
    assert_eq!(tokens.lines().count(), 1, "one owner: {tokens}");
    assert!(tokens.starts_with("600 spacetimedb "), "{tokens}");
    let databases = host.sh(
        "curl -fsS http://127.0.0.1:3000/v1/identity/$(basename /stdb/config/stdbctl/*.jwt .jwt)/databases",
    );
    assert_eq!(databases.matches("c200").count(), 1, "it owns the one database: {databases}");
    // The part of a token that proves something is in no other file that outlives a reboot, and in none of /run.
    let signature = host.sh("cut -d. -f3 /stdb/config/stdbctl/*.jwt");
    let elsewhere = format!("grep -rlF -- '{}' /etc /home /root /run /stdb /tmp /var || :", signature.trim());
    assert_eq!(
        host.sh(&elsewhere),
        tokens.split_once("/stdb").map(|(_, path)| format!("/stdb{path}")).unwrap()
    );
}
