//! `stdbctl deploy`: the main job.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use stdbctl_engine::run::{HostReport, Report};
use stdbctl_playbook::inventory::DEFAULT_FILE;
use stdbctl_ssh::quote;

use super::verify;
use crate::cli::{DeployArgs, Format, SiteArgs};
use crate::console::Console;
use crate::error::{self, CliError};
use crate::exit_code::ExitCode;
use crate::lock_file::{LockFile, LockFileError};
use crate::pair::{Resolve, Setting};
use crate::report::plan::Depth;
use crate::report::reporter;
use crate::run::{self, Approval};
use crate::site::{self, PRODUCT, Site, SiteHost};

/// The id of the playbook's task that unpacks SpacetimeDB.
const RELEASE_TASK: &str = "release";

pub(super) async fn run(args: DeployArgs, console: &Console) -> Result<ExitCode, CliError> {
    let approval = approval(args.yes, console)?;
    let mut site = Site::load(&args.site, Some(&args.short))?;
    let lock = LockFile::read(&site.lock_path()).map_err(CliError::settings)?;
    site.pin(&lock);
    verify::is_possible(&args.trust)?;
    let places = site::places(&site, &args.ssh, &args.trust.resolve, console).await?;
    let jobs = site::jobs(&site, places)?;
    let options = site::options("deploy", true, &args.trust.resolve);
    let report = run::run(jobs, options, approval, reporter::for_changes(console), &console.screen).await?;
    console.show_cost(&report.stats);
    if report.declined {
        return Err(CliError::new(ExitCode::Interrupted, "not confirmed: nothing was changed"));
    }
    let recorded = record(&site, &report, &lock);
    let changed: Vec<_> =
        paired(&site, &report).filter(|(_, host)| is_changed(host)).map(|(host, _)| host).collect();
    let verified = verify::after_deploy(
        &changed,
        &args.trust,
        Duration::from_secs(args.ssh.timeout.unwrap_or(15)),
        console,
    )
    .await;
    if let Some(error) = error::of_run(&report) {
        return Err(error);
    }
    recorded?;
    verified?;
    if console.format == Format::Human && !console.quiet {
        for host in changed {
            say_what_next(host, &site, &args);
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
fn record(site: &Site, report: &Report, lock: &LockFile) -> Result<(), CliError> {
    let unpacked = paired(site, report).filter(|(host, _)| !host.is_pinned).filter_map(|(host, report)| {
        let sha256 = report.archives.get(RELEASE_TASK)?;
        let is_known = lock.sha256s(PRODUCT, &host.settings.spacetimedb.version).contains(sha256.as_str());
        (!is_known).then(|| (host.release(&report.machine), sha256.clone()))
    });
    LockFile::add(&site.lock_path(), unpacked).map_err(|error| {
        let is_other = matches!(error, LockFileError::Mismatch { .. });
        let error = CliError::new(ExitCode::Failed, error);
        if !is_other {
            return error;
        }
        error.hint("if this archive is the right one, set spacetimedb.sha256, or mend stdbctl.lock")
    })
}

fn say_what_next(host: &SiteHost, site: &Site, args: &DeployArgs) {
    let (url, check) = (verify::url(host), check_command(host, site.config.as_deref(), args));
    // A reader that is gone does not read this either.
    drop(writeln!(anstream::stdout(), "\n  SpacetimeDB  {url}\n  check it     {check}"));
}

/// What checks the host again, with all that was said on this command line and changes the answer.
fn check_command(host: &SiteHost, config: Option<&Path>, args: &DeployArgs) -> String {
    let mut words = vec!["stdbctl".to_owned(), "verify".to_owned()];
    let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(config) = config.filter(|config| config.as_os_str() != DEFAULT_FILE) {
        flag("--config", config.display().to_string());
    }
    let SiteArgs { env, limit, hosts, settings, .. } = &args.site;
    for (name, value) in [("--env", env), ("--limit", limit)] {
        if let Some(value) = value {
            flag(name, value.clone());
        }
    }
    let is_domain_given = args.short.domain.is_some() || settings.iter().any(|set| set.key == "domain");
    match &host.settings.domain {
        Some(domain) if config.is_none() || is_domain_given => flag("--domain", domain.clone()),
        None if config.is_none() => flag("--host", host.name.clone()),
        _ => hosts.iter().for_each(|host| flag("--host", host.clone())),
    }
    let is_checked =
        |key: &str| key.starts_with("public.") || ["tls.mode", "spacetimedb.listen"].contains(&key);
    for Setting { key, value } in settings.iter().filter(|set| is_checked(&set.key)) {
        flag("--set", format!("{key}={value}"));
    }
    for Resolve { name, address } in &args.trust.resolve {
        flag("--resolve", format!("{name}={address}"));
    }
    if let Some(ca) = &args.trust.ca {
        flag("--ca", ca.display().to_string());
    }
    let words: Vec<_> = words.iter().map(|word| for_shell(word)).collect();
    words.join(" ")
}

/// A word as a shell takes it.
pub(super) fn for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { quote::quote(word).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};

    fn check_after(flags: &[&str]) -> String {
        let cli = Cli::try_parse_from([&["stdbctl", "deploy"], flags].concat()).unwrap();
        let Verb::Deploy(args) = cli.verb else { panic!("not a deploy: {cli:?}") };
        let site = Site::load(&args.site, Some(&args.short)).unwrap();
        let command = check_command(&site.hosts[0], site.config.as_deref(), &args);
        // It must be one that is understood.
        Cli::try_parse_from(command.split(' ')).unwrap();
        command
    }

    #[test]
    fn the_check_is_of_what_was_deployed() {
        assert_eq!(check_after(&["--host", "ubuntu@a"]), "stdbctl verify --host ubuntu@a");
        let flags =
            ["--host", "a", "--domain", "a.example", "--set", "tls.mode=off", "--set", "public.sql=true"];
        assert_eq!(
            check_after(&[&flags[..], &["--set", "spacetimedb.root_dir=/srv/stdb", "--ca", "it's"]].concat()),
            r"stdbctl verify --domain a.example --set tls.mode=off --set public.sql=true --ca 'it'\''s'"
        );
    }

    #[test]
    fn the_check_is_of_the_environment_that_was_deployed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("site.yaml");
        let text = "hosts: [a]\nenvironments: { staging: { hosts: [{ host: b, settings: { domain: b.example } }] } }\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(
            check_after(&["-c", file, "-e", "staging", "--limit", "b"]),
            format!("stdbctl verify --config {file} --env staging --limit b")
        );
        assert_eq!(check_after(&["-c", file]), format!("stdbctl verify --config {file}"));
    }
}
