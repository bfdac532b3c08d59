//! Reporters, given the events of a run: the runs are made up, what is shown of them is not.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use stdbctl_engine::event::{Counts, Event, EventKind, Outcome, RunStats};
use stdbctl_engine::plan::{Action, FileDiff, HostPlan, PlannedChange, SkippedTask};

use super::github::Github;
use super::json::Json;
use super::lines::Lines;
use super::outcome::Detail;
use super::plan::Depth;
use super::{Reporter, Writer, plan};

/// What a reporter has written, styles taken out as on anything but a terminal.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn writer(&self) -> Writer {
        Writer::new(anstream::StripStream::new(Box::new(self.clone()) as Box<dyn Write + Send>))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn change(task: &str, title: &str, action: Action) -> PlannedChange {
    let (task, title) = (task.to_owned(), title.to_owned());
    PlannedChange { task, title, action, details: Vec::new(), exact: true, diffs: Vec::new() }
}

fn plan_of(host: &str, changes: Vec<PlannedChange>) -> HostPlan {
    let skipped = vec![SkippedTask { task: "certificate".to_owned(), why: "acme is not set".to_owned() }];
    HostPlan { host: host.to_owned(), changes, unchanged: 28, skipped }
}

fn some_plan(host: &str) -> HostPlan {
    let packages = PlannedChange {
        details: vec!["install nginx and ufw".to_owned()],
        exact: false,
        ..change("packages", "nginx and ufw", Action::Create)
    };
    let unit = PlannedChange {
        details: vec!["mode 0600 -> 0644".to_owned()],
        diffs: vec![FileDiff {
            path: "/etc/systemd/system/spacetimedb.service".to_owned(),
            diff:
                "--- before\n+++ after\n@@ -1,2 +1,2 @@\n [Service]\n-User=root\n+User=spacetimedb\x1b[2J\n"
                    .to_owned(),
        }],
        ..change("unit", "systemd unit", Action::Update)
    };
    let service = PlannedChange {
        details: vec!["restart".to_owned()],
        ..change("service", "SpacetimeDB runs, with this unit and this release", Action::Run)
    };
    plan_of(host, vec![packages, unit, service])
}

fn started(host: &str, task: &str) -> EventKind {
    EventKind::TaskStarted { host: host.to_owned(), task: task.to_owned() }
}

fn finished(host: &str, task: &str, outcome: Outcome, seconds: f64) -> EventKind {
    EventKind::TaskFinished { host: host.to_owned(), task: task.to_owned(), outcome, seconds }
}

fn end(ok: bool, hosts: &[(&str, Counts)]) -> EventKind {
    let hosts: BTreeMap<_, _> = hosts.iter().map(|(host, counts)| ((*host).to_owned(), *counts)).collect();
    let stats = RunStats { round_trips: 9, bytes_sent: 5120, bytes_received: 4096, seconds: 48.2 };
    EventKind::RunFinished { ok, hosts, stats }
}

fn begin(hosts: &[&str]) -> EventKind {
    EventKind::RunStarted {
        verb: "deploy".to_owned(),
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
    }
}

/// Three hosts: one is changed, one fails half-way, one is as it should be.
fn eventful_run() -> Vec<EventKind> {
    let failed = Outcome::Failed { why: "nginx: [emerg] unknown directive\nnginx: test failed\r".to_owned() };
    let counts = |changed, unchanged, failed, skipped| Counts { changed, unchanged, failed, skipped };
    vec![
        begin(&["web1", "web2", "web3"]),
        EventKind::HostObserved { host: "web1".to_owned() },
        EventKind::Planned { plans: vec![some_plan("web1"), some_plan("web2"), plan_of("web3", Vec::new())] },
        started("web1", "packages"),
        started("web1", "unit"),
        started("web2", "unit"),
        EventKind::ConnectionLost {
            host: "web1".to_owned(),
            cause: "reset by peer\x1b[2J (os error 104)".to_owned(),
        },
        EventKind::Reconnected { host: "web1".to_owned() },
        EventKind::Waiting {
            host: "web1".to_owned(),
            run: "ada@laptop, deploy since noon\x1b[2J".to_owned(),
        },
        finished("web1", "unit", Outcome::Changed, 0.24),
        EventKind::Warning { host: "web1".to_owned(), message: "the clock is 40 s ahead".to_owned() },
        finished("web2", "unit", failed, 1.0),
        finished("web2", "service", Outcome::Skipped { why: "`unit` failed".to_owned() }, 0.0),
        finished("web1", "packages", Outcome::Changed, 43.7),
        started("web1", "service"),
        finished("web1", "service", Outcome::Changed, 1.06),
        EventKind::HostFailed {
            host: "web2".to_owned(),
            cause: "systemd unit: nginx: [emerg] unknown directive".to_owned(),
            hints: vec!["mend it".to_owned()],
        },
        end(
            false,
            &[("web1", counts(3, 28, 0, 1)), ("web2", counts(0, 28, 1, 2)), ("web3", counts(0, 28, 0, 1))],
        ),
    ]
}

fn uneventful_run() -> Vec<EventKind> {
    vec![
        begin(&["example.com"]),
        EventKind::HostObserved { host: "example.com".to_owned() },
        EventKind::Planned { plans: vec![plan_of("example.com", Vec::new())] },
        end(true, &[("example.com", Counts { unchanged: 28, skipped: 1, ..Counts::default() })]),
    ]
}

fn tell(reporter: &mut dyn Reporter, run: Vec<EventKind>) {
    for kind in run {
        reporter.event(&Event { time: "2026-11-20T12:00:00Z".to_owned(), kind }).unwrap();
    }
}

fn lines(run: Vec<EventKind>, detail: Detail, verbosity: u8) -> String {
    let (progress, result) = (Paper::default(), Paper::default());
    let mut reporter = Lines::new(progress.writer(), Some((result.writer(), detail)), verbosity);
    tell(&mut reporter, run);
    format!("-- stderr\n{}-- stdout\n{}", progress.text(), result.text())
}

#[test]
fn lines_tell_each_step_once() {
    insta::assert_snapshot!(lines(eventful_run(), Detail::Counts, 1));
}

#[test]
fn the_result_names_what_changed() {
    insta::assert_snapshot!(lines(eventful_run(), Detail::Changes, 0));
}

#[test]
fn nothing_to_do_is_one_line() {
    insta::assert_snapshot!(lines(uneventful_run(), Detail::Counts, 0));
}

#[test]
fn no_reporter_of_text_lets_a_control_character_through() {
    let control = |c: char| c.is_control() && c != '\n';
    let paper = Paper::default();
    tell(&mut Github::new(paper.writer(), None), eventful_run());
    let shown = [lines(eventful_run(), Detail::Changes, 1), paper.text()];
    for text in shown {
        assert!(!text.contains(control), "{text:?}");
    }
}

#[test]
fn github_gets_groups_annotations_and_a_summary() {
    let summary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(summary.path(), "an earlier step\n").unwrap();
    let paper = Paper::default();
    tell(&mut Github::new(paper.writer(), Some(summary.path().into())), eventful_run());
    insta::assert_snapshot!("github_log", paper.text());
    insta::assert_snapshot!("github_summary", std::fs::read_to_string(summary.path()).unwrap());
}

#[test]
fn json_is_one_event_a_line_and_can_be_read_again() {
    let paper = Paper::default();
    tell(&mut Json::new(Writer::new(paper.clone())), eventful_run());
    let text = paper.text();
    let read: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = read.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, eventful_run());
}

#[test]
fn an_event_of_a_newer_stdbctl_is_shown_as_nothing() {
    let event = r#"{"time":"2026-11-20T12:00:00Z","event":"host_teleported","host":"web1"}"#;
    let event: Event = serde_json::from_str(event).unwrap();
    let (progress, result) = (Paper::default(), Paper::default());
    let mut reporter = Lines::new(progress.writer(), Some((result.writer(), Detail::Changes)), 3);
    reporter.event(&event).unwrap();
    assert_eq!(progress.text() + &result.text(), "");
}

#[test]
fn a_plan_shows_what_would_be_done_and_how() {
    let mut out = Vec::new();
    plan::write(&mut out, &some_plan("web1"), Depth::Whole).unwrap();
    let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
    insta::assert_snapshot!(text);
}

#[test]
fn an_outline_only_shows_what_becomes_of_files_that_are_there() {
    let mut plan = some_plan("web1");
    assert!(!plan::is_shortened(&plan));
    let site =
        FileDiff { path: "/etc/site".to_owned(), diff: "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+a\n+b\n".to_owned() };
    plan.changes.push(PlannedChange { diffs: vec![site], ..change("site", "nginx site", Action::Create) });
    assert!(plan::is_shortened(&plan));
    let mut out = Vec::new();
    plan::write(&mut out, &plan, Depth::Outline).unwrap();
    let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
    assert!(
        text.contains("  + nginx site\n      /etc/site, 2 lines\n") && text.contains("-User=root"),
        "{text}"
    );
}

#[test]
fn a_plan_is_coloured_for_a_terminal() {
    let mut out = Vec::new();
    plan::write(&mut out, &some_plan("web1"), Depth::Whole).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\x1b[31m-User=root\x1b[0m"), "{text:?}");
    assert!(!text.contains("\x1b[2J"), "what the host wrote has no say in it: {text:?}");
}

#[test]
fn the_committed_schema_of_events_is_true() {
    #[derive(schemars::JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum AnyEvent {
        Run(Event),
        Exec(super::exec::ExecEvent),
        Transfer(super::transfer::TransferEvent),
    }
    let mut schema = schemars::schema_for!(AnyEvent).to_value();
    schema["title"] =
        "An event of a run of stdbctl: a line of `deploy`, `publish`, `exec`, `push` or `pull` with `--output json`".into();
    let fresh = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.schema.json");
    if std::env::var_os("STDBCTL_WRITE_SCHEMA").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == fresh, "{path} is stale: run this test again with STDBCTL_WRITE_SCHEMA=1");
}
