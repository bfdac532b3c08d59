//! What `stdbctl doctor ssh` shows: the way to a host step by step, and where it ends.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use stdbctl_ssh::Target;

use super::style::{BAD, CHANGE, GOOD, LOUD, QUIET, count, duration};
use super::{clean, github, json, wrap};
use crate::cli::Format;

/// What stands before the words about a step: a mark, its name, and the blanks around them.
const INDENT: usize = 24;

/// `doctor ssh --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    ok: bool,
    hosts: &'a [Walk],
}

/// The way to one host, and what was found there.
#[derive(Debug, Serialize)]
pub(crate) struct Walk {
    /// As the operator calls it.
    pub(crate) host: String,
    pub(crate) ok: bool,
    /// Where it ended, if that was too early.
    pub(crate) failed: Option<Failed>,
    /// The hosts on the way, the nearest first, and the host itself.
    pub(crate) legs: Vec<Leg>,
    /// Of all legs together; not known where there was no login.
    pub(crate) round_trips: Option<u64>,
    pub(crate) seconds: f64,
}

/// A step that did not work.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failed {
    pub(crate) step: &'static str,
    /// The host that it leads to.
    pub(crate) host: String,
    /// The error and its causes in one line.
    pub(crate) cause: String,
    pub(crate) hints: Vec<String>,
}

/// One host, and the steps that lead into it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Leg {
    /// As it is called where it is configured.
    pub(crate) host: String,
    /// What the configuration makes of that.
    pub(crate) user: Option<String>,
    pub(crate) host_name: String,
    pub(crate) port: u16,
    /// What leads there, if it is not reached directly.
    pub(crate) through: Option<String>,
    /// Where its configuration is from.
    pub(crate) configuration: String,
    /// The files that were read for its host key.
    pub(crate) known_hosts: Vec<String>,
    pub(crate) agent: Option<String>,
    pub(crate) keys: Vec<String>,
    /// Keys that were not offered, and why.
    pub(crate) skipped: Vec<String>,
    /// The server's identification string.
    pub(crate) server: Option<String>,
    pub(crate) algorithms: Option<Algorithms>,
    pub(crate) host_key: Option<HostKey>,
    pub(crate) answers: Vec<Answered>,
    pub(crate) steps: Vec<Step>,
}

/// What both sides have agreed on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Algorithms {
    pub(crate) key_exchange: String,
    pub(crate) post_quantum: bool,
    pub(crate) strict: bool,
    pub(crate) host_key: String,
    pub(crate) cipher: String,
    /// None where the cipher needs none.
    pub(crate) mac_sent: Option<String>,
    pub(crate) mac_received: Option<String>,
    pub(crate) compression_sent: Option<String>,
    pub(crate) compression_received: Option<String>,
}

/// A host key that was recognised.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HostKey {
    #[serde(rename = "type")]
    pub(crate) key_type: String,
    pub(crate) fingerprint: String,
    pub(crate) certificate: bool,
    /// `recorded`, `vouched` or `accepted`.
    pub(crate) trusted: &'static str,
    pub(crate) authority: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<usize>,
}

/// What a server said to a way to log in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Answered {
    pub(crate) identity: String,
    pub(crate) answer: Verdict,
    /// What it would take instead.
    pub(crate) methods: Vec<String>,
    /// Why it was not offered, or did not sign.
    pub(crate) why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Taken,
    Refused,
    /// Taken, but not enough.
    Partial,
    NotOffered,
    /// The server would take the key, and it did not sign.
    Unsigned,
    HungUp,
    /// Something that is new.
    Other,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    #[serde(rename = "step")]
    pub(crate) name: &'static str,
    pub(crate) result: Outcome,
    /// A line for each thing there is to know.
    pub(crate) details: Vec<String>,
    pub(crate) seconds: Option<f64>,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Ok,
    /// It works, and there is something to know about it.
    Note,
    /// Whether it works was not tried.
    Unproven,
    Failed,
    NotReached,
}

impl Step {
    pub(crate) fn new(name: &'static str, result: Outcome, details: Vec<String>) -> Self {
        Self { name, result, details, seconds: None }
    }
}

/// Writes what was found on the way to one host, for people. `width` is that of the terminal, if it goes to one.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_walk(
    out: &mut dyn Write,
    walk: &Walk,
    format: Format,
    width: Option<usize>,
) -> io::Result<()> {
    match format {
        Format::Human => write(out, walk, width),
        Format::Json => Ok(()),
        Format::Github => {
            write(&mut github::Inert::new(&mut *out), walk, None)?;
            let failed = walk.failed.iter();
            failed.into_iter().try_for_each(|failed| github::error(out, &walk.host, &failed.cause))
        }
    }
}

/// Writes all of it as one document, for programs.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_document(out: &mut dyn Write, walks: &[Walk]) -> io::Result<()> {
    json::document(out, &Document { ok: walks.iter().all(|walk| walk.ok), hosts: walks })
}

fn write(out: &mut dyn Write, walk: &Walk, width: Option<usize>) -> io::Result<()> {
    let Walk { host, failed, legs, round_trips, seconds, .. } = walk;
    let host = clean::line(host);
    let is_unproven = |step: &&Step| step.result == Outcome::Unproven;
    let unproven = legs.iter().flat_map(|leg| &leg.steps).find(is_unproven);
    let verdict = match failed {
        None if let Some(step) = unproven => {
            format!("{CHANGE}{} not proven: sudo's password not tried{CHANGE:#}", step.name)
        }
        None => format!("{GOOD}every step works{GOOD:#}"),
        Some(failed) if legs.len() > 1 => {
            format!("{BAD}fails at: {} of {}{BAD:#}", failed.step, clean::line(&failed.host))
        }
        Some(failed) => format!("{BAD}fails at: {}{BAD:#}", failed.step),
    };
    let cost = round_trips.map_or_else(String::new, |trips| {
        let trips = count(usize::try_from(trips).unwrap_or(usize::MAX), "round trip");
        format!("  {QUIET}{trips}, {}{QUIET:#}", duration(*seconds))
    });
    writeln!(out, "{LOUD}{host}{LOUD:#}  {verdict}{cost}")?;
    for (index, leg) in legs.iter().enumerate() {
        if legs.len() > 1 {
            let role = if index + 1 == legs.len() { "" } else { ", on the way" };
            writeln!(out, " {LOUD}{}{LOUD:#}{role}", clean::line(&leg.host))?;
        }
        let hints = failed.as_ref().map_or(&[][..], |failed| failed.hints.as_slice());
        write_leg(out, leg, hints, width)?;
    }
    Ok(())
}

fn write_leg(out: &mut dyn Write, leg: &Leg, hints: &[String], width: Option<usize>) -> io::Result<()> {
    for (name, fact) in facts(leg) {
        write_row(out, "      ", name, &fact, width)?;
    }
    for step in &leg.steps {
        let mark = match step.result {
            Outcome::Ok => format!("{GOOD}ok    {GOOD:#}"),
            Outcome::Note | Outcome::Unproven => format!("{CHANGE}note  {CHANGE:#}"),
            Outcome::Failed => format!("{BAD}failed{BAD:#}"),
            Outcome::NotReached => format!("{QUIET}-     {QUIET:#}"),
        };
        write_row(out, &mark, step.name, &step.details, width)?;
        if step.result == Outcome::Failed {
            let row = |hint| write_row(out, "      ", "try", std::slice::from_ref(hint), width);
            hints.iter().try_for_each(row)?;
        }
    }
    Ok(())
}

/// What leads there, before anything was tried.
fn facts(leg: &Leg) -> Vec<(&'static str, Vec<String>)> {
    let Leg { user, host_name, port, .. } = leg;
    let to = Target { user: user.clone(), host: host_name.clone(), port: Some(*port) }.to_string();
    let mut facts = vec![("to", vec![to])];
    facts.extend(leg.through.iter().map(|through| ("through", vec![through.clone()])));
    facts.push(("config", vec![leg.configuration.clone()]));
    let files = leg.known_hosts.iter().map(|file| from_home(file)).collect();
    facts.push(("known hosts", if leg.known_hosts.is_empty() { vec!["none yet".to_owned()] } else { files }));
    facts.push(("agent", vec![leg.agent.as_deref().map_or_else(|| "none".to_owned(), from_home)]));
    facts
}

/// A mark of six columns, a name, and what there is to say, in as many lines as it takes: what does not fit stands below
/// it, a little to the right.
fn write_row(
    out: &mut dyn Write,
    mark: &str,
    name: &str,
    details: &[String],
    width: Option<usize>,
) -> io::Result<()> {
    let mut before = format!("  {mark}  {name:<12}  ");
    if details.is_empty() {
        return writeln!(out, "{}", before.trim_end());
    }
    details.iter().try_for_each(|detail| {
        let text = wrap::hanging(&before, &clean::line(detail), INDENT + 2, width);
        before = " ".repeat(INDENT);
        out.write_all(text.as_bytes())
    })
}

/// A path as an operator writes it.
pub(crate) fn from_home(path: &str) -> String {
    let home = std::env::home_dir().filter(|home| home.parent().is_some());
    match home.and_then(|home| Path::new(path).strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.to_owned(),
    }
}
