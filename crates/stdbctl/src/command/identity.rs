//! `stdbctl identity`: who owns a host's databases, and whether that can still be proven.

mod shown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use stdbctl_engine::dialogue::Changing;
use stdbctl_engine::event::RunStats;
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::Host;
use stdbctl_playbook::identity::{Found, Refused, Repair, Report, look, repair};

use crate::cli::IdentityArgs;
use crate::console::{Console, written};
use crate::error::{CliError, in_one_line};
use crate::exit_code::ExitCode;
use crate::host::Place;
use crate::prompt;
use crate::site::{self, Site, SiteHost, places};

/// One host that was looked at.
struct Seen<'a> {
    site: &'a SiteHost,
    host: Arc<dyn Host>,
    found: Found,
    /// What is to be repaired.
    repairs: Vec<Repair>,
    /// What of it could not be done.
    refused: Vec<Refused>,
}

/// A host, or why nothing is known of it.
type Part<'a> = Result<Seen<'a>, (&'a str, Failure)>;

pub(super) async fn run(args: IdentityArgs, console: &Console) -> Result<ExitCode, CliError> {
    let changes = args.repair || args.adopt;
    if changes && !args.yes && !console.can_ask() {
        return Err(CliError::usage("there is nobody to ask whether to change the hosts")
            .hint("--yes changes them without asking; without --repair and --adopt nothing is changed"));
    }
    let site = Site::load(&args.site, None)?;
    let places = places(&site, &args.ssh, &[], console).await?;
    let started = Instant::now();
    let looks = site.hosts.iter().zip(places).map(|(host, (_, place))| see(host, place, &args));
    let mut parts = join_all(looks).await;

    let to_do = parts.iter().flatten().any(|seen| !seen.repairs.is_empty());
    if to_do {
        if !args.yes && !confirmed(&parts, console).await? {
            return Err(CliError::new(ExitCode::Interrupted, "not confirmed: nothing was changed"));
        }
        parts = join_all(parts.into_iter().map(mend)).await;
    }
    let reports: Vec<_> = parts.iter().flatten().map(|seen| report(seen)).collect();
    let failed = parts.iter().filter_map(|part| part.as_ref().err());
    let failed = failed.map(|(host, failure)| ((*host).to_owned(), in_one_line(failure))).collect();
    written(shown::write(&mut anstream::stdout(), &reports, &failed, &done(&parts), console.format))?;
    console.show_cost(&cost(&parts, started));
    error(&parts, &reports).map_or(Ok(ExitCode::Done), Err)
}

async fn see<'a>(site: &'a SiteHost, place: Place, args: &IdentityArgs) -> Part<'a> {
    let failed = |failure| (site.name.as_str(), failure);
    let host = place.connect(site.name.clone()).await.map_err(|error| failed(Failure::Connect(error)))?;
    let found = look(&*host, &site.settings).await.map_err(failed)?;
    let repairs = found.repairs(args.repair, args.adopt);
    Ok(Seen { site, host, found, repairs, refused: Vec::new() })
}

/// Repairs a host and looks again: only that tells whether it helped.
async fn mend(part: Part<'_>) -> Part<'_> {
    let seen = part?;
    if seen.repairs.is_empty() {
        return Ok(seen);
    }
    let Seen { site, host, .. } = &seen;
    let failed = |failure| (site.name.as_str(), failure);
    let operator = site::options("identity", true, &[]).operator;
    let who = Changing { operator: &operator, verb: "identity" };
    let refused = repair(&**host, &site.settings, who, &seen.repairs).await.map_err(failed)?;
    let found = look(&**host, &site.settings).await.map_err(failed)?;
    Ok(Seen { found, refused, ..seen })
}

async fn confirmed(parts: &[Part<'_>], console: &Console) -> Result<bool, CliError> {
    let changing: Vec<_> = parts.iter().flatten().filter(|seen| !seen.repairs.is_empty()).collect();
    let reports: Vec<_> = changing.iter().map(|seen| report(seen)).collect();
    let mut text = Vec::new();
    let plans = changing.iter().map(|seen| (seen.site.name.as_str(), seen.repairs.as_slice()));
    written(shown::write_plan(&mut text, &reports, plans))?;
    let question = match changing.as_slice() {
        [one] => format!("Do this on {}?", one.site.name),
        several => format!("Do this on {} hosts?", several.len()),
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let answer = prompt::confirm(console.screen.clone(), text, question).await;
    Ok(answer.unwrap_or(false))
}

fn report(seen: &Seen<'_>) -> Report {
    seen.found.report(&seen.site.name)
}

/// The repairs that were done, each with its host.
fn done<'a>(parts: &'a [Part<'_>]) -> Vec<(&'a str, &'a Repair)> {
    let of = |seen: &'a Seen<'_>| {
        let is_done = |repair: &&Repair| !seen.refused.iter().any(|refused| refused.repair == **repair);
        seen.repairs.iter().filter(is_done).map(|repair| (seen.site.name.as_str(), repair))
    };
    parts.iter().flatten().flat_map(of).collect()
}

fn cost(parts: &[Part<'_>], started: Instant) -> RunStats {
    let mut stats = RunStats { seconds: started.elapsed().as_secs_f64(), ..RunStats::default() };
    parts.iter().flatten().for_each(|seen| stats.add(seen.host.stats()));
    stats
}

/// What is wrong, and what to do about it. The first host that is not well decides the exit code.
fn error(parts: &[Part<'_>], reports: &[Report]) -> Option<CliError> {
    let mut told = Vec::new();
    let mut hints = Vec::new();
    let mut kind = None;
    let mut reports = reports.iter();
    for part in parts {
        match part {
            Err((host, failure)) => {
                kind.get_or_insert(ExitCode::of(failure));
                told.push(format!("{host}: {}", in_one_line(failure)));
                hints.extend(failure.hints());
            }
            Ok(seen) => {
                let wrong: Vec<_> = reports.next()?.checks.iter().filter(|check| !check.ok).collect();
                let told_by_host =
                    |Refused { repair, why }: &Refused| format!("cannot {}: {why}", repair.title());
                let why =
                    seen.refused.first().map(told_by_host).or_else(|| Some(wrong.first()?.detail.clone()));
                if let Some(why) = why {
                    kind.get_or_insert(ExitCode::Failed);
                    told.push(format!("{}: {why}", seen.site.name));
                }
                hints.extend(wrong.iter().filter_map(|check| check.next.clone()));
            }
        }
    }
    let error = CliError::new(kind?, told.join("; "));
    let mut said = BTreeSet::new();
    hints.retain(|hint| said.insert(hint.clone()));
    Some(hints.into_iter().fold(error, CliError::hint))
}
