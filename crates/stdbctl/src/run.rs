//! One run of the engine, with somebody watching: its events shown, its question asked, Ctrl-C heard.

use std::io::{self, Write as _};

use indicatif::MultiProgress;
use stdbctl_engine::event::{Event, Sender};
use stdbctl_engine::plan::HostPlan;
use stdbctl_engine::run::{Job, Options, Report};
use tokio::sync::{mpsc, oneshot};

use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::prompt;
use crate::report::plan::Depth;
use crate::report::style::{QUIET, count};
use crate::report::{Reporter, plan};

/// Who says whether a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval {
    /// It has been said: `--yes`, or there is nothing to carry out.
    Given,
    /// The operator, once they have seen so much of it.
    Asked(Depth),
}

struct Question {
    plans: Vec<HostPlan>,
    depth: Depth,
    answer: oneshot::Sender<bool>,
}

/// Runs the jobs.
///
/// # Errors
/// If the operator interrupts. What hosts do wrong is in the report.
pub(crate) async fn run(
    jobs: Vec<Job>,
    options: Options,
    approval: Approval,
    mut reporter: Box<dyn Reporter>,
    screen: &MultiProgress,
) -> Result<Report, CliError> {
    let (sender, events) = Sender::channel();
    let (ask, questions) = mpsc::channel(1);
    let approve = move |plans| async move {
        let Approval::Asked(depth) = approval else { return true };
        let (answer, reply) = oneshot::channel();
        let asked = ask.send(Question { plans, depth, answer }).await.is_ok();
        asked && reply.await.unwrap_or(false)
    };
    let applies = options.apply;
    let engine = stdbctl_engine::run::run(jobs, options, sender, approve);
    let watched = async { tokio::join!(engine, watch(events, questions, &mut *reporter, screen)) };
    tokio::select! {
        (report, ()) = watched => Ok(report),
        _ = tokio::signal::ctrl_c() => Err(if applies { cut_off() } else { interrupted() }),
    }
}

/// The one task that owns the terminal.
async fn watch(
    mut events: mpsc::UnboundedReceiver<Event>,
    mut questions: mpsc::Receiver<Question>,
    reporter: &mut dyn Reporter,
    screen: &MultiProgress,
) {
    let mut shown = Ok(());
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => show(reporter, &event, &mut shown),
                None => break,
            },
            Some(question) = questions.recv() => {
                // What was said before the question is shown before it.
                while let Ok(event) = events.try_recv() {
                    show(reporter, &event, &mut shown);
                }
                let yes = ask(screen.clone(), &question.plans, question.depth).await.unwrap_or(false);
                // The engine may have been interrupted in the meantime.
                question.answer.send(yes).ok();
            }
        }
    }
    if let Err(error) = shown {
        tracing::warn!("the output could not be written: {error}");
    }
}

/// A reader that went away, as `head` does, does not stop the run: it is not written to any more.
fn show(reporter: &mut dyn Reporter, event: &Event, shown: &mut io::Result<()>) {
    if shown.is_ok() {
        *shown = reporter.event(event);
    }
}

async fn ask(screen: MultiProgress, plans: &[HostPlan], depth: Depth) -> io::Result<bool> {
    let mut text = Vec::new();
    for plan in plans.iter().filter(|plan| !plan.changes.is_empty()) {
        plan::write(&mut text, plan, depth)?;
    }
    if depth == Depth::Outline && plans.iter().any(plan::is_shortened) {
        writeln!(text, "{QUIET}`stdbctl plan` shows new files in full, and so does -v.{QUIET:#}")?;
    }
    prompt::confirm(screen, String::from_utf8_lossy(&text).into_owned(), question(plans)).await
}

fn question(plans: &[HostPlan]) -> String {
    let changing: Vec<_> = plans.iter().filter(|plan| !plan.changes.is_empty()).collect();
    let changes: usize = changing.iter().map(|plan| plan.changes.len()).sum();
    let hosts = match changing.as_slice() {
        [one] => one.host.clone(),
        several => format!("{} hosts", several.len()),
    };
    format!("Apply {} to {hosts}?", count(changes, "change"))
}

/// Ctrl-C.
pub(crate) fn interrupted() -> CliError {
    CliError::new(ExitCode::Interrupted, "interrupted")
}

/// What Ctrl-C leaves behind of a run that changes hosts.
fn cut_off() -> CliError {
    interrupted()
        .hint("run again to go on: a step that has begun runs to its end on the host, and no other begins")
}
