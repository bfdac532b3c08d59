//! The change: one script on the host, its records as events, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use stdbctl_engine::dialogue::{self, Changing, Record};
use stdbctl_engine::event::{EventKind, Outcome, Sender};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::Stdin;

use super::error::PublishError;
use super::history;
use super::log;
use super::preview::Operation;
use super::{Prepared, Published};
use crate::server::Answer;

/// Carries out what was prepared, under the host's lock. Emits the events of its steps; those of the run are the
/// caller's.
///
/// # Errors
/// If the module is not live in the end: refused by the server, taken back after its proof failed, or never begun.
pub async fn carry_out(
    prepared: &Prepared,
    who: Changing<'_>,
    events: &Sender,
) -> Result<Published, PublishError> {
    let order = &prepared.order;
    let total = order.payload.as_ref().map_or(0, |bytes| bytes.len() as u64);
    let payloads = order.payload.iter().map(|bytes| Stdin::Bytes(bytes.to_vec())).collect();
    let script = order.script(who.operator);
    let mut progress = Progress::new(&prepared.preview.host, events, total);
    let records =
        dialogue::change(&*prepared.host, who, &script, payloads, |record| progress.take(record)).await;
    let tasks = prepared.plan.changes.iter().map(|change| change.task.as_str());
    progress.leave_out(tasks, records.is_ok());
    Ended::read(&records?).result(prepared.preview.operation)
}

/// What has been told of the steps so far.
struct Progress<'a> {
    host: &'a str,
    events: &'a Sender,
    total: u64,
    begun: BTreeMap<String, Instant>,
    ended: BTreeSet<String>,
}

impl<'a> Progress<'a> {
    fn new(host: &'a str, events: &'a Sender, total: u64) -> Self {
        Self { host, events, total, begun: BTreeMap::new(), ended: BTreeSet::new() }
    }

    fn take(&mut self, record: &Record) {
        let host = self.host.to_owned();
        match record.kind.split_once(':').unwrap_or((&record.kind, "")) {
            ("started", task) => {
                self.begun.insert(task.to_owned(), Instant::now());
                self.events.send(EventKind::TaskStarted { host, task: task.to_owned() });
            }
            ("finished", task) => {
                let text = record.text();
                let outcome = match text.strip_prefix("1 ") {
                    Some(why) => Outcome::Failed { why: why.to_owned() },
                    None => Outcome::Changed,
                };
                self.end(task, outcome);
            }
            ("skipped", task) => {
                self.events.send(EventKind::Warning { host, message: record.text() });
                self.end(task, Outcome::Skipped { why: record.text() });
            }
            ("received", _) => {
                let bytes = record.text().parse().unwrap_or(0);
                let task = "upload".to_owned();
                self.events.send(EventKind::Uploaded { host, task, bytes, total: self.total });
            }
            ("unrecorded" | "undone", _) => {
                self.events.send(EventKind::Warning { host, message: record.text() });
            }
            _ => {}
        }
    }

    fn end(&mut self, task: &str, outcome: Outcome) {
        let seconds = self.begun.get(task).map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        self.ended.insert(task.to_owned());
        let host = self.host.to_owned();
        self.events.send(EventKind::TaskFinished { host, task: task.to_owned(), outcome, seconds });
    }

    /// The steps whose end was not told. Of a script that was heard to its end, they were never begun.
    fn leave_out<'t>(&mut self, tasks: impl Iterator<Item = &'t str>, heard: bool) {
        for task in tasks {
            if !self.ended.contains(task) {
                let why = if heard { "not begun" } else { "what became of it is not known" };
                self.end(task, Outcome::Skipped { why: why.to_owned() });
            }
        }
    }
}

/// How the script said it ended.
#[derive(Debug, Default)]
struct Ended {
    /// `done`, `down`, `step ID`, `rejected`, `rolled_back`, `stuck`.
    how: String,
    why: String,
    undone: String,
    identity: Option<String>,
    locked: bool,
    rows: BTreeMap<String, u64>,
    /// What the module has logged, and since when it counts.
    log: String,
}

impl Ended {
    fn read(records: &[Record]) -> Self {
        let text = |kind: &str| records.iter().rev().find(|record| record.kind == kind).map(Record::text);
        let outcome = text("outcome").unwrap_or_default();
        let (how, why) = outcome.split_once(' ').unwrap_or((&outcome, ""));
        let has = |kind: &str| records.iter().any(|record| record.kind == kind);
        Self {
            how: how.to_owned(),
            why: why.trim().to_owned(),
            undone: text("undone").unwrap_or_default(),
            identity: text("identity"),
            locked: has("finished:lock"),
            rows: history::counts(text("after").unwrap_or_default().lines()),
            log: text("log").unwrap_or_default(),
        }
    }

    fn result(self, operation: Operation) -> Result<Published, PublishError> {
        let recent = || log::since_begun(&self.log);
        match self.how.as_str() {
            "done" => Ok(Published {
                identity: self.identity.clone().unwrap_or_default(),
                operation,
                rows: self.rows.clone(),
                locked: self.locked,
                log: recent(),
            }),
            "down" => Err(PublishError::Down { why: self.why, log: Vec::new() }),
            "step" => {
                let (step, why) = self.why.split_once(' ').unwrap_or((&self.why, ""));
                Err(PublishError::step(step, why))
            }
            "rejected" => {
                let (status, body) = self.why.split_once(' ').unwrap_or((&self.why, ""));
                let answer = Answer { status: status.parse().unwrap_or(0), body: body.trim().to_owned() };
                Err(PublishError::rejected(&answer).with_log(recent()))
            }
            "rolled_back" => {
                let log = log::lines(&self.log);
                Err(PublishError::RolledBack { why: self.why, how: self.undone, log })
            }
            "stuck" => {
                let log = log::lines(&self.log);
                Err(PublishError::Stuck { why: self.why, how: self.undone, log })
            }
            _ => Err(Failure::Protocol("the script did not say how it ended".to_owned()).into()),
        }
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
