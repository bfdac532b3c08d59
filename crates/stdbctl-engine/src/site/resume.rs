//! Going on with changes that were cut off, or that somebody else has begun with.
//!
//! No change is ever repeated because nobody knows whether it was made. Instead:
//!
//! 1. The connection is made anew, once. A second loss is the end of the run on this host.
//! 2. The cut-off script on the host is told that nobody listens any more, in case it has not noticed: it ends the step
//!    it is in, begins no other and lets go of the host's lock. That is waited for, ten minutes at most. A firewall
//!    that it has switched on and nobody has confirmed is off again by then: only a connection that was opened for that
//!    confirms it, and the one that was made anew is not.
//! 3. The host says how the tasks of the cut-off script ended, which that has written down, and is observed anew, from
//!    the start, with the lock held. Another machine that the new connection may have led to is left alone.
//! 4. What is left to do must have been approved with the plan (see [`approval`](super::approval)); if not, nothing
//!    more is changed and the run says what it is.
//! 5. What is not left any more is told and counted as changed; what is left is made, once. A task that
//!    has failed is not tried again: it has failed, as it would have without the cut.
//!
//! A host that turns out to have changed between the plan and the lock goes the same way from 3 on; what others have
//! done there counts as unchanged.

use std::collections::BTreeSet;

use super::approval::{Planned, unapproved};
use super::progress::{Heard, read_end, tell_wait};
use super::{Site, archives};
use crate::conversation::Conversation;
use crate::dialogue::{RunKey, refused, whole};
use crate::event::{EventKind, Outcome, Sender};
use crate::failure::Failure;
use crate::observe::Observation;
use crate::plan::{Action, PlannedChange};
use crate::planner;
use crate::record::Record;
use crate::resource::Resource;
use crate::run::Options;
use crate::script;

impl Site {
    /// Makes a lost connection anew, if that has not been done before.
    pub(super) async fn reconnect(&self, why: String, events: &Sender) -> Result<(), Failure> {
        let connecting = self.host.as_ref().and_then(|host| host.reconnect());
        let Some(connecting) = connecting else { return Err(Failure::Lost(why)) };
        let host = || self.report.host.clone();
        events.send(EventKind::ConnectionLost { host: host(), cause: why.clone() });
        connecting.await.map_err(|source| Failure::NotReconnected { lost: why, source })?;
        events.send(EventKind::Reconnected { host: host() });
        Ok(())
    }

    /// After a loss: whether anything is left to do.
    pub(super) async fn resume_lost(
        &mut self,
        why: String,
        heard: &mut Heard,
        options: &Options,
        events: &Sender,
    ) -> Result<bool, Failure> {
        let before = self.left();
        let recalled = match self.come_back(why, heard, options, events).await {
            Ok(recalled) => recalled,
            Err(failure) => {
                self.count_heard(heard);
                return Err(failure);
            }
        };
        if recalled.iter().any(|record| record.kind == "unbegun") {
            return self.settle_stale(&before);
        }
        self.recall(&before, &recalled, heard, events);
        let left = self.left();
        let unsettled = self.settle_lost(&before, &left, heard, events);
        let result = match first_failure(&before, heard) {
            Some(failure) => Err(failure),
            None if !unsettled.is_empty() => Err(Failure::NotConverged(unsettled)),
            None => self.must_be_approved(&left, &before.without(&left)),
        };
        if result.is_err() {
            self.leave_out(&left, heard, events);
        }
        result.map(|()| !left.plan.changes.is_empty())
    }

    /// After the host was found changed: whether anything is left to do.
    pub(super) async fn resume_stale(&mut self, options: &Options, events: &Sender) -> Result<bool, Failure> {
        let before = self.left();
        if let Err(failure) = self.look_again(options, events).await {
            let Failure::Lost(why) = failure else { return Err(failure) };
            self.reconnect(why, events).await?;
            self.look_again(options, events).await?;
        }
        self.settle_stale(&before)
    }

    /// What this run has not begun with: whether anything is left to do.
    fn settle_stale(&mut self, before: &Planned) -> Result<bool, Failure> {
        let left = self.left();
        // What others have made is no prediction that came true.
        self.must_be_approved(&left, &BTreeSet::new()).map_err(|_| Failure::Stale)?;
        let known = self.report.counts.unchanged + before.plan.changes.len();
        self.report.counts.unchanged = known.saturating_sub(left.plan.changes.len());
        Ok(!left.plan.changes.is_empty())
    }

    async fn come_back(
        &mut self,
        why: String,
        heard: &Heard,
        options: &Options,
        events: &Sender,
    ) -> Result<Vec<Record>, Failure> {
        self.reconnect(why, events).await?;
        self.lost_run = Some(heard.run_id.clone());
        self.look_again(options, events).await
    }

    /// What is to be done as the host was seen last.
    fn left(&self) -> Planned {
        Planned::new(&planner::plan(&self.graph, &self.seen), &self.report.host)
    }

    /// Observes once no other run changes the host: all that it has said.
    async fn look_again(&mut self, options: &Options, events: &Sender) -> Result<Vec<Record>, Failure> {
        let Some(host) = self.host.clone() else { return Ok(Vec::new()) };
        let key = RunKey::new(&options.operator, &options.verb)?;
        let lost_run = self.lost_run.as_deref().unwrap_or_default();
        let machine = &self.seen.host.machine_id;
        let stdin = script::observe_locked(&key, lost_run, machine, &planner::probes(&self.graph));
        let name = self.report.host.clone();
        let wait = |record: &_| tell_wait(&name, record, events);
        let said = Conversation::hold(&key.nonce, |output| host.run(stdin, output), wait).await;
        let said = whole(said)?;
        refused(&said.records)?;
        self.seen = Observation::read(&said.records);
        self.report.archives = archives(&self.graph, &self.seen);
        Ok(said.records)
    }

    /// Hears from the host how the tasks ended of which that was not heard before the loss.
    fn recall(&self, before: &Planned, recalled: &[Record], heard: &mut Heard, events: &Sender) {
        for record in recalled {
            let Some(task) = record.kind.strip_prefix("finished:") else { continue };
            if before.has(task) && !heard.ends.contains_key(task) {
                let outcome = read_end(&record.text());
                self.tell_end(task, outcome.clone(), heard, events);
                heard.ends.insert(task.to_owned(), outcome);
            }
        }
    }

    /// From then on nothing but what is left is approved.
    fn must_be_approved(&mut self, left: &Planned, made: &BTreeSet<String>) -> Result<(), Failure> {
        let Some(approved) = &self.approved else { return Ok(()) };
        let others = unapproved(left, approved, made, &self.graph);
        if others.is_empty() {
            self.approved = Some(left.clone());
            return Ok(());
        }
        Err(Failure::Unapproved(others.into_iter().map(|change| change.title.clone()).collect()))
    }

    /// Counts what became of the tasks of a run that was lost, and tells what was not heard of it. Those that were done
    /// and would still change something are its result: they are not made a second time.
    fn settle_lost(
        &mut self,
        before: &Planned,
        left: &Planned,
        heard: &Heard,
        events: &Sender,
    ) -> Vec<String> {
        let mut unsettled = Vec::new();
        for change in &before.plan.changes {
            match heard.ends.get(&change.task) {
                Some(failed @ Outcome::Failed { .. }) => self.count(failed),
                Some(Outcome::Changed) if left.has(&change.task) && !self.is_due_again(change, left) => {
                    self.report.counts.failed += 1;
                    unsettled.push(change.title.clone());
                }
                _ if left.has(&change.task) => {}
                Some(Outcome::Changed) => self.count(&Outcome::Changed),
                _ => {
                    self.count(&Outcome::Changed);
                    self.tell_end(&change.task, Outcome::Changed, heard, events);
                }
            }
        }
        // What waits for something may have to wait again.
        let more = left.plan.changes.iter().filter(|change| !before.has(&change.task)).count();
        self.report.counts.unchanged = self.report.counts.unchanged.saturating_sub(more);
        unsettled
    }

    /// Whether a task that was done has something to do again: to wait, or to take up what is left to do.
    fn is_due_again(&self, change: &PlannedChange, left: &Planned) -> bool {
        let resource = self.graph.task(&change.task).map(|task| &task.resource);
        change.action == Action::Wait
            || matches!(resource, Some(Resource::Service(service)) if service.with.iter().any(|task| left.has(task)))
    }

    /// What is left is not made.
    fn leave_out(&mut self, left: &Planned, heard: &Heard, events: &Sender) {
        for change in &left.plan.changes {
            match heard.ends.get(&change.task) {
                Some(Outcome::Failed { .. }) => {}
                Some(Outcome::Changed) if !self.is_due_again(change, left) => {}
                Some(Outcome::Changed) => self.report.counts.changed += 1,
                Some(Outcome::Skipped { .. }) => self.report.counts.skipped += 1,
                _ => {
                    self.report.counts.skipped += 1;
                    let why = "the connection was lost before it was begun".to_owned();
                    self.tell_end(&change.task, Outcome::Skipped { why }, heard, events);
                }
            }
        }
    }

    /// Counts what was heard of a run that nothing more is known of.
    pub(super) fn count_heard(&mut self, heard: &Heard) {
        for (task, outcome) in &heard.ends {
            // Whatever else the host speaks of, it was not asked for.
            if self.approved.as_ref().is_some_and(|approved| approved.has(task)) {
                self.count(outcome);
            }
        }
    }

    fn count(&mut self, outcome: &Outcome) {
        let counts = &mut self.report.counts;
        match outcome {
            Outcome::Unchanged => counts.unchanged += 1,
            Outcome::Changed => counts.changed += 1,
            Outcome::Skipped { .. } => counts.skipped += 1,
            Outcome::Failed { .. } => counts.failed += 1,
        }
    }

    fn tell_end(&self, task: &str, outcome: Outcome, heard: &Heard, events: &Sender) {
        let (host, seconds) = (self.report.host.clone(), heard.seconds(task));
        events.send(EventKind::TaskFinished { host, task: task.to_owned(), outcome, seconds });
    }
}

/// The first task that was heard to have failed.
fn first_failure(before: &Planned, heard: &Heard) -> Option<Failure> {
    before.plan.changes.iter().find_map(|change| match heard.ends.get(&change.task)? {
        Outcome::Failed { why } => {
            let (task, title) = (change.task.clone(), change.title.clone());
            Some(Failure::Task { task, title, why: why.clone() })
        }
        _ => None,
    })
}
