//! What a changing script says while it runs, and what it means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::change::Change;
use crate::event::{EventKind, Outcome, Sender};
use crate::host::{Host, Sent, Stdin};
use crate::planner::Changes;
use crate::record::Record;
use crate::script;
use crate::task::Task;

/// Reads the records of a changing script as they come.
pub(super) struct Progress<'a> {
    name: String,
    host: Arc<dyn Host>,
    events: &'a Sender,
    heard: Heard,
    uploads: Vec<Upload>,
}

/// What was heard of a changing script.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) run_id: String,
    begun: BTreeMap<String, Instant>,
    /// How tasks ended, as their scripts say.
    pub(super) ends: BTreeMap<String, Outcome>,
}

/// A local file on its way to the host.
struct Upload {
    task: String,
    sent: Sent,
    shown: u64,
    total: u64,
}

impl Heard {
    /// Seconds since a task has begun, as far as that was heard.
    pub(super) fn seconds(&self, task: &str) -> f64 {
        self.begun.get(task).map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }
}

impl<'a> Progress<'a> {
    pub(super) fn new(
        name: &str,
        host: Arc<dyn Host>,
        run_id: String,
        changes: &Changes<'_>,
        events: &'a Sender,
    ) -> Self {
        let heard = Heard { run_id, ..Heard::default() };
        Self { name: name.to_owned(), host, events, heard, uploads: uploads(changes) }
    }

    /// All that was heard in the end.
    pub(super) fn heard(self) -> Heard {
        self.heard
    }

    pub(super) fn take(&mut self, record: &Record) {
        // The host says something every second, whatever else happens.
        self.show_uploads();
        tell_wait(&self.name, record, self.events);
        let Some((what, task)) = record.kind.split_once(':') else { return };
        match what {
            "started" => {
                self.heard.begun.insert(task.to_owned(), Instant::now());
                self.events.send(EventKind::TaskStarted { host: self.name.clone(), task: task.to_owned() });
            }
            "finished" => self.end(task, read_end(&record.text())),
            "skipped" => self.end(task, Outcome::Skipped { why: "what it needs failed".to_owned() }),
            "confirm" => self.confirm(),
            _ => {}
        }
    }

    fn end(&mut self, task: &str, outcome: Outcome) {
        let seconds = self.heard.seconds(task);
        self.heard.ends.insert(task.to_owned(), outcome.clone());
        let host = self.name.clone();
        self.events.send(EventKind::TaskFinished { host, task: task.to_owned(), outcome, seconds });
    }

    fn show_uploads(&mut self) {
        for upload in self.uploads.iter_mut().filter(|upload| upload.sent.bytes() > upload.shown) {
            upload.shown = upload.sent.bytes();
            self.events.send(EventKind::Uploaded {
                host: self.name.clone(),
                task: upload.task.clone(),
                bytes: upload.shown,
                total: upload.total,
            });
        }
    }

    /// Shows the host that a new connection gets in. If it does not, the host finds out by itself. A connection that
    /// was made anew is none of these: it asks for the firewall to be off again.
    fn confirm(&self) {
        let (host, run_id) = (Arc::clone(&self.host), self.heard.run_id.clone());
        tokio::spawn(async move {
            let (output, mut unread) = tokio::sync::mpsc::channel(1);
            let reading = async { while unread.recv().await.is_some() {} };
            let (ending, ()) = tokio::join!(host.run_fresh(script::confirm(&run_id), output), reading);
            tracing::debug!(?ending, "confirmed over a fresh connection");
        });
    }
}

/// Tells what a host that is not free yet is waited for.
pub(super) fn tell_wait(host: &str, record: &Record, events: &Sender) {
    if record.kind == "waiting" {
        events.send(EventKind::Waiting { host: host.to_owned(), run: record.text().trim().to_owned() });
    }
}

/// The local files that go to the host with these changes.
fn uploads(changes: &Changes<'_>) -> Vec<Upload> {
    let upload = |(task, change): &(&Task, Change)| match &change.payload.as_ref()?.stdin {
        Stdin::File { len, sent, .. } => {
            Some(Upload { task: task.id.clone(), sent: sent.clone(), shown: 0, total: *len })
        }
        Stdin::Bytes(_) => None,
    };
    changes.list.iter().filter_map(upload).collect()
}

/// `STATUS` and the last words of a task.
pub(super) fn read_end(text: &str) -> Outcome {
    match text.split_once(' ') {
        Some(("0", _)) => Outcome::Changed,
        Some((status, "")) => {
            Outcome::Failed { why: format!("it ended with status {status} and said nothing") }
        }
        Some((_, words)) => Outcome::Failed { why: words.trim().to_owned() },
        None => Outcome::Failed { why: "it ended in an unknown way".to_owned() },
    }
}
