//! What goes to a host: its length first, each change with the numbers it waits for, payloads in their order.

use serde_json::{Value, json};

use super::*;
use crate::observe::Observation;
use crate::planner;
use crate::record::Record;
use crate::task::{Task, TaskSpec};

fn graph(list: Value) -> Graph {
    let specs: Vec<TaskSpec> = serde_json::from_value(list).unwrap();
    let tasks: Vec<Task> = specs.into_iter().map(|spec| spec.into_task(None).unwrap()).collect();
    Graph::new(&tasks).unwrap()
}

/// The script for a host on which only these commands have nothing to do.
fn apply(graph: &Graph, done: &[&str]) -> Vec<Stdin> {
    let record = |id: &&str| Record { kind: format!("extra:{id}"), data: b"\n0".to_vec() };
    let seen = Observation::read(&done.iter().map(record).collect::<Vec<_>>());
    let changes = planner::plan(graph, &seen);
    let key = RunKey { nonce: "n0nce".to_owned(), id: "run".to_owned(), holder: "it's ada".to_owned() };
    let apply = Apply { key: &key, lost_run: "", digest: &seen.digest };
    apply.script(graph, &planner::probes(graph), &changes)
}

/// The script itself, once its length is found to be true.
fn script(stdin: &[Stdin]) -> String {
    let Stdin::Bytes(first) = &stdin[0] else { panic!("the script is in memory") };
    let (length, script) = std::str::from_utf8(first).unwrap().split_once('\n').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), script.len());
    script.to_owned()
}

/// The lines that make tasks known: `task NUMBER ID LOCK PAYLOAD NEED...`.
fn tasks(script: &str) -> Vec<&str> {
    let known =
        |line: &&str| line.strip_prefix("task ").is_some_and(|rest| rest.starts_with(char::is_numeric));
    script.lines().filter(known).collect()
}

fn command(id: &str, needs: &[&str]) -> Value {
    json!({"id": id, "title": id, "needs": needs, "command": {"run": format!("run-{id}"), "unless": "false"}})
}

#[test]
fn a_change_waits_for_all_changes_before_it_also_through_tasks_with_nothing_to_do() {
    let graph = graph(json!([
        command("a", &[]),
        command("b", &["a"]),
        command("c", &["b"]),
        command("d", &[]),
        command("e", &["c", "d"]),
    ]));
    let all = script(&apply(&graph, &[]));
    assert_eq!(
        tasks(&all),
        ["task 1 a - -", "task 2 b - - 1", "task 3 c - - 1 2", "task 4 d - -", "task 5 e - - 1 2 3 4"]
    );
    let some = script(&apply(&graph, &["b", "c"]));
    assert_eq!(tasks(&some), ["task 1 a - -", "task 2 d - -", "task 3 e - - 1 2"]);
    assert!(some.contains("task_3() {\nrun-e\n}\n"), "each function has its change's number");
    assert!(!some.contains("run-b"), "what has nothing to do is not sent");
}

#[test]
fn locks_and_payloads_are_told_and_payloads_follow_in_their_order() {
    let graph = graph(json!([
        {"id": "one", "title": "one", "file": {"path": "/1", "content": "first"}},
        {"id": "packages", "title": "packages", "package": {"names": ["nginx"]}},
        {"id": "two", "title": "two", "needs": ["packages"], "file": {"path": "/2", "source": "fixtures/local.txt"}},
    ]));
    let stdin = apply(&graph, &[]);
    let script = script(&stdin);
    assert_eq!(tasks(&script), ["task 1 one - waiting", "task 2 packages dpkg -", "task 3 two - waiting 2"]);
    assert!(script.ends_with("payloads='1:5 3:18'\napply\nrec end ''\n"), "{script}");
    assert!(matches!(&stdin[1], Stdin::Bytes(bytes) if bytes == b"first"));
    assert!(matches!(&stdin[2], Stdin::File { len: 18, .. }));
    assert_eq!(stdin.len(), 3);
}

#[test]
fn who_holds_the_host_is_one_word_and_the_digest_is_that_of_the_plan() {
    let graph = graph(json!([command("a", &[])]));
    let script = script(&apply(&graph, &[]));
    let digest = Observation::read(&[]).digest;
    let first = format!(
        r"nonce=n0nce run_id=run holder='it'\''s ada' lost_run= digest={digest} ssh_connection=${{1:-}} count=0"
    );
    assert_eq!(script.lines().next().unwrap(), first);
}

#[test]
fn the_script_that_looks_changes_nothing_and_ends_with_its_mark() {
    let graph =
        graph(json!([command("a", &[]), {"id": "f", "title": "f", "file": {"path": "/f", "content": ""}}]));
    let script = script(&[Stdin::Bytes(observe("n0nce", &planner::probes(&graph)))]);
    assert!(script.starts_with("nonce=n0nce ssh_connection=${1:-}\n"));
    assert!(script.ends_with("\nobserve_stable\nobserve_volatile\nrec end ''\n"));
    assert!(!script.contains("run-a") && !script.contains("put_file"));
}

#[test]
fn a_fresh_connection_leaves_the_mark_the_firewall_waits_for() {
    assert_eq!(script(&confirm("run-1")), ": >/var/lib/stdbctl/run/run-1/confirmed\n");
}
