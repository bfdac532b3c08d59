//! `stdbctl verify`: asks the site from here, as a client would.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;
use stdbctl_playbook::local_path;
use stdbctl_playbook::verify::{Check, VerifyOptions, verify};

use crate::cli::{Format, SiteArgs, TrustArgs, VerifyArgs};
use crate::console::{Console, written};
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;
use crate::pair::Setting;
use crate::report::style::{BAD, GOOD, LOUD, QUIET, count};
use crate::report::{bars, clean, github, json};
use crate::site::{Site, SiteHost};

/// How long a site that was just deployed may take to be as it should: nginx lets old workers finish.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a certificate in a PEM file begins with.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// What was found out about one site.
#[derive(Debug, Serialize)]
struct SiteReport {
    url: String,
    ok: bool,
    checks: Vec<Check>,
}

/// `verify --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    ok: bool,
    sites: &'a [SiteReport],
}

pub(super) async fn run(args: VerifyArgs, console: &Console) -> Result<ExitCode, CliError> {
    let site = Site::load(&as_asked(args.site, args.domain), None)?;
    let hosts: Vec<_> = site.hosts.iter().collect();
    let timeout = Duration::from_secs(args.timeout);
    let reports = check(&hosts, &args.trust, timeout, Duration::ZERO).await?;
    written(write(&mut anstream::stdout(), &reports, console.format))?;
    error(&reports).map_or(Ok(ExitCode::Done), Err)
}

/// A domain alone is enough to ask: it is its own host.
pub(super) fn as_asked(mut site: SiteArgs, domain: Option<String>) -> SiteArgs {
    let Some(domain) = domain else { return site };
    if site.hosts.is_empty() && site.config.is_none() && site.env.is_none() && site.limit.is_none() {
        site.hosts.push(domain.clone());
    }
    site.settings.push(Setting { key: "domain".to_owned(), value: domain });
    site
}

/// Checks what was just changed. Silent where all is well and nobody asked.
///
/// # Errors
/// If a site does not serve as it should.
pub(super) async fn after_deploy(
    hosts: &[&SiteHost],
    trust: &TrustArgs,
    timeout: Duration,
    console: &Console,
) -> Result<(), CliError> {
    let waiting = (console.is_live() && !hosts.is_empty())
        .then(|| bars::spinner(&console.screen, "checking from outside"));
    let reports = check(hosts, trust, timeout, PATIENCE).await;
    // It clears itself away.
    drop(waiting);
    let reports = reports?;
    let result = match console.format {
        // The events are over: what failed is in the last line and the exit code.
        Format::Json => Ok(()),
        Format::Human if console.quiet => Ok(()),
        Format::Human if console.verbose == 0 => sum_up(&mut anstream::stdout(), &reports),
        format => write(&mut anstream::stdout(), &reports, format),
    };
    written(result)?;
    error(&reports).map_or(Ok(()), Err)
}

/// Whether a deployed site could be checked: nobody wants to learn that only after the change.
///
/// # Errors
/// If the CA cannot be read.
pub(super) fn is_possible(trust: &TrustArgs) -> Result<(), CliError> {
    let Some(path) = &trust.ca else { return Ok(()) };
    let pem = std::fs::read(path).map_err(|error| {
        let hint = local_path::hint(path, &error);
        CliError::usage(Context::new(format!("the CA file {} cannot be read", path.display()), error))
            .hint(hint)
    })?;
    if pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
        return Ok(());
    }
    Err(CliError::usage(format!("the CA file {} holds no certificate", path.display())))
}

/// Where the site is served.
pub(super) fn url(host: &SiteHost) -> String {
    let scheme = if host.settings.https() { "https" } else { "http" };
    format!("{scheme}://{}", host.settings.domain.as_deref().unwrap_or(&address(host)))
}

/// The address of a host without a domain, as URLs and HTTP spell it.
fn address(host: &SiteHost) -> String {
    match &host.target {
        None => "127.0.0.1".to_owned(),
        Some(target) if target.host.contains(':') => format!("[{}]", target.host),
        Some(target) => target.host.clone(),
    }
}

async fn check(
    hosts: &[&SiteHost],
    trust: &TrustArgs,
    timeout: Duration,
    patience: Duration,
) -> Result<Vec<SiteReport>, CliError> {
    let site = async |host: &SiteHost| {
        let options = options(host, trust, timeout, patience);
        let report = verify(&options).await.map_err(CliError::usage)?;
        Ok(SiteReport { url: url(host), ok: report.ok(), checks: report.checks })
    };
    try_join_all(hosts.iter().map(|host| site(host))).await
}

fn options(host: &SiteHost, trust: &TrustArgs, timeout: Duration, patience: Duration) -> VerifyOptions {
    let resolve = trust.resolve.iter().map(|pair| (pair.name.clone(), pair.address));
    VerifyOptions {
        resolve: resolve.collect(),
        ca: trust.ca.iter().cloned().collect::<Vec<PathBuf>>(),
        timeout,
        patience,
        ..VerifyOptions::of(&host.settings, &address(host))
    }
}

fn write(out: &mut dyn Write, reports: &[SiteReport], format: Format) -> io::Result<()> {
    match format {
        Format::Human => reports.iter().try_for_each(|report| write_report(out, report)),
        Format::Json => {
            json::document(out, &Document { ok: reports.iter().all(|report| report.ok), sites: reports })
        }
        Format::Github => reports.iter().try_for_each(|report| {
            write_report(&mut github::Inert::new(&mut *out), report)?;
            failed(report).try_for_each(|check| {
                github::error(out, &report.url, &format!("{}: {}", check.name, check.detail))
            })
        }),
    }
}

/// One line for a site that is as it should be, all for any other.
fn sum_up(out: &mut dyn Write, reports: &[SiteReport]) -> io::Result<()> {
    reports.iter().try_for_each(|report| {
        if !report.ok {
            return write_report(out, report);
        }
        let checks = count(report.checks.len(), "check");
        writeln!(out, "{LOUD}{}{LOUD:#} {GOOD}serves as it should{GOOD:#} ({checks})", report.url)
    })
}

fn write_report(out: &mut dyn Write, report: &SiteReport) -> io::Result<()> {
    let verdict = if report.ok { "serves as it should" } else { "does not serve as it should" };
    writeln!(out, "{LOUD}{}{LOUD:#} {verdict}", report.url)?;
    let width = report.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0).min(44);
    let mut above = "";
    for check in &report.checks {
        let (style, word) = if check.ok { (GOOD, "ok    ") } else { (BAD, "failed") };
        // One cause often fails them all.
        let repeated = !check.ok && check.detail == above;
        above = &check.detail;
        let detail = if repeated { "as above".to_owned() } else { clean::line(&check.detail) };
        let name = clean::line(&check.name);
        writeln!(out, "  {style}{word}{style:#}  {name:<width$}  {QUIET}{detail}{QUIET:#}")?;
    }
    Ok(())
}

fn failed(report: &SiteReport) -> impl Iterator<Item = &Check> {
    report.checks.iter().filter(|check| !check.ok)
}

fn error(reports: &[SiteReport]) -> Option<CliError> {
    let told = reports.iter().filter(|report| !report.ok).map(|report| {
        let told = |check: &Check| format!("expected that {}; found: {}", check.name, check.detail);
        let checks: Vec<_> = failed(report).map(told).collect();
        let first = checks.first().cloned().unwrap_or_default();
        match checks.len() {
            0 | 1 => format!("{}: {first}", report.url),
            all => format!("{}: {} failed, the first: {first}", report.url, count(all, "check")),
        }
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return None;
    }
    let error = CliError::new(ExitCode::Verify, format!("verification failed: {}", told.join("; ")));
    Some(error.hint("`stdbctl deploy` mends the host, but not DNS or a provider's firewall"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::error::render;

    fn report(oks: &[bool]) -> SiteReport {
        let check = |(index, &ok): (usize, &bool)| Check {
            name: format!("check {index}"),
            ok,
            detail: if ok { "200".to_owned() } else { "it answers 502\x1b[2J\nBad Gateway".to_owned() },
        };
        let checks: Vec<_> = oks.iter().enumerate().map(check).collect();
        SiteReport { url: "https://example.com".to_owned(), ok: oks.iter().all(|&ok| ok), checks }
    }

    fn shown(reports: &[SiteReport], format: Format) -> String {
        let mut out = Vec::new();
        write(&mut out, reports, format).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn each_check_is_shown_with_what_was_found() {
        insta::assert_snapshot!(shown(&[report(&[true, false, false])], Format::Human), @r"
        https://example.com does not serve as it should
          ok      check 0  200
          failed  check 1  it answers 502 Bad Gateway
          failed  check 2  as above
        ");
        insta::assert_snapshot!(shown(&[report(&[false])], Format::Github), @r"
        https://example.com does not serve as it should
          failed  check 0  it answers 502 Bad Gateway
        ::error title=https%3A//example.com::check 0: it answers 502%0ABad Gateway
        ");
    }

    #[test]
    fn the_document_says_it_in_one_word() {
        let document: serde_json::Value =
            serde_json::from_str(&shown(&[report(&[true]), report(&[false])], Format::Json)).unwrap();
        assert_eq!((&document["ok"], &document["sites"][0]["ok"]), (&false.into(), &true.into()));
    }

    #[test]
    fn the_first_check_that_failed_is_the_cause() {
        assert!(error(&[report(&[true, true])]).is_none());
        let error = error(&[report(&[true, false, false])]).unwrap();
        assert_eq!(error.kind, ExitCode::Verify);
        let text = anstream::adapter::strip_str(&render(&error, None)).to_string();
        assert!(
            text.contains(
                "error: verification failed: https://example.com: 2 checks failed, the first: expected that check 1; found: it"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_ca_that_is_none_is_found_out_before_anything_is_done() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trust = TrustArgs { resolve: Vec::new(), ca: Some(file.path().to_owned()) };
        assert_eq!(is_possible(&trust).unwrap_err().kind, ExitCode::Usage);
        std::fs::write(file.path(), "text\n-----BEGIN CERTIFICATE-----\n").unwrap();
        assert!(is_possible(&trust).is_ok());
        let gone = TrustArgs { ca: Some("no-such-file.pem".into()), ..trust };
        let text = anstream::adapter::strip_str(&render(&is_possible(&gone).unwrap_err(), None)).to_string();
        let error = text.lines().last().unwrap();
        assert!(error.starts_with("error: the CA file no-such-file.pem cannot be read: "), "{text}");
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let host = |place: &str| {
            let cli = crate::cli::Cli::try_parse_from(["stdbctl", "verify", "--host", place]).unwrap();
            let crate::cli::Verb::Verify(args) = cli.verb else { panic!("not a verify: {cli:?}") };
            url(&Site::load(&args.site, None).unwrap().hosts[0])
        };
        assert_eq!(host("ubuntu@[2001:db8::1]:2222"), "http://[2001:db8::1]");
        assert_eq!(host("192.0.2.1:22"), "http://192.0.2.1");
    }
}
