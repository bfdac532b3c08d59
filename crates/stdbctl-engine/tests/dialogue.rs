//! Scripts of a verb's own, run for real under several shells, and what becomes of them if the connection is lost.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the functions between the tests fail as the tests do"
)]

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod sandbox;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sandbox::Sandbox;
use stdbctl_engine::dialogue::{self, Changing, Record, assign};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::{BoxFuture, Ending, Host, HostError, Output, Stdin};
use tokio::sync::mpsc;
use tokio::time::timeout;

const ADA: Changing<'static> = Changing { operator: "ada@laptop", verb: "publish" };

fn texts<'r>(records: &'r [Record], kind: &str) -> Vec<&'r str> {
    let wanted = records.iter().filter(|record| record.kind == kind);
    wanted.map(|record| std::str::from_utf8(&record.data).unwrap()).collect()
}

fn shells() -> Vec<Sandbox> {
    [&["dash"][..], &["bash"], &["busybox", "sh"]].into_iter().map(Sandbox::under).collect()
}

#[tokio::test]
async fn a_look_answers_whatever_the_words_hold() {
    for host in shells() {
        let script = assign("word", "it's $(id) \\ \"x\"\nsecond") + "rec said \"$word\"";
        let records = dialogue::look(&host, &script).await.unwrap();
        assert_eq!(texts(&records, "said"), ["it's $(id) \\ \"x\"\nsecond"]);
    }
}

#[tokio::test]
async fn payloads_come_in_order_on_standard_input() {
    for host in shells() {
        let payloads = vec![Stdin::Bytes(b"first".to_vec()), Stdin::Bytes(b"second".to_vec())];
        let script = "rec one \"$(head -c 5)\"\nrec two \"$(cat)\"";
        let records = dialogue::ask(&host, script, payloads).await.unwrap();
        assert_eq!((texts(&records, "one"), texts(&records, "two")), (vec!["first"], vec!["second"]));
    }
}

#[tokio::test]
async fn what_takes_long_is_heard_of_and_its_status_and_input_are_handed_on() {
    for host in shells() {
        let gate = host.path("gate");
        let script = format!(
            "slow() {{ cat >\"$run/got\"; until [ -e '{}' ]; do sleep 0.05; done; return 3; }}\n\
             main() {{ ticking slow; tell status \"$?\"; tell got \"$(cat \"$run/got\")\"; }}",
            gate.display()
        );
        let payload = vec![Stdin::Bytes(b"payload".to_vec())];
        let mut ticks = 0;
        let open_at_the_second = |record: &Record| {
            ticks += usize::from(record.kind == "tick");
            if ticks == 2 {
                std::fs::write(&gate, "").unwrap();
            }
        };
        let change = dialogue::change(&host, ADA, &script, payload, open_at_the_second);
        let records = timeout(Duration::from_secs(60), change).await.unwrap().unwrap();
        assert_eq!((texts(&records, "status"), texts(&records, "got")), (vec!["3"], vec!["payload"]));
    }
}

#[tokio::test]
async fn what_is_killed_has_ended() {
    for host in shells() {
        let script = "dies() { kill -KILL \"$(exec sh -c 'echo $PPID')\"; sleep 60; }\n\
                      main() { ticking dies; tell status \"$?\"; ticking true; tell next \"$?\"; }";
        let records = dialogue::change(&host, ADA, script, Vec::new(), |_| ()).await.unwrap();
        assert_eq!((texts(&records, "status"), texts(&records, "next")), (vec!["137"], vec!["0"]));
    }
}

#[tokio::test]
async fn of_two_changes_at_once_the_second_is_told_who_holds_the_host() {
    let host = Arc::new(Sandbox::new());
    let gate = host.directory.path().join("gate");
    let waits = format!("main() {{ tell in ''; until [ -e '{}' ]; do sleep 0.05; done; }}", gate.display());
    let (inside, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let first = tokio::spawn({
        let host = Arc::clone(&host);
        async move {
            let notify = |record: &Record| inside.send(record.kind.clone()).unwrap();
            dialogue::change(&*host, ADA, &waits, Vec::new(), notify).await.map(|_| ())
        }
    });
    while entered.recv().await.unwrap() != "in" {}
    let bob = Changing { operator: "bob@ci", verb: "deploy" };
    let refused = dialogue::change(&*host, bob, "main() { tell in ''; }", Vec::new(), |_| ()).await;
    let Err(Failure::Locked(holder)) = refused else { panic!("{refused:?}") };
    assert!(holder.starts_with("ada@laptop, publish since "), "{holder}");
    std::fs::write(gate, "").unwrap();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_followed_is_shown_and_not_kept() {
    for host in shells() {
        let mut heard = 0;
        let script = "i=0; while [ $i -lt 100 ]; do rec line \"$i\"; i=$((i + 1)); done";
        dialogue::follow(&host, script, |record| heard += usize::from(record.kind == "line")).await.unwrap();
        assert_eq!(heard, 100);
    }
}

/// A host whose connection is lost as often as there are reasons, and made anew at most once.
struct Lossy {
    sandbox: Sandbox,
    losses: AtomicUsize,
    asked: AtomicUsize,
    reconnected: AtomicUsize,
}

impl Lossy {
    fn new(losses: usize) -> Self {
        let [asked, reconnected] = [0, 0].map(AtomicUsize::new);
        Self { sandbox: Sandbox::new(), losses: AtomicUsize::new(losses), asked, reconnected }
    }
}

impl Host for Lossy {
    fn name(&self) -> &'static str {
        "lossy"
    }

    fn run(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if asked < self.losses.load(Ordering::SeqCst) {
            return Box::pin(async { Ok(Ending::Lost("cut".to_owned())) });
        }
        self.sandbox.run(stdin, output)
    }

    fn reconnect(&self) -> Option<BoxFuture<'_, Result<(), HostError>>> {
        let first = self.reconnected.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| -> BoxFuture<'_, _> { Box::pin(async { Ok(()) }) })
    }
}

#[tokio::test]
async fn what_only_looks_is_repeated_once_over_a_new_connection() {
    let script = "rec said \"$(cat)\"";
    let payload = || vec![Stdin::Bytes(b"payload".to_vec())];
    let host = Lossy::new(1);
    let records = dialogue::ask(&host, script, payload()).await.unwrap();
    assert_eq!(texts(&records, "said"), ["payload"]);
    assert!(dialogue::look(&Lossy::new(1), "rec said ''").await.is_ok());

    let twice = Lossy::new(2);
    let lost = dialogue::look(&twice, script).await;
    let Err(Failure::Looking(lost)) = lost else { panic!("{lost:?}") };
    assert!(matches!(*lost, Failure::Lost(_)), "{lost:?}");
    assert_eq!(Failure::Looking(lost).hints(), ["nothing was changed; run it again"]);
    let followed = dialogue::follow(&Lossy::new(1), "rec said ''", |_| ()).await;
    assert!(matches!(followed, Err(Failure::Looking(_))), "{followed:?}");
    assert_eq!(twice.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_may_change_something_is_never_repeated() {
    let host = Lossy::new(1);
    let lost = dialogue::ask_once(&host, "rec said ''", Vec::new()).await;
    let Err(Failure::Unknown(why)) = lost else { panic!("{lost:?}") };
    assert_eq!(why, "cut");
    let host_of_change = Lossy::new(1);
    let lost = dialogue::change(&host_of_change, ADA, "main() { :; }", Vec::new(), |_| ()).await;
    let Err(Failure::Unknown(_)) = &lost else { panic!("{lost:?}") };
    assert!(lost.unwrap_err().hints()[0].contains("may still go on there; look whether it was done"));
    for host in [host, host_of_change] {
        assert_eq!((host.asked.into_inner(), host.reconnected.into_inner()), (1, 0));
    }
}
