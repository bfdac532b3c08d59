//! How long a host may take to become root, on a clock that a test need not wait for.

use std::time::Duration;

use stdbctl_engine::dialogue;
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::{BoxFuture, Ending, Host, HostError, Output, Stdin};
use stdbctl_engine::root::{Root, RootError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::account::{asked, refusal};
use super::scripted::{Fate, Scripted};

const LIMIT: Duration = Duration::from_secs(120);
const LONG: Duration = Duration::from_secs(1000);

fn too_late() -> RootError {
    RootError::Undecided("within 120 s".to_owned())
}

#[tokio::test(start_paused = true)]
async fn it_begins_when_the_line_does_and_what_it_struck_is_not_tried_again() {
    for busy in [Duration::ZERO, LONG] {
        let (host, root) = (Scripted::busy(busy, Fate::Silent), Root::default());
        for expected in [busy + LIMIT, Duration::ZERO] {
            let started = Instant::now();
            let refusal = refusal(host.become_root(&root).await);
            assert_eq!(refusal, too_late());
            assert!(refusal.hints().concat().contains("sudo true"), "{refusal:?}");
            assert_eq!(started.elapsed(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn neither_the_wait_for_a_channel_nor_what_root_does_counts() {
    let host = Scripted::busy(LONG, Fate::Root(1000));
    let started = Instant::now();
    assert_eq!(host.become_root(&Root::default()).await.unwrap(), Ending::Status(0));
    assert_eq!(started.elapsed(), 2 * LONG);
}

/// The host of a conversation, which is over when nothing is heard for long.
struct Spoken(Scripted, Root);

impl Host for Spoken {
    fn name(&self) -> &'static str {
        "host"
    }

    fn run(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(self.1.run(&self.0, stdin, output))
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_hears_of_it_and_does_not_give_up_before() {
    let (password, _) = asked("perhaps");
    let hosts = [
        (Scripted::busy(Duration::ZERO, Fate::Silent), Root::default()),
        (Scripted::busy(LONG, Fate::Silent), Root::default()),
        (Scripted::new("web1", Fate::Silent), Root::new(Some(password))),
    ];
    for (host, root) in hosts {
        match dialogue::look(&Spoken(host, root), "true").await {
            Err(Failure::Root(error)) => assert_eq!(refusal(Err(error)), too_late()),
            other => panic!("{other:?}"),
        }
    }
}
