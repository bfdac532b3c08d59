//! The owner of a host's databases, with whatever proves it lost in turn: the token, the server's key, both.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use serde_json::Value;
use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::lab::{LabHost, checkout, line};
use stdbctl_tests::operator::{Operator, Run};

const OWNER: &str = "c20048614e10aa1963d4769a602df2812dc054fd5ea6dc3f48028ab20c30835f";
const SOON: Duration = Duration::from_secs(120);
/// What the guide's way leaves in the home directory.
const CLI_TOML: &str = "/home/ubuntu/.config/spacetime/cli.toml";

/// Someone in front of a deployed host.
struct Scene {
    host: LabHost,
    operator: Operator,
}

impl Scene {
    fn identity(&self, flags: &[&str]) -> Run {
        self.operator.run(&line(&[&self.host.reach()], &[&["identity"], flags].concat()))
    }

    /// `identity --output json` that must end so; its report on the host.
    fn report(&self, code: i32, flags: &[&str]) -> Value {
        let run = self.identity(&[&["--output", "json"], flags].concat());
        let document = run.exited(code).document();
        assert_eq!(document["ok"], code == 0, "{run}");
        document["hosts"][0].clone()
    }

    /// Repairs or adopts; all is well afterwards. What was done.
    fn mended(&self, flag: &str) -> Vec<String> {
        let run = self.identity(&[flag, "--yes", "--output", "json"]);
        let document = run.exited(0).document();
        let title = |done: &Value| done["title"].as_str().unwrap().to_owned();
        document["repaired"].as_array().unwrap().iter().map(title).collect()
    }

    /// It fails, saying this, and `--repair` can do nothing about it.
    fn cannot_be_repaired(&self, cause: &[&str], next: &str) {
        for flags in [&[][..], &["--repair", "--yes"]] {
            let run = self.identity(flags);
            assert!(run.failed(1, cause).stderr.contains(next), "{run}");
        }
    }

    /// Publishes by hand on the host, with the token kept for this identity; the status and what was done.
    fn publish(&self, identity: &str, name: &str) -> String {
        let url = format!("http://127.0.0.1:3000/v1/database/{name}?host_type=Wasm");
        self.host.sh(&format!(
            "printf 'Authorization: Bearer %s\\n' \"$(cat /stdb/config/stdbctl/{identity}.jwt)\" |
             curl -sS -H @- -X PUT --data-binary @/root/demo.wasm -w ' %{{http_code}}' '{url}'"
        ))
    }

    fn restart(&self) {
        self.host.sh("systemctl restart spacetimedb");
        wait_for("the server answers again", SOON, || {
            self.host.holds("curl -fsS http://127.0.0.1:3000/v1/ping").then_some(())
        });
    }

    /// The signature of the token in this file of the host.
    fn signature(&self, file: &str) -> String {
        let text = self.host.sh(&format!("grep -ao 'eyJ[A-Za-z0-9_.-]*' {file}"));
        text.trim().rsplit('.').next().unwrap().to_owned()
    }

    /// The files of the host that hold this text.
    fn files_with(&self, text: &str) -> Vec<String> {
        // What is looked for must lie nowhere that is looked at.
        self.host.sh(&format!("printf %s '{text}' >/dev/shm/wanted"));
        let found =
            self.host.try_sh("grep -rlaF -D skip -f /dev/shm/wanted /etc /var /home /root /run /tmp /stdb");
        let mut files: Vec<_> = found.stdout.lines().map(str::to_owned).collect();
        files.sort();
        files
    }
}

fn kept(identity: &str) -> String {
    format!("/stdb/config/stdbctl/{identity}.jwt")
}

#[test]
fn the_owner_outlives_whatever_is_lost() {
    let scene = Scene { host: LabHost::up("identity"), operator: Operator::new() };
    scene.host.deploy(&scene.operator);
    scene.host.copy_in(&checkout().join("tests/fixtures/modules/demo_v1.wasm"), "/root/demo.wasm");

    looking_changes_nothing(&scene);
    a_lost_token_is_made_anew(&scene);
    a_lost_key_ends_tokens_and_not_the_identity(&scene);
    half_a_pair_has_its_own_words(&scene);
    with_both_lost_the_owner_comes_back(&scene);
    let stranger = a_strangers_databases_are_adopted(&scene);
    adopted_tokens_outlive_the_key_too(&scene, &stranger);
    tokens_are_nowhere_else(&scene, &stranger);
    a_server_that_is_down_is_said(&scene);
}

fn looking_changes_nothing(scene: &Scene) {
    let before = scene.host.snapshot();
    let report = scene.report(0, &[]);
    assert_eq!((report["identity"].as_str(), report["server"].as_str()), (Some(OWNER), Some("1.3.0")));
    assert_eq!(report["keys"]["running"], "same");
    assert_eq!(before, scene.host.snapshot());
    scene.identity(&["--repair"]).failed(2, &["nobody to ask"]);
    assert_eq!(scene.mended("--adopt"), [""; 0]);
    assert_eq!(before, scene.host.snapshot());
}

fn a_lost_token_is_made_anew(scene: &Scene) {
    let title = ["sign a token for the owner's identity"];
    assert_eq!(scene.mended("--repair"), title);
    assert_eq!(scene.mended("--repair"), [""; 0], "it fits");
    let modes = scene.host.sh(&format!("stat -c '%a %U' /stdb/config/stdbctl {}", kept(OWNER)));
    assert_eq!(modes, "700 spacetimedb\n600 spacetimedb\n");
    let published = scene.publish(OWNER, "game");
    assert!(published.contains("\"op\":\"created\"") && published.ends_with(" 200"), "{published}");

    scene.host.sh(&format!("rm {}", kept(OWNER)));
    let run = scene.identity(&[]);
    assert!(run.failed(1, &["lost", "1 database"]).stderr.contains("stdbctl identity --repair"), "{run}");
    assert_eq!(scene.mended("--repair"), title);
    let report = scene.report(0, &[]);
    assert_eq!(report["owners"][0]["databases"][0]["names"][0], "game");
    assert!(scene.publish(OWNER, "game").ends_with(" 200"));
}

fn a_lost_key_ends_tokens_and_not_the_identity(scene: &Scene) {
    scene.host.sh("rm /stdb/config/id_ecdsa /stdb/config/id_ecdsa.pub");
    scene.cannot_be_repaired(&["missing", "makes a new pair when it restarts"], "restore both from a backup");
    scene.restart();
    let report = scene.report(1, &[]);
    let token = &report["checks"][2];
    assert!(token["detail"].as_str().unwrap().contains("another key has signed it (401)"), "{report}");
    assert!(scene.publish(OWNER, "game").ends_with(" 401"));
    scene.mended("--repair");
    let published = scene.publish(OWNER, "game");
    assert!(published.contains("\"op\":\"updated\"") && published.ends_with(" 200"), "{published}");
}

fn half_a_pair_has_its_own_words(scene: &Scene) {
    scene.host.sh("cp -a /stdb/config/id_ecdsa /root/kept; mv /stdb/config/id_ecdsa.pub /root/kept.pub");
    scene.identity(&[]).failed(1, &["id_ecdsa.pub is missing"]);
    assert_eq!(scene.mended("--repair"), ["write id_ecdsa.pub anew, from id_ecdsa"]);
    scene.host.sh("cmp /root/kept.pub /stdb/config/id_ecdsa.pub");
    scene.restart();
    scene.report(0, &[]);

    scene.host.sh("rm /stdb/config/id_ecdsa");
    scene.cannot_be_repaired(&["id_ecdsa is missing", "cannot restart"], "remove id_ecdsa and id_ecdsa.pub");
    scene.host.sh("mv /root/kept /stdb/config/id_ecdsa");
    scene.report(0, &[]);
}

fn with_both_lost_the_owner_comes_back(scene: &Scene) {
    scene.host.sh("rm -r /stdb/config/id_ecdsa /stdb/config/id_ecdsa.pub /stdb/config/stdbctl");
    let run = scene.identity(&["--repair", "--yes"]);
    assert!(run.failed(1, &["missing"]).stderr.contains("mend the key first"), "{run}");
    scene.restart();
    scene.identity(&[]).failed(1, &["lost"]);
    scene.mended("--repair");
    assert!(scene.publish(OWNER, "game").ends_with(" 200"));
}

/// As the guide has it: from a home directory, with whatever identity the server gives.
fn a_strangers_databases_are_adopted(scene: &Scene) -> String {
    scene.host.sh(
        "cp /stdb/bin/current/spacetimedb-cli /root/demo.wasm /home/ubuntu/ && chown ubuntu /home/ubuntu/* &&
         cd /home/ubuntu && as() { runuser -u ubuntu -- env HOME=/home/ubuntu ./spacetimedb-cli \"$@\" </dev/null; } &&
         as login --server-issued-login http://127.0.0.1:3000 &&
         as publish -s http://127.0.0.1:3000 --bin-path demo.wasm guides-game",
    );
    let original = scene.signature(CLI_TOML);
    let report = scene.report(0, &[]);
    let owner = &report["owners"][1];
    assert_eq!((owner["kind"].as_str(), owner["tokens"][0].as_str()), (Some("foreign"), Some(CLI_TOML)));
    assert_eq!(owner["databases"][0]["names"][0], "guides-game");
    let shown = scene.identity(&[]);
    assert!(shown.exited(0).stdout.contains("stdbctl identity --adopt"), "{shown}");
    assert!(shown.stdout.lines().all(|line| line.chars().count() <= 80), "{shown}");

    let stranger = owner["identity"].as_str().unwrap().to_owned();
    let done = scene.mended("--adopt");
    assert!(done.len() == 1 && done[0].contains(CLI_TOML), "{done:?}");
    assert_eq!(scene.report(0, &[])["owners"][1]["kind"], "adopted");
    let shown = scene.identity(&[]);
    assert!(shown.exited(0).stdout.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert_eq!([scene.signature(CLI_TOML), scene.signature(&kept(&stranger))], [&*original, &*original]);
    assert!(scene.publish(&stranger, "guides-game").ends_with(" 200"));
    stranger
}

fn adopted_tokens_outlive_the_key_too(scene: &Scene, stranger: &str) {
    scene.host.sh("rm /stdb/config/id_ecdsa /stdb/config/id_ecdsa.pub");
    scene.restart();
    scene.report(1, &[]);
    assert_eq!(scene.mended("--repair").len(), 2);
    for (identity, name) in [(OWNER, "game"), (stranger, "guides-game")] {
        let published = scene.publish(identity, name);
        assert!(published.contains("\"op\":\"updated\""), "{published}");
    }
}

fn tokens_are_nowhere_else(scene: &Scene, stranger: &str) {
    // Whatever any process has in its arguments or its environment, for as long as we look.
    scene.host.sh(
        "cat >/root/watch <<'END'
while [ ! -e /root/stop ]; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -a '[e]yJ0eXAi' >>/root/seen
done
END
         sh /root/watch >/dev/null 2>&1 &
         until [ -e /root/seen ]; do sleep 0.1; done",
    );
    scene.host.sh(&format!("rm {}", kept(OWNER)));
    scene.mended("--repair");
    scene.report(0, &[]);
    assert_eq!(scene.host.sh("cat /root/seen"), "", "a token was in a process's arguments or environment");
    scene.host.sh("A=eyJ0eXAi-seen tail -f /dev/null >/dev/null 2>&1 & echo $! >/root/tail");
    wait_for("it would have been seen", SOON, || {
        scene.host.holds("grep eyJ0eXAi-seen /root/seen").then_some(())
    });
    scene.host.sh("touch /root/stop; kill \"$(cat /root/tail)\"");

    assert_eq!(scene.files_with(&scene.signature(&kept(OWNER))), [kept(OWNER)]);
    assert_eq!(scene.files_with(&scene.signature(&kept(stranger))), [kept(stranger)]);
    assert_eq!(scene.files_with(&scene.signature(CLI_TOML)), [CLI_TOML]);
}

fn a_server_that_is_down_is_said(scene: &Scene) {
    scene.host.sh("systemctl stop spacetimedb");
    scene.cannot_be_repaired(&["SpacetimeDB does not answer at http://127.0.0.1:3000"], "stdbctl deploy");
    let report = scene.report(1, &["--adopt", "--yes"]);
    assert_eq!((&report["server"], &report["owners"][0]["databases"]), (&Value::Null, &Value::Null));
}
