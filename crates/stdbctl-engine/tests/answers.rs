//! What a run makes of a host that refuses, lies, breaks off or falls silent.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the functions between the tests fail as the tests do"
)]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stdbctl_engine::event::{Event, EventKind, Outcome, Sender};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::graph::Graph;
use stdbctl_engine::host::{BoxFuture, Ending, Host, HostError, Output, Stdin};
use stdbctl_engine::run::{Job, Options, Report, run};
use stdbctl_engine::task::{Task, TaskSpec};
use tokio::sync::mpsc;

/// What a host does with one script: what it writes, `{nonce}` standing for the script's own, and how it ends.
#[derive(Clone)]
struct Turn {
    out: String,
    err: &'static str,
    ending: Result<Ending, &'static str>,
}

fn says(records: &[(&str, &str)]) -> Turn {
    let out = records.iter().map(|(kind, data)| format!("\n@{{nonce}} {kind} {}\n{data}", data.len()));
    Turn { out: out.collect::<Vec<_>>().concat(), err: "", ending: Ok(Ending::Status(0)) }
}

fn ends(ending: Ending, err: &'static str) -> Turn {
    Turn { out: String::new(), err, ending: Ok(ending) }
}

/// A host that answers its scripts one after the other, and is silent once it has no answer left.
struct Fake {
    turns: Vec<Turn>,
    asked: AtomicUsize,
    /// What comes of connecting again, if that can be done.
    again: Mutex<Option<Result<(), &'static str>>>,
}

impl Fake {
    fn new(turns: Vec<Turn>) -> Self {
        Self { turns, asked: AtomicUsize::new(0), again: Mutex::default() }
    }
}

impl Host for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn run(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        let turn = self.turns.get(self.asked.fetch_add(1, Ordering::SeqCst)).cloned();
        Box::pin(async move {
            let Some(turn) = turn else { return std::future::pending().await };
            let Stdin::Bytes(script) = &stdin[0] else { panic!("a script comes first") };
            let script = String::from_utf8(script.clone()).unwrap();
            let nonce = script.split_once("\nnonce=").unwrap().1.split_once(' ').unwrap().0;
            for piece in turn.out.replace("{nonce}", nonce).into_bytes().chunks(7) {
                // A reader that gave up is what some of these hosts deserve.
                drop(output.send(Output::Stdout(piece.to_vec())).await);
            }
            drop(output.send(Output::Stderr(turn.err.as_bytes().to_vec())).await);
            turn.ending.map_err(HostError::new)
        })
    }

    fn reconnect(&self) -> Option<BoxFuture<'_, Result<(), HostError>>> {
        let again = self.again.lock().unwrap().take()?;
        Some(Box::pin(async move { again.map_err(HostError::new) }))
    }
}

fn tasks() -> Vec<Task> {
    let list: Value = json!([
        {"id": "one", "title": "first thing", "command": {"run": "one", "creates": "/one"}},
        {"id": "two", "title": "second thing", "needs": ["one"], "command": {"run": "two", "creates": "/two"}},
    ]);
    let specs: Vec<TaskSpec> = serde_json::from_value(list).unwrap();
    specs.into_iter().map(|spec| spec.into_task(None).unwrap()).collect()
}

/// A run on one host that answers so.
async fn deploy(turns: Vec<Turn>) -> (Report, Vec<Event>) {
    deploy_on(Fake::new(turns)).await
}

/// The same, on one that can be connected to once more, with this result.
async fn deploy_again(turns: Vec<Turn>, again: Result<(), &'static str>) -> (Report, Vec<Event>) {
    deploy_on(Fake { again: Mutex::new(Some(again)), ..Fake::new(turns) }).await
}

async fn deploy_on(host: Fake) -> (Report, Vec<Event>) {
    let host: Arc<dyn Host> = Arc::new(host);
    connected(Box::pin(async move { Ok(host) })).await
}

async fn connected(connect: BoxFuture<'static, Result<Arc<dyn Host>, HostError>>) -> (Report, Vec<Event>) {
    let job = Job { name: "fake".to_owned(), connect, graph: Graph::new(&tasks()).unwrap() };
    let options = Options {
        verb: "deploy".to_owned(),
        apply: true,
        operator: "ada@laptop".to_owned(),
        resolve: BTreeMap::new(),
    };
    let (events, mut receiver) = Sender::channel();
    let report = run(vec![job], options, events, |_| async { true }).await;
    let mut all = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        all.push(event);
    }
    let finished = all.iter().filter(|event| matches!(event.kind, EventKind::RunFinished { .. })).count();
    assert_eq!(finished, 1, "a run ends once");
    assert!(matches!(all.last().unwrap().kind, EventKind::RunFinished { .. }), "and that is its last event");
    (report, all)
}

async fn failure(turns: Vec<Turn>) -> Failure {
    let (mut report, events) = deploy(turns).await;
    let failure = report.hosts.remove(0).failure.unwrap();
    let told = events.iter().any(|event| {
        matches!(&event.kind, EventKind::HostFailed { cause, hints, .. } if *cause == failure.cause() && !hints.is_empty())
    });
    assert!(told, "readers are told why, and what to try");
    failure
}

const TO_DO: [(&str, &str); 3] = [("extra:one", "\n1"), ("extra:two", "\n1"), ("end", "")];

fn begin(then: Turn) -> Vec<Turn> {
    vec![says(&TO_DO), says(&[("end", "")]), then]
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_told_with_its_hints() {
    let error = HostError {
        message: "cannot connect".to_owned(),
        hints: vec!["is it on?".to_owned()],
        source: Some(Box::new(std::io::Error::other("refused"))),
    };
    let (report, _) = connected(Box::pin(async move { Err(error) })).await;
    let failure = report.hosts[0].failure.as_ref().unwrap();
    assert_eq!(failure.cause(), "cannot connect: refused");
    assert_eq!(failure.hints(), ["is it on?"]);
    assert!(failure.source().is_some());
}

#[tokio::test]
async fn a_script_that_ends_early_is_told_with_its_last_words() {
    let failure = failure(vec![ends(Ending::Status(127), "one\nsh: head: not found\n")]).await;
    assert_eq!(
        failure.to_string(),
        "the host's answer could not be read: the script ended early with status 127: sh: head: not found"
    );
}

#[tokio::test]
async fn a_script_that_was_killed_is_told_with_the_signal() {
    let failure = failure(vec![ends(Ending::Signal("KILL".to_owned()), "")]).await;
    assert!(failure.to_string().ends_with("the script was ended by SIGKILL"), "{failure}");
}

#[tokio::test]
async fn a_lost_connection_is_told_wherever_it_is_lost() {
    for turns in [vec![], vec![says(&TO_DO)], begin(says(&[("begun", ""), ("started:one", "")]))] {
        let mut turns = turns;
        let mut last = turns.pop().unwrap_or_else(|| says(&[]));
        last.ending = Ok(Ending::Lost("reset by peer".to_owned()));
        last.out = last.out.replace("\n@{nonce} end 0\n", "");
        turns.push(last);
        let failure = failure(turns).await;
        assert_eq!(failure.to_string(), "the connection was lost: reset by peer");
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_after_the_last_record_is_no_failure() {
    let mut turn = says(&[("extra:one", "\n0"), ("extra:two", "\n0"), ("end", "")]);
    turn.ending = Ok(Ending::Lost("reset by peer".to_owned()));
    let (report, _) = deploy(vec![turn]).await;
    assert!(report.hosts[0].failure.is_none());
    assert_eq!(report.hosts[0].counts.unchanged, 2);
}

#[tokio::test]
async fn a_script_that_cannot_be_handed_over_is_no_lost_connection() {
    let mut turn = says(&[]);
    turn.ending = Err("cannot read module.wasm");
    let (report, _) = deploy_again(vec![turn], Ok(())).await;
    let failure = report.hosts[0].failure.as_ref().unwrap();
    assert!(matches!(failure, Failure::NotRun(_)), "{failure:?}");
    assert_eq!(failure.cause(), "cannot read module.wasm");
}

fn lost() -> Turn {
    ends(Ending::Lost("reset by peer".to_owned()), "")
}

/// What was told of the connection, in order.
fn told(events: &[Event]) -> Vec<String> {
    let told = events.iter().filter_map(|event| match &event.kind {
        EventKind::ConnectionLost { host, cause } => Some(format!("{host} lost: {cause}")),
        EventKind::Reconnected { host } => Some(format!("{host} back")),
        _ => None,
    });
    told.collect()
}

#[tokio::test]
async fn a_host_that_is_lost_while_it_is_observed_is_observed_anew() {
    let done = || {
        says(&[
            ("finished:one", "0 "),
            ("finished:two", "0 "),
            ("extra:one", "\n0"),
            ("extra:two", "\n0"),
            ("end", ""),
        ])
    };
    let asked = || says(&[("end", "")]);
    for turns in [
        vec![lost(), says(&TO_DO), asked(), done()],
        vec![says(&TO_DO), lost(), says(&TO_DO), asked(), done()],
    ] {
        let (report, events) = deploy_again(turns, Ok(())).await;
        assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
        assert_eq!((report.hosts[0].counts.changed, report.hosts[0].counts.unchanged), (2, 0));
        assert_eq!(told(&events), ["fake lost: reset by peer", "fake back"]);
    }
}

#[tokio::test]
async fn a_host_that_is_lost_twice_is_given_up() {
    let (report, events) = deploy_again(vec![lost(), lost()], Ok(())).await;
    assert!(matches!(&report.hosts[0].failure, Some(Failure::Lost(why)) if why == "reset by peer"));
    assert_eq!(told(&events).len(), 2);
}

#[tokio::test]
async fn what_was_heard_before_an_answer_that_is_none_is_counted() {
    let heard = says(&[("begun", ""), ("finished:one", "0 "), ("finished:nobody's", "0 ")]);
    let (report, _) = deploy(begin(Turn { ending: Ok(Ending::Status(1)), ..heard })).await;
    assert!(matches!(report.hosts[0].failure, Some(Failure::Protocol(_))));
    assert_eq!(report.hosts[0].counts.changed, 1);
}

#[tokio::test]
async fn a_run_that_never_began_has_changed_nothing() {
    let mut turns = begin(lost());
    turns.push(says(&[("unbegun", ""), ("extra:one", "\n0"), ("extra:two", "\n0"), ("end", "")]));
    let (report, _) = deploy_again(turns, Ok(())).await;
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    assert_eq!((report.hosts[0].counts.changed, report.hosts[0].counts.unchanged), (0, 2));
}

#[tokio::test]
async fn a_host_that_is_lost_while_it_is_observed_for_others_changes_is_observed_anew() {
    let mut turns = begin(says(&[("stale", ""), ("end", "")]));
    turns.extend([lost(), says(&[("extra:one", "\n0"), ("extra:two", "\n0"), ("end", "")])]);
    let (report, events) = deploy_again(turns, Ok(())).await;
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    assert_eq!(told(&events).len(), 2);
}

#[tokio::test]
async fn why_there_is_no_new_connection_is_told() {
    let (report, events) = deploy_again(vec![lost()], Err("cannot connect")).await;
    let failure = report.hosts[0].failure.as_ref().unwrap();
    assert_eq!(
        failure.cause(),
        "the connection was lost: reset by peer; connecting again failed: cannot connect"
    );
    assert_eq!(told(&events), ["fake lost: reset by peer"]);
}

#[tokio::test]
async fn a_forged_answer_is_no_answer() {
    let mut turn = says(&[]);
    turn.out = "\n@00000000000000000000000000000000 extra:one 2\n\n0\n@{nonce}0 end 0\n".to_owned();
    let failure = failure(vec![turn]).await;
    assert!(matches!(failure, Failure::Protocol(_)), "{failure:?}");
}

#[tokio::test]
async fn an_answer_that_claims_gigabytes_is_refused() {
    let mut turn = says(&[]);
    turn.out = "\n@{nonce} paths 99999999999\n".to_owned();
    assert_eq!(
        failure(vec![turn]).await.to_string(),
        "the host's answer could not be read: a record claims to hold 99999999999 bytes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_host_is_given_up_whenever_it_falls_silent() {
    for turns in [vec![], vec![says(&TO_DO)], vec![says(&TO_DO), says(&[("end", "")])]] {
        let failure = failure(turns).await;
        assert_eq!(failure.to_string(), "the host was silent for 120 s");
    }
}

#[tokio::test]
async fn what_keeps_a_host_from_beginning_is_told() {
    let failure_of =
        async |record: (&'static str, &'static str)| failure(begin(says(&[record, ("end", "")]))).await;
    let locked = failure_of(("locked", "bob@desk, deploy since noon")).await;
    assert_eq!(locked.to_string(), "another run holds this host: bob@desk, deploy since noon");
    assert!(
        matches!(failure_of(("failed", "the disk is full")).await, Failure::Storage(words) if words == "the disk is full")
    );
}

/// What a host answers that was found changed between the plan and the change, and then looked at again.
fn stale_then(again: &[(&str, &str)], rest: Turn) -> Vec<Turn> {
    let mut turns = begin(says(&[("stale", ""), ("end", "")]));
    turns.extend([says(again), rest]);
    turns
}

#[tokio::test]
async fn what_a_lost_run_left_is_done_if_it_was_approved() {
    let done = says(&[("finished:two", "0 "), ("extra:one", "\n0"), ("extra:two", "\n0"), ("end", "")]);
    let again = [("extra:one", "\n0"), ("extra:two", "\n1"), ("end", "")];
    let (report, _) = deploy(stale_then(&again, done)).await;
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    assert_eq!((report.hosts[0].counts.changed, report.hosts[0].counts.unchanged), (1, 1));
}

#[tokio::test]
async fn a_host_that_keeps_changing_is_left_alone() {
    let again = [("extra:one", "\n1"), ("extra:two", "\n1"), ("end", "")];
    let stale = says(&[("stale", ""), ("end", "")]);
    assert!(matches!(failure(stale_then(&again, stale)).await, Failure::Stale));
}

/// What a host has heard of before the connection to it is lost.
fn cut_after(records: &[(&str, &str)]) -> Turn {
    Turn { ending: lost().ending, ..says(records) }
}

/// How the tasks ended that somebody was told of, in order.
fn ended(events: &[Event]) -> Vec<(String, Outcome)> {
    let ended = events.iter().filter_map(|event| match &event.kind {
        EventKind::TaskFinished { task, outcome, .. } => Some((task.clone(), outcome.clone())),
        _ => None,
    });
    ended.collect()
}

#[tokio::test]
async fn what_the_lost_run_did_is_changed_and_what_is_left_is_made_once() {
    let again = says(&[("extra:one", "\n0"), ("extra:two", "\n1"), ("end", "")]);
    let done = says(&[("finished:two", "0 "), ("extra:one", "\n0"), ("extra:two", "\n0"), ("end", "")]);
    for heard in [&[("started:one", "")][..], &[("started:one", ""), ("finished:one", "0 ")]] {
        let turns = [begin(cut_after(heard)), vec![again.clone(), done.clone()]].concat();
        let (report, events) = deploy_again(turns, Ok(())).await;
        assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
        assert_eq!((report.hosts[0].counts.changed, report.hosts[0].counts.unchanged), (2, 0));
        let changed = |task: &str| (task.to_owned(), Outcome::Changed);
        assert_eq!(ended(&events), [changed("one"), changed("two")]);
        assert_eq!(told(&events), ["fake lost: reset by peer", "fake back"]);
    }
}

#[tokio::test]
async fn of_a_lost_run_that_did_it_all_only_the_result_is_fetched() {
    let again = says(&[("waiting", "ada@laptop"), ("extra:one", "\n0"), ("extra:two", "\n0"), ("end", "")]);
    let (report, events) = deploy_again([begin(lost()), vec![again]].concat(), Ok(())).await;
    assert!(report.hosts[0].failure.is_none(), "{:?}", report.hosts[0].failure);
    assert_eq!((report.hosts[0].counts.changed, report.hosts[0].counts.unchanged), (2, 0));
    assert_eq!(ended(&events).len(), 2);
    let waited = |event: &Event| matches!(&event.kind, EventKind::Waiting { run, .. } if run == "ada@laptop");
    assert!(events.iter().any(waited), "it is told what is waited for");
}

#[tokio::test]
async fn what_failed_before_the_loss_is_not_tried_again() {
    let again = says(&[("extra:one", "\n1"), ("extra:two", "\n1"), ("end", "")]);
    let turns = [begin(cut_after(&[("finished:one", "1 no such file")])), vec![again]].concat();
    let (report, events) = deploy_again(turns, Ok(())).await;
    let host = &report.hosts[0];
    assert!(matches!(&host.failure, Some(Failure::Task { task, .. }) if task == "one"), "{:?}", host.failure);
    assert_eq!((host.counts.failed, host.counts.skipped, host.counts.changed), (1, 1, 0));
    assert!(matches!(&ended(&events)[..], [_, (two, Outcome::Skipped { .. })] if two == "two"));
}

#[tokio::test]
async fn what_was_not_approved_is_left_alone() {
    // The second one needs nothing to be done when the plan is made.
    let seen = says(&[("extra:one", "\n1"), ("extra:two", "\n0"), ("end", "")]);
    let again = says(&[("extra:one", "\n0"), ("extra:two", "\n1"), ("end", "")]);
    let (report, _) = deploy_again(vec![seen, says(&[("end", "")]), lost(), again], Ok(())).await;
    let host = &report.hosts[0];
    let failure = host.failure.as_ref().unwrap();
    assert!(matches!(failure, Failure::Unapproved(titles) if titles == &["second thing"]), "{failure:?}");
    assert!(failure.hints()[0].starts_with("what was done stays done"), "{:?}", failure.hints());
    assert_eq!((host.counts.changed, host.counts.skipped), (1, 1));
}

#[tokio::test]
async fn after_a_second_loss_what_was_heard_still_counts() {
    let heard = cut_after(&[("finished:one", "0 ")]);
    for (turns, again) in [
        ([begin(heard.clone()), vec![lost()]].concat(), Ok(())),
        (begin(heard.clone()), Err("cannot connect")),
        ([begin(heard.clone()), vec![says(&[("locked", "bob"), ("end", "")])]].concat(), Ok(())),
    ] {
        let (report, _) = deploy_again(turns, again).await;
        let host = &report.hosts[0];
        let hints = host.failure.as_ref().unwrap().hints();
        assert!(!hints[0].contains("nothing was changed"), "{hints:?}");
        assert_eq!(host.counts.changed, 1);
    }
    let again = says(&[("extra:one", "\n0"), ("extra:two", "\n1"), ("end", "")]);
    let (report, _) = deploy_again([begin(heard), vec![again, lost()]].concat(), Ok(())).await;
    assert!(matches!(report.hosts[0].failure, Some(Failure::Lost(_))), "{:?}", report.hosts[0].failure);
    assert_eq!(report.hosts[0].counts.changed, 1);
}

#[tokio::test]
async fn a_task_that_failed_is_the_cause_and_what_needs_it_is_skipped() {
    let (report, events) = deploy(begin(says(&[
        ("started:one", ""),
        ("finished:one", "1 no such\nfile\n"),
        ("skipped:two", ""),
        ("extra:one", "\n1"),
        ("extra:two", "\n1"),
        ("end", ""),
    ])))
    .await;
    let host = &report.hosts[0];
    let failure = host.failure.as_ref().unwrap();
    assert!(
        matches!(failure, Failure::Task { task, title, why } if task == "one" && title == "first thing" && why == "no such\nfile")
    );
    assert_eq!((host.counts.failed, host.counts.skipped, host.counts.changed), (1, 1, 0));
    let skipped = |event: &Event| matches!(&event.kind, EventKind::TaskFinished { task, outcome: Outcome::Skipped { .. }, .. } if task == "two");
    assert!(events.iter().any(skipped));
}

#[tokio::test]
async fn a_change_that_brought_nothing_about_is_a_failure() {
    let (report, _) = deploy(begin(says(&[
        ("finished:one", "0 "),
        ("finished:two", "0 "),
        ("extra:one", "\n0"),
        ("extra:two", "\n1"),
        ("end", ""),
    ])))
    .await;
    let host = &report.hosts[0];
    assert!(
        matches!(host.failure.as_ref().unwrap(), Failure::NotConverged(titles) if titles == &["second thing"])
    );
    assert_eq!((host.counts.changed, host.counts.failed), (1, 1));
}

#[tokio::test]
async fn a_change_that_the_host_forgot_is_a_failure() {
    let (report, _) = deploy(begin(says(&[
        ("finished:one", "0 "),
        ("skipped:two", ""),
        ("extra:one", "\n0"),
        ("extra:two", "\n1"),
        ("end", ""),
    ])))
    .await;
    let host = &report.hosts[0];
    assert!(
        matches!(host.failure.as_ref().unwrap(), Failure::NotConverged(titles) if titles == &["second thing"])
    );
    assert_eq!((host.counts.changed, host.counts.skipped), (1, 1));
}

#[tokio::test]
async fn a_garbled_outcome_is_a_failure_and_that_of_nobody_counts_for_nothing() {
    let (report, _) = deploy(begin(says(&[
        ("finished:nobody", "0 "),
        ("finished:one", "0 "),
        ("finished:one", "garbage"),
        ("started:", ""),
        ("finished:two", "0 "),
        ("extra:one", "\n0"),
        ("extra:two", "\n0"),
        ("end", ""),
    ])))
    .await;
    let host = &report.hosts[0];
    assert!(
        matches!(host.failure.as_ref().unwrap(), Failure::Task { why, .. } if why == "it ended in an unknown way")
    );
    assert_eq!(host.counts.changed, 1);
}
