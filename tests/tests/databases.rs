//! The databases of a deployed host: found, asked, renamed, deleted, and the disk space of deleted ones freed.

#![expect(clippy::indexing_slicing, reason = "a JSON value has no place that cannot be asked for")]

use std::time::Duration;

use serde_json::{Value, json};
use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::lab::{LabHost, checkout, line};
use stdbctl_tests::operator::{Operator, Run};

const SOON: Duration = Duration::from_secs(120);
const API: &str = "http://127.0.0.1:3000/v1";

/// A host with databases, and somebody who asks it.
struct Scene {
    host: LabHost,
    operator: Operator,
}

impl Scene {
    /// A deployed host on which the owner's token is there already.
    fn new(purpose: &str) -> Self {
        let scene = Self { host: LabHost::up(purpose), operator: Operator::new() };
        scene.host.deploy(&scene.operator);
        scene.operator.succeed(&line(&[&scene.host.reach()], &["identity", "--repair", "--yes"]));
        scene.host.copy_in(&checkout().join("tests/fixtures/modules/demo_v1.wasm"), "/root/demo.wasm");
        scene
    }

    fn db(&self, arguments: &[&str]) -> Run {
        self.operator.run(&self.line(arguments))
    }

    fn line(&self, arguments: &[&str]) -> Vec<String> {
        let words = arguments.iter().map(|&argument| argument.to_owned());
        ["db".to_owned()].into_iter().chain(words).chain(self.host.reach()).collect()
    }

    /// What `db` prints for programs.
    fn json(&self, arguments: &[&str]) -> Value {
        let run = self.db(&[arguments, &["--output", "json"]].concat());
        run.exited(0);
        run.document()
    }

    /// Publishes the demo module as the host's owner.
    fn publish(&self, database: &str, query: &str) {
        self.publish_as("$(cat /stdb/config/stdbctl/*.jwt)", database, query);
    }

    fn publish_as(&self, token: &str, database: &str, query: &str) {
        self.host.sh(&format!(
            "curl -fsS -X PUT --data-binary @/root/demo.wasm -H \"Authorization: Bearer {token}\" \
             '{API}/database/{database}?host_type=Wasm{query}'"
        ));
    }

    /// As somebody whose token is nowhere.
    fn publish_as_stranger(&self, database: &str) {
        let token =
            format!("$(curl -fsS -X POST {API}/identity | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')");
        self.publish_as(&token, database, "");
    }

    fn survey(&self) -> Value {
        let document = self.json(&["list"]);
        document["hosts"][0].clone()
    }

    fn replicas(&self) -> Vec<String> {
        self.host.sh("ls -A /stdb/data/replicas").lines().map(str::to_owned).collect()
    }
}

/// The names of a survey's databases and where the tokens of their owners are.
fn owners(survey: &Value) -> Vec<(String, String)> {
    let databases = survey["databases"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    databases.iter().map(|database| (text(&database["names"][0]), text(&database["token"]["at"]))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(one, two)| (one.to_owned(), two.to_owned())).collect()
}

#[test]
fn a_database_is_asked_and_told_as_its_owner() {
    let scene = Scene::new("databases");
    scene.publish("game", "");
    scene.publish_as_stranger("alien");

    scene.db(&["call", "--name", "game", "add", "it's \"bob\""]).exited(0);
    scene.db(&["call", "--name", "game", "add", "3"]).failed(1, &["invalid arguments"]);
    scene.db(&["call", "--name", "game", "add", "\"3\""]).exited(0);
    scene.db(&["call", "--name", "game", "add", ""]).failed(1, &["name must not be empty"]);
    scene.db(&["call", "--name", "game", "nope"]).failed(1, &["nope", "no such reducer"]);

    let rows = scene.json(&["sql", "--name", "game", "select * from person"]);
    assert_eq!(
        rows,
        json!([{"id": 1, "name": "first"}, {"id": 2, "name": "it's \"bob\""}, {"id": 3, "name": "3"}])
    );
    // More digits than a double has.
    let query = "select max_value from st_sequence where sequence_name = 'person_id_seq'";
    let exact = scene.db(&["sql", "--name", "game", query, "--output", "json"]);
    assert!(exact.stdout.contains(": 170141183460469231731687303715884105727\n"), "{exact}");
    let several = scene.json(&[
        "sql",
        "--name",
        "game",
        "select name from person where id = 3",
        "insert into person (id, name) values (0, 'it''s $(id) \\')",
    ]);
    assert_eq!(several[0], json!([{"name": "3"}]));
    assert_eq!(several[1], json!({"inserted": 1, "deleted": 0, "updated": 0}));
    let shown = scene.db(&["sql", "--name", "game", "select name from person where id = 1", "selec"]);
    shown.failed(1, &["sql parser error"]);
    assert_eq!(shown.stdout, "name\nfirst\n");
    scene.db(&["sql", "--name", "alien", "select * from person"]).failed(1, &["alien belongs to", "token"]);
    scene.db(&["sql", "--name", "nope", "select 1"]).failed(1, &["no database nope"]);

    let described = scene.json(&["describe", "--name", "game"]);
    assert_eq!(described["rows"], json!({"person": 4, "secret": 0}), "{described}");
    assert_eq!(described["reducers"][0]["name"], "add");

    let following = scene.operator.start(&scene.line(&["logs", "--name", "game", "-n", "1", "-f"]));
    following.wait_for_line(":", SOON);
    scene.db(&["call", "--name", "game", "add", "seen-by-a-follower"]).exited(0);
    following.wait_for_line("add seen-by-a-follower", SOON);
    assert!(scene.host.holds("pgrep -x curl"), "the log is followed on the host");
    following.kill();
    wait_for("nothing of it runs on", SOON, || (!scene.host.holds("pgrep -x curl")).then_some(()));
    let errors = scene.db(&["logs", "--name", "game", "--level", "error"]);
    assert!(errors.stdout.contains("name must not be empty") && !errors.stdout.contains("INFO"), "{errors}");

    scene.db(&["lock", "--name", "game"]).failed(1, &["1.3.0 cannot lock databases"]);
    scene.db(&["rename", "--name", "game", "alien"]).failed(1, &["already"]);
    scene.db(&["rename", "--name", "game", "arena"]).exited(0);
    scene.db(&["describe", "--name", "game"]).failed(1, &["no database game"]);
    assert_eq!(
        scene.json(&["sql", "--name", "arena", "select count(*) as n from person"]),
        json!([{"n": 5}])
    );

    scene.host.sh("systemctl stop spacetimedb");
    scene.db(&["sql", "--name", "arena", "select 1"]).failed(1, &["SpacetimeDB does not answer"]);
}

#[test]
fn what_deleted_databases_have_left_behind_is_freed_and_nothing_else() {
    let scene = Scene::new("prune");
    scene.publish("game", "");
    scene.db(&["call", "--name", "game", "add", "kept"]).exited(0);
    scene.publish("anew", "");
    scene.publish("anew", "&clear=true");
    scene.publish("gone", "");
    scene.publish_as_stranger("alien");
    let before = scene.replicas();
    assert_eq!(scene.survey()["orphans"].as_array().map(Vec::len), Some(1), "the first of anew's");

    scene.db(&["delete", "--name", "gone"]).failed(2, &["nobody to ask"]);
    let deleted = scene.json(&["delete", "--name", "gone", "--yes"]);
    assert_eq!((&deleted["deleted"], &deleted["rows"]["person"]), (&json!(true), &json!(1)), "{deleted}");
    assert_eq!(scene.replicas(), before, "its files stay");
    // After a restart no database is loaded until it is asked for.
    scene.host.sh(&format!("mkdir -p /stdb/data/replicas/77; systemctl restart spacetimedb; until curl -fs {API}/ping; do :; done"));

    let survey = scene.survey();
    let names = pairs(&[("alien", "unknown"), ("anew", "own"), ("game", "own")]);
    assert_eq!(owners(&survey), names, "{survey}");
    for database in survey["databases"].as_array().into_iter().flatten() {
        assert!(database["bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{database}");
    }
    assert_eq!(survey["orphans"].as_array().map(Vec::len), Some(2), "{survey}");
    assert_eq!(survey["unknown"][0]["name"], "77", "{survey}");

    scene.db(&["prune"]).failed(2, &["nobody to ask"]);
    scene.host.sh("systemctl stop spacetimedb");
    scene.db(&["prune", "--yes"]).failed(1, &["SpacetimeDB does not answer"]);
    assert_eq!(scene.replicas().len(), before.len() + 1, "nothing is removed while the server is down");
    scene.host.sh(&format!("systemctl start spacetimedb; until curl -fs {API}/ping; do :; done"));

    let pruned = scene.json(&["prune", "--yes"]);
    let host = &pruned["hosts"][0];
    assert_eq!(host["replicas"].as_array().map(Vec::len), Some(2), "{pruned}");
    assert!(host["bytes"].as_u64().is_some_and(|bytes| bytes > 500_000), "{pruned}");
    let kept: Vec<_> = before.iter().filter(|name| !is_in(host, name)).cloned().collect();
    assert_eq!(kept.len() + 2, before.len());
    let mut left = scene.replicas();
    left.retain(|name| name != "77");
    assert_eq!(left, kept);
    assert!(!scene.host.holds("ls -d /stdb/data/.pruned-*"), "nothing is left half removed");
    assert_eq!(owners(&scene.survey()), names);

    // What is left is whole, also for a server that reads it anew.
    scene.host.sh(&format!("systemctl restart spacetimedb; until curl -fs {API}/ping; do :; done"));
    let people = scene.json(&["sql", "--name", "game", "select name from person"]);
    assert_eq!(people, json!([{"name": "first"}, {"name": "kept"}]));
    assert_eq!(scene.json(&["sql", "--name", "anew", "select name from person"]), json!([{"name": "first"}]));
    let nothing = scene.db(&["prune", "--yes"]);
    nothing.exited(0);
    assert!(nothing.stdout.contains("nothing was removed"), "{nothing}");
}

/// Whether a replica was freed.
fn is_in(host: &Value, replica: &str) -> bool {
    let freed = host["replicas"].as_array().into_iter().flatten();
    let replica: u64 = replica.parse().unwrap_or_default();
    freed.into_iter().any(|freed| freed["outcome"] == "gone" && freed["replica"] == replica)
}
