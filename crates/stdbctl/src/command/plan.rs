//! `stdbctl plan`: what deploy would change.

use std::io::{self, Write as _};

use serde::Serialize;
use stdbctl_engine::event::RunStats;
use stdbctl_engine::plan::HostPlan;
use stdbctl_engine::run::Report;

use crate::cli::{Format, PlanArgs};
use crate::console::{Console, written};
use crate::error::{self, CliError, FailedHost};
use crate::exit_code::ExitCode;
use crate::lock_file::LockFile;
use crate::report::plan::Depth;
use crate::report::{github, json, plan, reporter};
use crate::run::{self, Approval};
use crate::site::{self, Site};

/// `plan --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// One a host that could be observed.
    plans: Vec<&'a HostPlan>,
    /// The others.
    failed: Vec<FailedHost<'a>>,
    stats: RunStats,
}

pub(super) async fn run(args: PlanArgs, console: &Console) -> Result<ExitCode, CliError> {
    let mut site = Site::load(&args.site, Some(&args.short))?;
    // The same archive as `deploy` would hold to.
    site.pin(&LockFile::read(&site.lock_path()).map_err(CliError::settings)?);
    let jobs = site::jobs(&site, site::places(&site, &args.ssh, &args.trust.resolve, console).await?)?;
    let options = site::options("plan", false, &args.trust.resolve);
    let reporter = reporter::for_progress(console);
    let report = run::run(jobs, options, Approval::Given, reporter, &console.screen).await?;
    written(write(&report, console))?;
    console.show_cost(&report.stats);
    if let Some(error) = error::of_run(&report) {
        return Err(error);
    }
    let pending =
        report.hosts.iter().filter_map(|host| host.plan.as_ref()).any(|plan| !plan.changes.is_empty());
    if pending && console.format == Format::Human && !console.quiet {
        // A reader that is gone does not read this either.
        drop(writeln!(anstream::stderr(), "`stdbctl deploy` with the same flags makes these changes."));
    }
    Ok(if pending && args.detailed_exitcode { ExitCode::Pending } else { ExitCode::Done })
}

fn write(report: &Report, console: &Console) -> io::Result<()> {
    let mut out = anstream::stdout();
    let mut plans = report.hosts.iter().filter_map(|host| host.plan.as_ref());
    match console.format {
        Format::Human => plans.try_for_each(|host| {
            plan::write(&mut out, host, Depth::Whole)?;
            if console.verbose > 0 { plan::write_skipped(&mut out, host) } else { Ok(()) }
        }),
        Format::Json => json::document(&mut out, &document(report)),
        Format::Github => {
            plans.try_for_each(|host| github::group(&mut out, host))?;
            document(report)
                .failed
                .iter()
                .try_for_each(|host| github::error(&mut out, host.host, &host.cause))
        }
    }
}

fn document(report: &Report) -> Document<'_> {
    Document {
        plans: report.hosts.iter().filter_map(|host| host.plan.as_ref()).collect(),
        failed: error::failed_hosts(report),
        stats: report.stats,
    }
}
