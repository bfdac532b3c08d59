//! Orders: every edge kept, those named and those seen, and what is no graph is told by its tasks' names.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::task::TaskSpec;

fn task(id: &str, needs: &[&str], kind: &str, resource: Value) -> Task {
    let mut spec = json!({"id": id, "title": id, "needs": needs});
    spec[kind] = resource;
    serde_json::from_value::<TaskSpec>(spec).unwrap().into_task(None).unwrap()
}

fn command(id: &str, needs: &[&str]) -> Task {
    task(id, needs, "command", json!({"run": "true", "unless": "false"}))
}

fn directory(id: &str, path: &str) -> Task {
    task(id, &[], "directory", json!({"path": path}))
}

fn file(id: &str, path: &str) -> Task {
    task(id, &[], "file", json!({"path": path, "content": ""}))
}

fn ids<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Vec<&'a str> {
    tasks.into_iter().map(|task| task.id.as_str()).collect()
}

/// What the task needs directly, in the graph's order.
fn needs(tasks: &[Task], id: &str) -> Vec<String> {
    let graph = Graph::new(tasks).unwrap();
    graph.needs(id).into_iter().map(|task| task.id.clone()).collect()
}

fn refused(tasks: &[Task]) -> String {
    Graph::new(tasks).unwrap_err().to_string()
}

#[test]
fn a_playbook_without_edges_keeps_its_order() {
    let graph = Graph::new(&[command("c", &[]), command("a", &[]), command("b", &[])]).unwrap();
    assert_eq!(ids(graph.tasks()), ["c", "a", "b"]);
}

#[test]
fn what_is_needed_comes_first_and_the_rest_stays_where_it_was() {
    let tasks = [command("a", &["d"]), command("b", &[]), command("c", &[]), command("d", &[])];
    assert_eq!(ids(Graph::new(&tasks).unwrap().tasks()), ["b", "c", "d", "a"]);
}

#[test]
fn two_tasks_with_one_id_are_refused() {
    assert_eq!(refused(&[command("a", &[]), command("a", &[])]), "two tasks have the id `a`");
}

#[test]
fn a_need_that_is_no_task_is_refused() {
    assert_eq!(refused(&[command("a", &["b"])]), "task `a` needs `b`, which is not a task");
    let service = task("s", &[], "service", json!({"name": "s", "with": ["unit"]}));
    assert_eq!(refused(&[service]), "task `s` needs `unit`, which is not a task");
}

#[test]
fn a_circle_is_told_in_its_order_without_what_only_leads_to_it() {
    let tasks = [
        command("free", &[]),
        command("outside", &["a"]),
        command("a", &["b", "free"]),
        command("b", &["c"]),
        command("c", &["a"]),
    ];
    assert_eq!(refused(&tasks), "tasks need each other in a circle: a -> b -> c -> a");
}

#[test]
fn a_circle_of_a_named_edge_and_a_seen_one_is_found() {
    let mut above = directory("above", "/a");
    above.needs = vec!["below".to_owned()];
    assert_eq!(
        refused(&[above, file("below", "/a/b")]),
        "tasks need each other in a circle: above -> below -> above"
    );
}

#[test]
fn a_task_that_names_itself_needs_nothing() {
    assert_eq!(needs(&[command("a", &["a"])], "a"), Vec::<String>::new());
}

#[test]
fn a_file_needs_the_nearest_directory_above_it() {
    let tasks =
        [file("file", "/a/b/c/d"), directory("far", "/a"), directory("near", "/a/b"), file("x", "/ab")];
    assert_eq!(needs(&tasks, "file"), ["near"]);
    assert_eq!(needs(&tasks, "near"), ["far"]);
    assert_eq!(
        needs(&tasks, "x"),
        Vec::<String>::new(),
        "a name that only begins alike is no directory of it"
    );
}

#[test]
fn a_file_needs_its_owner_and_group_and_the_owner_the_group() {
    let tasks = [
        task("file", &[], "file", json!({"path": "/f", "content": "", "owner": "u", "group": "g"})),
        task("user", &[], "user", json!({"name": "u", "group": "g", "home": "/", "shell": "/bin/sh"})),
        task("group", &[], "group", json!({"name": "g"})),
    ];
    assert_eq!(needs(&tasks, "file"), ["group", "user"]);
    assert_eq!(needs(&tasks, "user"), ["group"]);
}

#[test]
fn a_user_is_no_group_of_the_same_name() {
    let tasks = [
        task("file", &[], "file", json!({"path": "/f", "content": "", "group": "stdb"})),
        task("user", &[], "user", json!({"name": "stdb", "group": "users", "home": "/", "shell": "/bin/sh"})),
    ];
    assert_eq!(needs(&tasks, "file"), Vec::<String>::new());
}

#[test]
fn a_link_needs_what_it_leads_to_however_that_is_written() {
    for target in ["/srv/available/site", "../available/site", "./../available//site"] {
        let link = task("link", &[], "symlink", json!({"path": "/srv/enabled/site", "target": target}));
        assert_eq!(needs(&[link, file("site", "/srv/available/site")], "link"), ["site"], "{target}");
    }
    let link = task("link", &[], "symlink", json!({"path": "/bin/current", "target": "1.0"}));
    assert_eq!(needs(&[link, directory("release", "/bin/1.0")], "link"), ["release"]);
}

#[test]
fn a_service_needs_what_it_runs_with() {
    let service = task("s", &[], "service", json!({"name": "s", "with": ["unit", "key"]}));
    let tasks = [service, file("key", "/key"), file("unit", "/unit")];
    assert_eq!(needs(&tasks, "s"), ["key", "unit"]);
}

#[test]
fn a_certificate_needs_its_web_root() {
    let certificate =
        task("c", &[], "certificate", json!({"domains": ["a.example"], "webroot": "/var/www/acme"}));
    assert_eq!(needs(&[certificate, directory("root", "/var/www")], "c"), ["root"]);
}

#[test]
fn what_is_left_out_provides_nothing_but_may_be_named() {
    let mut skipped = directory("skipped", "/a/b");
    skipped.skipped = Some("tls is not set".to_owned());
    let tasks = [file("file", "/a/b/c"), skipped, directory("above", "/a"), command("after", &["skipped"])];
    assert_eq!(needs(&tasks, "file"), ["above"]);
    assert_eq!(needs(&tasks, "after"), ["skipped"]);
}

#[test]
fn ancestors_are_all_that_is_needed_each_once() {
    let tasks = [command("d", &["b", "c"]), command("c", &["a"]), command("b", &["a"]), command("a", &[])];
    let graph = Graph::new(&tasks).unwrap();
    let mut ancestors = ids(graph.ancestors("d"));
    ancestors.sort_unstable();
    assert_eq!(ancestors, ["a", "b", "c"]);
    assert!(graph.ancestors("a").is_empty());
    assert!(graph.ancestors("nobody").is_empty());
}

/// Tasks whose needs point at any others, and paths that may lie in each other.
fn any_tasks() -> impl Strategy<Value = Vec<Task>> {
    let resource = prop_oneof![
        Just(("command", json!({"run": "true", "unless": "false"}))),
        "(/[ab]){1,4}".prop_map(|path| ("directory", json!({"path": path, "owner": "u"}))),
        "(/[ab]){1,4}".prop_map(|path| ("file", json!({"path": path, "content": "", "group": "g"}))),
        ("(/[ab]){1,4}", "(\\.\\./)?[ab]").prop_map(|(p, t)| ("symlink", json!({"path": p, "target": t}))),
        Just(("user", json!({"name": "u", "group": "g", "home": "/", "shell": "/"}))),
        Just(("group", json!({"name": "g"}))),
    ];
    prop::collection::vec((resource, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..12)
        .prop_map(|drawn| {
            let count = drawn.len();
            let made = drawn.into_iter().enumerate().map(|(place, ((kind, resource), needs))| {
                let needs: Vec<String> = needs.iter().map(|need| format!("t{}", need.index(count))).collect();
                let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                task(&format!("t{place}"), &needs, kind, resource)
            });
            made.collect()
        })
}

proptest! {
    #[test]
    fn every_order_keeps_every_edge_and_every_circle_is_one(tasks in any_tasks()) {
        match Graph::new(&tasks) {
            Ok(graph) => {
                prop_assert_eq!(graph.tasks().len(), tasks.len());
                let place = |id: &str| graph.tasks().iter().position(|task| task.id == id).unwrap();
                for task in graph.tasks() {
                    let needed = ids(graph.needs(&task.id));
                    for named in task.needs.iter().filter(|need| **need != task.id) {
                        prop_assert!(needed.contains(&named.as_str()), "{} forgot {named}", task.id);
                    }
                    for need in needed {
                        prop_assert!(place(need) < place(&task.id), "{} before {need}", task.id);
                    }
                }
            }
            Err(GraphError::Cycle(circle)) => {
                prop_assert!(circle.len() > 1);
                prop_assert_eq!(circle.first(), circle.last());
                let places = places(&tasks).unwrap();
                for pair in circle.windows(2) {
                    let place = places[pair[0].as_str()];
                    let edges = edges(place, &tasks[place], &tasks, &places).unwrap();
                    prop_assert!(edges.contains(&places[pair[1].as_str()]), "{} does not need {}", pair[0], pair[1]);
                }
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
