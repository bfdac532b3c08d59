//! The engine's whole way (observe, plan, apply, observe again) on real shells and real files.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the functions between the tests fail as the tests do"
)]

mod firewall;
mod sandbox;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use sandbox::{Sandbox, deploy};
use serde_json::{Value, json};
use stdbctl_engine::event::{EventKind, Outcome};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::plan::Action;

/// A small house: a directory, two files, a link, a command.
fn house() -> Value {
    json!([
        {"id": "directory", "title": "directory", "directory":
            {"path": "@/etc", "owner": "OWNER", "group": "GROUP", "mode": "0750"}},
        {"id": "unit", "title": "unit", "file":
            {"path": "@/etc/unit", "owner": "OWNER", "group": "GROUP", "mode": "0640", "content": "one\ntwo\n"}},
        {"id": "site", "title": "site", "file":
            {"path": "@/etc/site", "owner": "OWNER", "group": "GROUP", "content": "it's 100% $HOME `id`\n", "validate": "grep -q it %s"}},
        {"id": "link", "title": "link", "symlink": {"path": "@/etc/current", "target": "unit"}},
        {"id": "made", "title": "made", "needs": ["link"], "command": {"run": "cp @/etc/current @/made", "creates": "@/made"}}
    ])
}

fn planned(report: &stdbctl_engine::run::Report) -> Vec<String> {
    report.hosts[0].plan.as_ref().unwrap().changes.iter().map(|change| change.task.clone()).collect()
}

fn changed(events: &[stdbctl_engine::event::Event]) -> Vec<String> {
    let mut changed: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::TaskFinished { task, outcome: Outcome::Changed, .. } => Some(task.clone()),
            _ => None,
        })
        .collect();
    changed.sort();
    changed
}

async fn builds_and_rests(shell: &[&'static str]) {
    let host = Arc::new(Sandbox::under(shell));
    let (report, events) = deploy(&host, &house(), true).await;
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    let mut plan = planned(&report);
    plan.sort();
    assert_eq!(plan, ["directory", "link", "made", "site", "unit"]);
    assert_eq!(changed(&events), plan, "what was planned is what was changed");
    assert_eq!(host.read("etc/unit"), "one\ntwo\n");
    assert_eq!(host.read("etc/site"), "it's 100% $HOME `id`\n");
    assert_eq!(host.read("made"), "one\ntwo\n");
    assert_eq!(host.path("etc").metadata().unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(host.path("etc/unit").metadata().unwrap().permissions().mode() & 0o7777, 0o640);

    let (report, events) = deploy(&host, &house(), true).await;
    assert!(report.hosts[0].failure.is_none());
    assert_eq!(planned(&report), Vec::<String>::new());
    assert_eq!(report.hosts[0].counts.unchanged, 5);
    assert!(matches!(events.last().unwrap().kind, EventKind::RunFinished { ok: true, .. }));
}

#[tokio::test]
async fn dash_builds_and_rests() {
    builds_and_rests(&["dash"]).await;
}

#[tokio::test]
async fn bash_builds_and_rests() {
    builds_and_rests(&["bash"]).await;
}

#[tokio::test]
async fn busybox_builds_and_rests() {
    builds_and_rests(&["busybox", "sh"]).await;
}

#[tokio::test]
async fn a_damage_is_named_with_its_diff_and_mended_alone() {
    let host = Arc::new(Sandbox::new());
    deploy(&host, &house(), true).await;
    std::fs::write(host.path("etc/unit"), "one\nTWO\n").unwrap();
    let (report, _) = deploy(&host, &house(), false).await;
    assert_eq!(planned(&report), ["unit"]);
    let change = &report.hosts[0].plan.as_ref().unwrap().changes[0];
    assert_eq!(change.action, Action::Update);
    assert!(change.diffs[0].diff.contains("-TWO\n+two\n"), "{}", change.diffs[0].diff);
    assert_eq!(host.read("etc/unit"), "one\nTWO\n", "a plan changes nothing");

    let (_, events) = deploy(&host, &house(), true).await;
    assert_eq!(changed(&events), ["unit"]);
    assert_eq!(host.read("etc/unit"), "one\ntwo\n");
    let kept = std::process::Command::new("grep")
        .arg("-rl")
        .arg("TWO")
        .arg(host.path("state/kept"))
        .output()
        .unwrap();
    assert!(!kept.stdout.is_empty(), "what was there is kept");
}

#[tokio::test]
async fn a_mode_is_mended_without_writing_the_file() {
    let host = Arc::new(Sandbox::new());
    deploy(&host, &house(), true).await;
    let before = host.path("etc/unit").metadata().unwrap().modified().unwrap();
    std::fs::set_permissions(host.path("etc/unit"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let (report, events) = deploy(&host, &house(), true).await;
    assert_eq!(report.hosts[0].plan.as_ref().unwrap().changes[0].details, ["mode 0777 -> 0640"]);
    assert_eq!(changed(&events), ["unit"]);
    assert_eq!(host.path("etc/unit").metadata().unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn what_a_validator_refuses_is_put_back_and_stops_only_what_needs_it() {
    let mut list = house();
    let host = Arc::new(Sandbox::new());
    deploy(&host, &list, true).await;
    list[2]["file"]["content"] = json!("bad\n");
    list[0]["directory"]["mode"] = json!("0755");
    list.as_array_mut().unwrap().push(json!(
        {"id": "after", "title": "after", "needs": ["site"], "command": {"run": "touch @/after", "creates": "@/after"}}
    ));
    let (report, events) = deploy(&host, &list, true).await;
    let Some(Failure::Task { task, why, .. }) = &report.hosts[0].failure else {
        panic!("{:?}", report.hosts[0].failure)
    };
    assert_eq!(task, "site");
    assert!(why.contains("refused by"), "{why}");
    assert_eq!(host.read("etc/site"), "it's 100% $HOME `id`\n");
    assert_eq!(changed(&events), ["directory"]);
    assert!(!host.path("after").exists());
    assert_eq!(report.hosts[0].counts.skipped, 1);
    let left: Vec<_> = std::fs::read_dir(host.path("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no temporary is left: {left:?}");
}

#[tokio::test]
async fn a_host_that_somebody_else_has_changed_is_left_alone() {
    let host = Sandbox::new();
    let path = host.path("etc/unit");
    let host = Arc::new(host);
    deploy(&host, &house(), true).await;
    std::fs::write(&path, "three\n").unwrap();
    let host = Arc::into_inner(host).unwrap().whole();
    let touched = path.clone();
    let host = Arc::new(host.meanwhile(move || std::fs::write(&touched, "four\n").unwrap()));
    let (report, _) = deploy(&host, &house(), true).await;
    assert!(matches!(report.hosts[0].failure, Some(Failure::Stale)), "{:?}", report.hosts[0].failure);
    assert_eq!(host.read("etc/unit"), "four\n");
}

#[tokio::test]
async fn of_two_runs_at_once_one_is_told_of_the_other() {
    let slow = json!([
        {"id": "slow", "title": "slow", "command":
            {"run": "touch @/begun; until [ -e @/go ]; do sleep 0.05; done; touch @/made", "creates": "@/made"}}
    ]);
    let host = Arc::new(Sandbox::new());
    let other = async {
        while !host.path("begun").exists() {
            tokio::task::yield_now().await;
        }
        let (report, _) = deploy(&host, &slow, true).await;
        std::fs::write(host.path("go"), "").unwrap();
        report
    };
    let both = async { tokio::join!(deploy(&host, &slow, true), other) };
    let ((first, _), second) = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    assert!(first.hosts[0].failure.is_none(), "{:?}", first.hosts[0].failure);
    let Some(Failure::Locked(holder)) = &second.hosts[0].failure else {
        panic!("{:?}", second.hosts[0].failure)
    };
    assert!(holder.starts_with("ada@laptop, deploy since 20"), "{holder}");
}

/// What a run says while it builds the house has more bytes than this, wherever the house stands.
const MOST_OF_AN_ANSWER: usize = 1500;

fn of_the_connection(event: &EventKind) -> Option<&'static str> {
    match event {
        EventKind::ConnectionLost { .. } => Some("lost"),
        EventKind::Reconnected { .. } => Some("back"),
        _ => None,
    }
}

#[tokio::test]
async fn a_connection_cut_anywhere_leaves_a_host_that_the_next_run_finishes() {
    // Until there is nothing left to cut.
    for after in (0..).step_by(250) {
        let host = Arc::new(Sandbox::new().cut(after));
        let (report, _) = deploy(&host, &house(), true).await;
        let Some(failure) = &report.hosts[0].failure else {
            assert!(after >= MOST_OF_AN_ANSWER, "not cut after {after}");
            return;
        };
        assert!(matches!(failure, Failure::Lost(_)), "cut after {after}: {failure:?}");
        for name in ["etc/unit", "etc/site"] {
            if host.path(name).exists() {
                assert!(host.read(name).len() > 5, "{name} is whole after a cut at {after}");
            }
        }
        let host = Arc::new(Arc::into_inner(host).unwrap().whole());
        let (report, _) = deploy(&host, &house(), true).await;
        assert!(report.hosts[0].failure.is_none(), "cut after {after}: {:?}", report.hosts[0].failure);
        let (report, _) = deploy(&host, &house(), true).await;
        assert_eq!(planned(&report), Vec::<String>::new(), "cut after {after}");
        assert_eq!(host.read("made"), "one\ntwo\n");
    }
}

#[tokio::test]
async fn a_secret_that_somebody_else_has_changed_is_left_alone() {
    let list = json!([
        {"id": "key", "title": "key", "file":
            {"path": "@/key", "owner": "OWNER", "group": "GROUP", "mode": "0600", "content": "new", "secret": true}},
        {"id": "image", "title": "image", "file":
            {"path": "@/image", "owner": "OWNER", "group": "GROUP", "content": "new"}}
    ]);
    for name in ["key", "image"] {
        let host = Sandbox::new();
        std::fs::write(host.path("key"), "old").unwrap();
        std::fs::write(host.path("image"), b"\xff\x00").unwrap();
        let theirs = host.path(name);
        let host = Arc::new(host.meanwhile(move || std::fs::write(&theirs, b"\xff\x01").unwrap()));
        let (report, _) = deploy(&host, &list, true).await;
        assert!(matches!(report.hosts[0].failure, Some(Failure::Stale)), "{:?}", report.hosts[0].failure);
        assert_eq!(std::fs::read(host.path(name)).unwrap(), b"\xff\x01");
    }
}

#[tokio::test]
async fn what_was_done_and_did_not_help_is_not_done_again_after_a_cut() {
    let list = json!([
        {"id": "migrate", "title": "migrate", "command": {"run": "echo run >>@/runs", "unless": "false"}},
        {"id": "slow", "title": "slow", "needs": ["migrate"], "command":
            {"run": "touch @/begun; until [ -e @/go ]; do sleep 0.05; done; touch @/slow", "creates": "@/slow"}},
        {"id": "after", "title": "after", "needs": ["slow"], "command": {"run": "touch @/after", "creates": "@/after"}}
    ]);
    let (host, report) = lost_at("begun", &["sh"], &list).await;
    assert!(
        matches!(&report.failure, Some(Failure::NotConverged(titles)) if titles == &["migrate"]),
        "{:?}",
        report.failure
    );
    assert_eq!((report.counts.failed, report.counts.changed, report.counts.skipped), (1, 1, 1));
    assert_eq!(host.read("runs"), "run\n");
}

/// The first of these was begun by the lost run, and ends only once the operator is back.
fn slow_house() -> Value {
    let mut list = house();
    list.as_array_mut().unwrap().push(json!(
        {"id": "slow", "title": "slow", "command":
            {"run": "echo run >>@/runs; until [ -e @/go ]; do sleep 0.05; done; touch @/slow", "creates": "@/slow"}}
    ));
    list.as_array_mut().unwrap().push(json!(
        {"id": "after", "title": "after", "needs": ["slow"], "command": {"run": "echo run >>@/after", "creates": "@/after"}}
    ));
    list
}

#[tokio::test]
async fn a_connection_cut_anywhere_is_made_anew_and_the_run_goes_on() {
    for after in (0..).step_by(250) {
        let host = Arc::new(Sandbox::new().cut(after).that_comes_back());
        let (report, events) = deploy(&host, &house(), true).await;
        let connections: Vec<_> = events.iter().filter_map(|event| of_the_connection(&event.kind)).collect();
        if connections.is_empty() {
            assert!(after >= MOST_OF_AN_ANSWER, "not cut after {after}");
            return;
        }
        assert_eq!(connections, ["lost", "back"], "cut after {after}");
        assert!(report.hosts[0].failure.is_none(), "cut after {after}: {:?}", report.hosts[0].failure);
        assert_eq!(changed(&events), ["directory", "link", "made", "site", "unit"], "cut after {after}");
        assert_eq!((report.hosts[0].counts.changed, report.hosts[0].counts.unchanged), (5, 0));
        assert_eq!(host.read("made"), "one\ntwo\n");
        let host = Arc::new(Arc::into_inner(host).unwrap().whole());
        let (report, _) = deploy(&host, &house(), true).await;
        assert_eq!(planned(&report), Vec::<String>::new(), "cut after {after}");
    }
}

#[tokio::test]
async fn the_step_that_had_begun_is_waited_for_and_not_repeated() {
    for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
        let host = Sandbox::under(shell);
        let slow = slow_house();
        let begun = host.path("runs");
        let host = Arc::new(host.forgotten_when(move || begun.exists()).that_comes_back());
        let release = async {
            // The run that does not know yet that it is lost is told so.
            while !host.holds_below("state/run", "lost") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            std::fs::write(host.path("go"), "").unwrap();
        };
        let both = async { tokio::join!(deploy(&host, &slow, true), release) };
        let ((report, events), ()) =
            tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
        assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
        assert_eq!(report.hosts[0].counts.changed, 7);
        assert_eq!(changed(&events).len(), 7);
        assert_eq!((host.read("runs").as_str(), host.read("after").as_str()), ("run\n", "run\n"));
    }
}

#[tokio::test]
async fn another_machine_of_the_same_name_is_left_alone() {
    for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
        let host = Sandbox::under(shell);
        std::fs::write(host.path("machine-id"), "one\n").unwrap();
        let begun = host.path("runs");
        let host = Arc::new(host.forgotten_when(move || begun.exists()).that_moves());
        let (report, events) = deploy(&host, &slow_house(), true).await;
        let failure = report.hosts[0].failure.as_ref().unwrap();
        assert!(matches!(failure, Failure::Elsewhere), "{failure:?}");
        assert!(failure.hints()[0].contains("give the address"), "{:?}", failure.hints());
        assert!(!changed(&events).contains(&"slow".to_owned()), "nobody knows that");
        assert!(!host.holds_below("state/run", "lost"), "nobody there is told anything");
        // The lost run comes to its end, and its host is there as long as that takes.
        std::fs::write(host.path("go"), "").unwrap();
        let over = async {
            while host.path("run/holder").exists() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), over).await.unwrap();
    }
}

/// A run of these tasks whose connection is lost once this mark is there. The host, which has not heard of it, makes
/// `@/go` when the operator who is back tells the lost run so.
async fn lost_at(
    mark: &str,
    shell: &[&'static str],
    list: &Value,
) -> (Arc<Sandbox>, stdbctl_engine::run::HostReport) {
    let host = Sandbox::under(shell);
    let (begun, applying) = (host.path(mark), host.path("applying"));
    let host = host.meanwhile(move || std::fs::write(&applying, "").unwrap());
    let host = Arc::new(host.forgotten_when(move || begun.exists()).that_comes_back());
    let release = async {
        while !host.holds_below("state/run", "lost") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        std::fs::write(host.path("go"), "").unwrap();
    };
    let both = async { tokio::join!(deploy(&host, list, true), release) };
    let ((mut report, _), ()) = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    let report = report.hosts.remove(0);
    (host, report)
}

#[tokio::test]
async fn a_step_that_fails_unheard_has_failed() {
    let list = json!([
        {"id": "slow", "title": "slow", "command":
            {"run": "touch @/slow @/begun; until [ -e @/go ]; do sleep 0.05; done; echo 'no room'; echo at all; exit 3", "creates": "@/slow"}},
        {"id": "after", "title": "after", "needs": ["slow"], "command": {"run": "touch @/after", "creates": "@/after"}}
    ]);
    for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
        let (host, report) = lost_at("begun", shell, &list).await;
        let Some(Failure::Task { task, why, .. }) = &report.failure else { panic!("{:?}", report.failure) };
        assert_eq!((task.as_str(), why.as_str()), ("slow", "no room\nat all"));
        assert_eq!((report.counts.failed, report.counts.changed, report.counts.skipped), (1, 0, 1));
        assert!(!host.path("after").exists());
    }
}

/// In its last look the lost run says one thing more, and then nothing for long.
#[tokio::test]
async fn a_lost_run_that_looks_is_not_taken_for_another() {
    let last = json!([
        {"id": "one", "title": "one", "command": {"run": "echo run >>@/runs", "unless": "test -e @/runs && touch @/begun"}},
        {"id": "two", "title": "two", "needs": ["one"], "command": {"run": "echo run >>@/runs; touch @/two", "unless":
            "test -e @/two && until [ -e @/go ]; do sleep 0.05; done"}}
    ]);
    let first = json!([
        {"id": "one", "title": "one", "command": {"run": "echo run >>@/runs; touch @/one", "unless":
            "[ ! -e @/applying ] || { until [ -e @/go ]; do sleep 0.05; done; }; test -e @/one"}},
        {"id": "two", "title": "two", "command": {"run": "echo run >>@/runs; touch @/two", "creates": "@/two"}}
    ]);
    for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
        for (mark, list) in [("begun", &last), ("applying", &first)] {
            let (host, report) = lost_at(mark, shell, list).await;
            assert!(report.failure.is_none(), "{:?}", report.failure);
            assert_eq!((report.counts.changed, host.read("runs").as_str()), (2, "run\nrun\n"));
        }
    }
}

#[tokio::test]
async fn independent_tasks_run_side_by_side_and_a_streamed_file_arrives_whole() {
    let host = Arc::new(Sandbox::new());
    let big = host.path("big.local");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&big, &bytes).unwrap();
    // Each waits for the other's mark: one after the other they would never end.
    let list = json!([
        {"id": "a", "title": "a", "command": {"run": "touch @/a; until [ -e @/b ]; do sleep 0.02; done; touch @/a2", "creates": "@/a2"}},
        {"id": "b", "title": "b", "command": {"run": "touch @/b; until [ -e @/a ]; do sleep 0.02; done; touch @/b2", "creates": "@/b2"}},
        {"id": "big", "title": "big", "file": {"path": "@/big", "owner": "OWNER", "group": "GROUP", "source": "@/big.local"}}
    ]);
    let (report, _) = deploy(&host, &list, true).await;
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    assert_eq!(std::fs::read(host.path("big")).unwrap(), bytes);
    let (report, _) = deploy(&host, &list, true).await;
    assert_eq!(planned(&report), Vec::<String>::new());
}

/// Deploys these tasks, which must succeed and leave nothing to do.
async fn settles(host: &Arc<Sandbox>, list: &Value) -> stdbctl_engine::plan::HostPlan {
    let (mut report, _) = deploy(host, list, true).await;
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    let (again, _) = deploy(host, list, true).await;
    assert_eq!(planned(&again), Vec::<String>::new());
    report.hosts.remove(0).plan.unwrap()
}

fn mode(host: &Sandbox, name: &str) -> u32 {
    host.path(name).metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_directory_behind_a_link_stays_there() {
    let host = Arc::new(Sandbox::new());
    std::fs::create_dir(host.path("disk")).unwrap();
    std::os::unix::fs::symlink("disk", host.path("etc")).unwrap();
    settles(&host, &house()).await;
    assert!(host.path("etc").symlink_metadata().unwrap().is_symlink());
    assert_eq!(mode(&host, "disk"), 0o750);
    assert_eq!(host.read("disk/unit"), "one\ntwo\n");
}

#[tokio::test]
async fn a_name_with_blanks_is_a_name_like_any_other() {
    let host = Arc::new(Sandbox::new());
    let list = json!([{"id": "f", "title": "f", "file":
        {"path": "@/it's my file", "owner": "OWNER", "group": "GROUP", "content": "new\n", "validate": "grep -q new %s"}}]);
    std::fs::write(host.path("it's my file"), "old\n").unwrap();
    let plan = settles(&host, &list).await;
    assert!(plan.changes[0].diffs[0].diff.ends_with("-old\n+new\n"), "{}", plan.changes[0].diffs[0].diff);
    assert_eq!(host.read("it's my file"), "new\n");
}

#[tokio::test]
async fn what_is_missing_above_a_directory_is_open_to_all() {
    let host = Arc::new(Sandbox::new());
    let list = json!([{"id": "d", "title": "d", "directory":
        {"path": "@/a/b/c", "owner": "OWNER", "group": "GROUP", "mode": "0700"}}]);
    settles(&host, &list).await;
    assert_eq!(["a", "a/b", "a/b/c"].map(|name| mode(&host, name)), [0o755, 0o755, 0o700]);
}

#[tokio::test]
async fn a_link_is_replaced_by_the_file_and_kept() {
    let host = Arc::new(Sandbox::new());
    let list = json!([{"id": "f", "title": "f", "file":
        {"path": "@/f", "owner": "OWNER", "group": "GROUP", "content": "same\n"}}]);
    std::fs::write(host.path("elsewhere"), "same\n").unwrap();
    std::os::unix::fs::symlink("elsewhere", host.path("f")).unwrap();
    settles(&host, &list).await;
    assert!(host.path("f").symlink_metadata().unwrap().is_file());
    assert_eq!((host.read("f"), host.read("elsewhere")), ("same\n".to_owned(), "same\n".to_owned()));
    let kept = std::process::Command::new("find")
        .arg(host.path("state/kept"))
        .args(["-type", "l"])
        .output()
        .unwrap();
    assert!(!kept.stdout.is_empty(), "the link is kept");
}

#[tokio::test]
async fn a_directory_is_neither_removed_nor_replaced_and_the_host_says_so() {
    for resource in [
        json!({"absent": {"path": "@/d"}}),
        json!({"file": {"path": "@/d", "content": "x"}}),
        json!({"symlink": {"path": "@/d", "target": "x"}}),
    ] {
        let host = Arc::new(Sandbox::new());
        std::fs::create_dir(host.path("d")).unwrap();
        let mut task = resource.clone();
        task["id"] = json!("t");
        task["title"] = json!("t");
        let (report, _) = deploy(&host, &json!([task]), true).await;
        let Some(Failure::Task { why, .. }) = &report.hosts[0].failure else { panic!("{resource}") };
        assert!(why.ends_with("in the way; move it and run again"), "{why}");
        assert!(host.path("d").is_dir());
    }
}

#[tokio::test]
async fn a_payload_that_does_not_arrive_whole_fails_its_task() {
    for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
        let host = Sandbox::under(shell);
        let local = host.path("module.local");
        std::fs::write(&local, "ten bytes.").unwrap();
        let host = Arc::new(host.meanwhile(move || std::fs::write(&local, "three").unwrap()));
        let list = json!([
            {"id": "module", "title": "module", "file":
                {"path": "@/module", "owner": "OWNER", "group": "GROUP", "source": "@/module.local"}},
            {"id": "after", "title": "after", "needs": ["module"], "command": {"run": "touch @/after", "creates": "@/after"}},
            {"id": "other", "title": "other", "command": {"run": "touch @/other", "creates": "@/other"}}
        ]);
        let (report, _) = deploy(&host, &list, true).await;
        let host_report = &report.hosts[0];
        let Some(Failure::Task { task, why, .. }) = &host_report.failure else { panic!("{host_report:?}") };
        assert_eq!(task, "module");
        assert!(why.contains("did not arrive whole"), "{why}");
        let counts = host_report.counts;
        assert_eq!((counts.failed, counts.skipped, counts.changed), (1, 1, 1));
        assert!(!host.path("module").exists() && !host.path("after").exists());
    }
}

#[tokio::test]
async fn the_content_of_a_secret_never_leaves_the_host() {
    let list = json!([{"id": "key", "title": "key", "file":
        {"path": "@/key", "owner": "OWNER", "group": "GROUP", "mode": "0600", "content": "new", "secret": true}}]);
    let host = Arc::new(Sandbox::new());
    std::fs::write(host.path("key"), "what was the secret before").unwrap();
    let (report, _) = deploy(&host, &list, true).await;
    assert_eq!(planned(&report), ["key"]);
    assert_eq!(host.read("key"), "new");
    assert!(host.has_said("paths") && !host.has_said("the secret before"));
    let plan = serde_json::to_string(&report.hosts[0].plan).unwrap();
    assert!(!plan.contains("secret before") && plan.contains("secret: not shown"), "{plan}");
}

#[tokio::test]
async fn a_file_that_is_edited_while_the_run_goes_on_is_left_alone() {
    let mut list = house();
    let host = Arc::new(Sandbox::new());
    deploy(&host, &list, true).await;
    std::fs::write(host.path("etc/unit"), "edited before\n").unwrap();
    list.as_array_mut().unwrap().push(json!(
        {"id": "editor", "title": "editor", "command": {"run": "echo edited meanwhile >@/etc/unit; touch @/edited", "creates": "@/edited"}}
    ));
    list[1]["needs"] = json!(["editor"]);
    let (report, _) = deploy(&host, &list, true).await;
    let Some(Failure::Task { task, why, .. }) = &report.hosts[0].failure else {
        panic!("{:?}", report.hosts[0].failure)
    };
    assert_eq!(task, "unit");
    assert!(why.contains("somebody has changed it"), "{why}");
    assert_eq!(host.read("etc/unit"), "edited meanwhile\n");
}
