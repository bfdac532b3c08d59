//! `stdbctl deploy`: the main job.

use std::io::Write as _;
use std::time::Duration;

use stdbctl_engine::run::{HostReport, Report};
use stdbctl_playbook::inventory::DEFAULT_FILE;

use super::verify;
use crate::cli::{DeployArgs, Format, TrustArgs};
use crate::console::Console;
use crate::error::{self, CliError};
use crate::exit_code::ExitCode;
use crate::lock_file::LockFile;
use crate::pair::Resolve;
use crate::report::plan::Depth;
use crate::report::reporter;
use crate::run::{self, Approval};
use crate::site::{self, PRODUCT, Site, SiteHost};

/// The id of the playbook's task that unpacks SpacetimeDB.
const RELEASE_TASK: &str = "release";

pub(super) async fn run(args: DeployArgs, console: &Console) -> Result<ExitCode, CliError> {
    let approval = approval(args.yes, console)?;
    let mut site = Site::load(&args.site, Some(&args.short))?;
    let mut lock = LockFile::read(&site.lock_path()).map_err(CliError::settings)?;
    site.pin(&lock);
    let places = site::places(&site, &args.ssh, &args.trust.resolve, console);
    let jobs = site::jobs(&site, places)?;
    let options = site::options("deploy", true, &args.trust.resolve);
    let report = run::run(jobs, options, approval, reporter::for_changes(console), &console.screen).await?;
    console.show_cost(&report.stats);
    if report.declined {
        return Err(CliError::new(ExitCode::Interrupted, "not confirmed: nothing was changed"));
    }
    let recorded = record(&site, &report, &mut lock);
    let changed: Vec<_> =
        paired(&site, &report).filter(|(_, host)| is_changed(host)).map(|(host, _)| host).collect();
    let verified =
        verify::after_deploy(&changed, &args.trust, Duration::from_secs(args.ssh.timeout), console).await;
    if let Some(error) = error::of_run(&report) {
        return Err(error);
    }
    recorded?;
    verified?;
    if console.format == Format::Human && !console.quiet {
        for host in changed {
            say_what_next(host, &site, &args.trust);
        }
    }
    Ok(ExitCode::Done)
}

/// Nothing is connected to if in the end nobody could say yes.
fn approval(yes: bool, console: &Console) -> Result<Approval, CliError> {
    match (yes, console.can_ask()) {
        (true, _) => Ok(Approval::Given),
        (false, true) if console.verbose > 0 => Ok(Approval::Asked(Depth::Whole)),
        (false, true) => Ok(Approval::Asked(Depth::Outline)),
        (false, false) => Err(CliError::usage("there is nobody to ask whether to change the hosts")
            .hint("--yes changes them without asking; `stdbctl plan` shows what would be changed")),
    }
}

fn paired<'a>(site: &'a Site, report: &'a Report) -> impl Iterator<Item = (&'a SiteHost, &'a HostReport)> {
    report.hosts.iter().filter_map(|report| {
        let host = site.hosts.iter().find(|host| host.name == report.host)?;
        Some((host, report))
    })
}

fn is_changed(report: &HostReport) -> bool {
    report.failure.is_none() && report.counts.changed > 0
}

/// Writes down what was unpacked, where the operator has not pinned it themselves.
fn record(site: &Site, report: &Report, lock: &mut LockFile) -> Result<(), CliError> {
    let failed = |error| {
        CliError::new(ExitCode::Failed, error)
            .hint("if this archive is the right one, set spacetimedb.sha256, or mend stdbctl.lock")
    };
    let mut is_new = false;
    for (host, report) in paired(site, report).filter(|(host, _)| !host.is_pinned) {
        let Some(sha256) = report.archives.get(RELEASE_TASK) else { continue };
        if !lock.sha256s(PRODUCT, &host.settings.spacetimedb.version).contains(sha256.as_str()) {
            is_new |= lock.record(host.release(&report.machine), sha256).map_err(failed)?;
        }
    }
    if is_new {
        lock.write(&site.lock_path()).map_err(|error| CliError::new(ExitCode::Failed, error))?;
    }
    Ok(())
}

fn say_what_next(host: &SiteHost, site: &Site, trust: &TrustArgs) {
    let url = verify::url(host);
    let mut check = match (&site.config, &host.settings.domain) {
        (Some(config), _) if config.as_os_str() == DEFAULT_FILE => "stdbctl verify".to_owned(),
        (Some(config), _) => format!("stdbctl verify --config {}", config.display()),
        (None, Some(domain)) => format!("stdbctl verify --domain {domain}"),
        (None, None) => format!("stdbctl verify --host {}", host.name),
    };
    for Resolve { name, address } in &trust.resolve {
        check = format!("{check} --resolve {name}={address}");
    }
    if let Some(ca) = &trust.ca {
        check = format!("{check} --ca {}", ca.display());
    }
    // A reader that is gone does not read this either.
    drop(writeln!(anstream::stdout(), "\n  SpacetimeDB  {url}\n  check it     {check}"));
}
