//! One run of the engine, with somebody watching: its events shown, its question asked, Ctrl-C heard.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// What the operator is shown in the middle of a run, and asked for, by whoever carries it out.
pub(crate) struct Question {
    text: String,
    asked: Option<Asked>,
    answer: oneshot::Sender<bool>,
}

/// How a question is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// With yes or no.
    Confirm(String),
    /// By typing this name.
    Name { question: String, name: String },
}

/// Asks the operator, through the one task that owns the terminal.
#[derive(Clone)]
pub(crate) struct Asker(mpsc::Sender<Question>);

impl Asker {
    /// An asker, and the other end.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// Shows `text`.
    pub(crate) async fn show(&self, text: String) {
        self.send(text, None).await;
    }

    /// Shows `text` and asks. No answer is a no.
    pub(crate) async fn ask(&self, text: String, asked: Asked) -> bool {
        self.send(text, Some(asked)).await
    }

    async fn send(&self, text: String, asked: Option<Asked>) -> bool {
        let (answer, reply) = oneshot::channel();
        let sent = self.0.send(Question { text, asked, answer }).await.is_ok();
        sent && reply.await.unwrap_or(false)
    }
}

/// Runs the jobs.
///
/// # Errors
/// If the operator interrupts. What hosts do wrong is in the report.
pub(crate) async fn run(
    jobs: Vec<Job>,
    options: Options,
    approval: Approval,
    reporter: Box<dyn Reporter>,
    screen: &MultiProgress,
) -> Result<Report, CliError> {
    let (sender, events) = Sender::channel();
    let (asker, questions) = Asker::channel();
    let begun = AtomicBool::new(false);
    let approve = |plans: Vec<HostPlan>| {
        let begun = &begun;
        async move {
            let yes = match approval {
                Approval::Given => true,
                Approval::Asked(depth) => match outline(&plans, depth) {
                    Ok(text) => asker.ask(text, Asked::Confirm(question(&plans))).await,
                    Err(_) => false,
                },
            };
            begun.store(yes, Ordering::Relaxed);
            yes
        }
    };
    let engine = stdbctl_engine::run::run(jobs, options, sender, approve);
    watched(engine, &begun, events, questions, reporter, screen).await
}

/// Runs something that emits events and asks questions, with somebody watching. It says when it has `begun` to change
/// hosts.
///
/// # Errors
/// If the operator interrupts.
pub(crate) async fn watched<T>(
    run: impl Future<Output = T>,
    begun: &AtomicBool,
    events: mpsc::UnboundedReceiver<Event>,
    questions: mpsc::Receiver<Question>,
    mut reporter: Box<dyn Reporter>,
    screen: &MultiProgress,
) -> Result<T, CliError> {
    let watched = async { tokio::join!(run, watch(events, questions, &mut *reporter, screen)) };
    tokio::select! {
        (result, ()) = watched => Ok(result),
        _ = tokio::signal::ctrl_c() => Err(if begun.load(Ordering::Relaxed) { cut_off() } else { interrupted() }),
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
                Some(event) => {
                    prompt::answered_all().await;
                    show(reporter, &event, &mut shown);
                }
                None => break,
            },
            Some(question) = questions.recv() => {
                // What was said before the question is shown before it.
                while let Ok(event) = events.try_recv() {
                    show(reporter, &event, &mut shown);
                }
                let yes = put(screen, question.text, question.asked).await.unwrap_or(false);
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

/// Puts a question to the operator. What is only shown is taken for answered.
async fn put(screen: &MultiProgress, text: String, asked: Option<Asked>) -> io::Result<bool> {
    match asked {
        Some(Asked::Confirm(question)) => prompt::confirm(screen.clone(), text, question).await,
        Some(Asked::Name { question, name }) => prompt::type_name(screen.clone(), text, question, name).await,
        None => prompt::show(screen, &text).map(|()| true),
    }
}

/// So much of the plans as is to be seen.
fn outline(plans: &[HostPlan], depth: Depth) -> io::Result<String> {
    let mut text = Vec::new();
    for plan in plans.iter().filter(|plan| !plan.changes.is_empty()) {
        plan::write(&mut text, plan, depth)?;
    }
    if depth == Depth::Outline && plans.iter().any(plan::is_shortened) {
        writeln!(text, "{QUIET}`stdbctl plan` shows new files in full, and so does -v.{QUIET:#}")?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use stdbctl_engine::event::EventKind;

    use super::*;

    /// Counts.
    struct Drawing(Arc<AtomicUsize>);

    impl Reporter for Drawing {
        fn event(&mut self, _: &Event) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test]
    async fn nothing_is_drawn_while_somebody_is_asked() {
        let ((sender, events), (asker, questions)) = (Sender::channel(), Asker::channel());
        let drawn = Arc::new(AtomicUsize::new(0));
        let (mut drawing, screen) = (Drawing(Arc::clone(&drawn)), MultiProgress::new());
        let mut watching = Box::pin(watch(events, questions, &mut drawing, &screen));
        let asking = prompt::asking().await;
        sender.send(EventKind::HostObserved { host: "web1".to_owned() });
        for _ in 0..10 {
            assert!(futures_util::poll!(&mut watching).is_pending());
        }
        assert_eq!(drawn.load(Ordering::Relaxed), 0);
        drop(asking);
        drop((sender, asker));
        watching.await;
        assert_eq!(drawn.load(Ordering::Relaxed), 1);
    }
}
