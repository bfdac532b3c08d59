//! `stdbctl publish`: a module goes live, its migration seen first, with a way back.

mod approval;
mod hosts;
mod next;
mod wish;

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use dialoguer::console::Term;
use serde::Serialize;
use stdbctl_engine::event::{RunStats, Sender};
use stdbctl_engine::plan::HostPlan;
use stdbctl_playbook::publish::Preview;

use self::approval::Approval;
use self::hosts::{HostReport, Job, Options, Report};
use crate::cli::{Format, PublishArgs};
use crate::console::{Console, written};
use crate::error::{self, CliError, FailedHost};
use crate::exit_code::ExitCode;
use crate::report::style::{BAD, LOUD};
use crate::report::{Reporter, clean, github, json, markdown, preview, publication, reporter, screen};
use crate::run::{self, Asker};
use crate::site::{self, Site};

/// `publish --plan --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// One a host that could be looked at.
    plans: Vec<&'a HostPlan>,
    /// The same, as far as the database is concerned.
    previews: Vec<&'a Preview>,
    /// The others.
    failed: Vec<FailedHost<'a>>,
    stats: RunStats,
}

pub(super) async fn run(args: PublishArgs, console: &Console) -> Result<ExitCode, CliError> {
    let approval = Approval::of(&args, console)?;
    let site = Site::load(&args.site, None)?;
    let places = site::places(&site, &args.ssh, &[], console).await?;
    let wish = wish::read(&args, console).await?;
    let job =
        |(host, (name, place)): (&site::SiteHost, _)| Job { name, place, settings: host.settings.clone() };
    let jobs = site.hosts.iter().zip(places).map(job).collect();
    let options = Options { apply: !args.plan, operator: site::options("publish", !args.plan, &[]).operator };

    let (sender, events) = Sender::channel();
    let (asker, questions) = Asker::channel();
    let begun = AtomicBool::new(false);
    let approve = async |hosts: &[HostReport]| {
        let yes = approval.seek(hosts, console, &asker).await;
        begun.store(yes, Ordering::Relaxed);
        yes
    };
    let publishing = hosts::run(jobs, &wish, &options, sender, approve);
    let reporter = reporter(&args, console);
    let report = run::watched(publishing, &begun, events, questions, reporter, &console.screen).await?;

    written(write(&report, &args, console))?;
    console.show_cost(&report.stats);
    if report.declined {
        return Err(CliError::new(ExitCode::Interrupted, "not confirmed: nothing was changed"));
    }
    if let Some(error) = error::of_hosts(report.hosts.len(), report.failed()) {
        let words = last_words(&report);
        return Err(if words.is_empty() { error } else { error.excerpt(words) });
    }
    let pending = args.plan && report.is_pending();
    if pending && console.format == Format::Human && !console.quiet {
        // A reader that is gone does not read this either.
        drop(writeln!(
            anstream::stderr(),
            "`stdbctl publish` with the same flags, but not --plan, does this."
        ));
    }
    Ok(if pending && args.detailed_exitcode { ExitCode::Pending } else { ExitCode::Done })
}

/// People are told the result by this verb itself: it is about a database, and not about tasks.
fn reporter(args: &PublishArgs, console: &Console) -> Box<dyn Reporter> {
    if args.plan || console.format == Format::Human {
        reporter::for_progress(console)
    } else {
        reporter::for_changes(console)
    }
}

fn write(report: &Report, args: &PublishArgs, console: &Console) -> io::Result<()> {
    let mut out = anstream::stdout();
    match console.format {
        Format::Json if args.plan => json::document(&mut out, &document(report)),
        Format::Json => Ok(()),
        Format::Github => write_github(&mut out, report, args),
        Format::Human if args.plan => write_previews(&mut out, report),
        Format::Human => report.hosts.iter().enumerate().try_for_each(|(number, host)| {
            if number > 0 && host.published.is_some() {
                writeln!(out)?;
            }
            write_host(&mut out, host, report, args, console)
        }),
    }
}

fn write_previews(out: &mut dyn io::Write, report: &Report) -> io::Result<()> {
    let text: Vec<_> = previews(report).map(preview::text).collect();
    out.write_all(text.join("\n").as_bytes())
}

/// The log has the previews already where something was to be published; the summary gets them in any case.
fn write_github(out: &mut dyn io::Write, report: &Report, args: &PublishArgs) -> io::Result<()> {
    if args.plan {
        previews(report).try_for_each(|preview| write!(out, "{}", preview::folded(preview)))?;
        report.failed().iter().try_for_each(|host| github::error(out, host.host, &host.cause))?;
    }
    for host in &report.hosts {
        if let (Some(preview), Some(published)) = (host.preview(), &host.published) {
            publication::write(&mut github::Inert::new(&mut *out), preview, published, host.seconds)?;
        }
    }
    let markdown: String = report.hosts.iter().map(|host| markdown_of(host, args.name.as_str())).collect();
    github::append(github::summary_file().as_deref(), &markdown)
}

fn markdown_of(host: &HostReport, database: &str) -> String {
    let preview = host.preview().map(markdown::text).unwrap_or_default();
    let failure = host
        .failure
        .as_ref()
        .map(|failure| markdown::failure(database, &host.name, &error::in_one_line(failure)));
    preview + &failure.unwrap_or_default()
}

fn write_host(
    out: &mut dyn io::Write,
    host: &HostReport,
    report: &Report,
    args: &PublishArgs,
    console: &Console,
) -> io::Result<()> {
    if let (Some(preview), Some(published)) = (host.preview(), &host.published) {
        publication::write(out, preview, published, host.seconds)?;
        if !console.quiet {
            let next = next::steps(args, &host.name, host.domain.as_deref(), preview);
            publication::write_next(out, &next, screen::width(&Term::stdout()))?;
        }
        return if console.verbose > 0 { publication::write_log(out, &published.log) } else { Ok(()) };
    }
    match (&host.failure, host.preview()) {
        // Why the only host failed is the last line of the run.
        (Some(failure), _) if report.hosts.len() > 1 => {
            let (name, cause) = (&host.name, error::in_one_line(failure));
            writeln!(out, "{LOUD}{name}{LOUD:#}: {BAD}failed:{BAD:#} {cause}")
        }
        (None, Some(preview)) if preview::is_unchanged(preview) => write!(out, "{}", preview::text(preview)),
        (None, Some(preview)) if !report.declined => {
            writeln!(out, "{LOUD}{}{LOUD:#}: left as it was", preview.host)
        }
        _ => Ok(()),
    }
}

/// What the failed hosts have to say in their own words, above the cause.
fn last_words(report: &Report) -> String {
    let failed = report.hosts.iter().filter_map(|host| Some((&host.name, host.failure.as_ref()?.log())));
    let told = failed.filter(|(_, log)| !log.is_empty()).map(|(name, log)| {
        let lines: Vec<_> = log.iter().map(|line| format!("    {}\n", clean::line(line))).collect();
        format!("what was logged on {name}:\n{}", lines.concat())
    });
    told.collect()
}

fn previews(report: &Report) -> impl Iterator<Item = &Preview> {
    report.hosts.iter().filter_map(HostReport::preview)
}

fn document(report: &Report) -> Document<'_> {
    Document {
        plans: report.hosts.iter().filter_map(|host| Some(&host.prepared.as_ref()?.plan)).collect(),
        previews: previews(report).collect(),
        failed: report.failed(),
        stats: report.stats,
    }
}
