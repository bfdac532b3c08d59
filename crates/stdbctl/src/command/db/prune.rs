//! `stdbctl db prune`: frees what deleted databases still take.

use std::io::{self, Write};

use serde::Serialize;
use stdbctl_engine::dialogue::Changing;
use stdbctl_playbook::database::DatabaseError;
use stdbctl_playbook::database::survey::{Freed, free};

use super::hosts::{Hosts, Surveyed};
use super::list::orphan_table;
use super::target::{kind, operator, show};
use crate::cli::DbPruneArgs;
use crate::console::Console;
use crate::error::{CliError, Context, FailedHost, in_one_line, of_hosts};
use crate::exit_code::ExitCode;
use crate::prompt;
use crate::report::clean;
use crate::report::style::{BAD, GOOD, LOUD, size};

/// `db prune --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    hosts: Vec<HostDocument<'a>>,
    failed: Vec<FailedHost<'a>>,
}

#[derive(Debug, Serialize)]
struct HostDocument<'a> {
    host: &'a str,
    bytes: u64,
    replicas: &'a [Freed],
}

/// What became of a host's orphans.
struct Pruned<'h> {
    host: &'h str,
    freed: Result<Vec<Freed>, DatabaseError>,
}

pub(super) async fn run(args: DbPruneArgs, console: &Console) -> Result<ExitCode, CliError> {
    if !args.yes && !console.can_ask() {
        return Err(CliError::usage("there is nobody to ask whether to remove anything")
            .hint("--yes removes it without asking; `stdbctl db list` shows what there is"));
    }
    let hosts = Hosts::survey(&args.site, &args.ssh, console).await?;
    let mut pruned = Vec::new();
    for host in &hosts.surveyed {
        if !host.survey.orphans.is_empty() && !args.yes && !is_confirmed(host, console).await? {
            return Err(CliError::new(ExitCode::Interrupted, "not confirmed: nothing was removed"));
        }
    }
    let operator = operator();
    for host in &hosts.surveyed {
        let who = Changing { operator: &operator, verb: "db prune" };
        let orphans = &host.survey.orphans;
        let freed = match orphans.as_slice() {
            [] => Ok(Vec::new()),
            some => free(&*host.host, &host.settings, who, some).await,
        };
        pruned.push(Pruned { host: &host.name, freed });
    }
    let failures =
        || hosts.failures().into_iter().chain(pruned.iter().filter_map(Pruned::failure)).collect::<Vec<_>>();
    let document =
        Document { hosts: pruned.iter().filter_map(Pruned::document).collect(), failed: failures() };
    show(console, &document, |out| {
        let quiet = console.quiet;
        pruned.iter().try_for_each(|pruned| pruned.write(out, quiet))
    })?;
    hosts.show_cost(console);
    of_hosts(hosts.count(), failures()).map_or(Ok(ExitCode::Done), Err)
}

async fn is_confirmed(host: &Surveyed, console: &Console) -> Result<bool, CliError> {
    let text = warning(host).map_err(|error| CliError::new(ExitCode::Failed, error))?;
    let question = format!("Type {} to remove them", host.name);
    let answer = prompt::type_name(console.screen.clone(), text, question, host.name.clone()).await;
    answer.map_err(|error| CliError::new(ExitCode::Failed, Context::new("cannot ask", error)))
}

fn warning(host: &Surveyed) -> io::Result<String> {
    let mut text = Vec::new();
    let size = size(host.survey.orphaned_bytes());
    writeln!(text, "{LOUD}{}{LOUD:#}: {size} of deleted databases {BAD}will be removed{BAD:#}", host.name)?;
    orphan_table(&host.survey.orphans).write(&mut text, "  ", None)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Pruned<'_> {
    fn failure(&self) -> Option<FailedHost<'_>> {
        let failed = |kind, cause, hints| Some(FailedHost { host: self.host, kind, cause, hints });
        match &self.freed {
            Err(error) => failed(kind(error), in_one_line(error), error.hints()),
            Ok(freed) => {
                let kept: Vec<_> = freed.iter().filter_map(kept).collect();
                if kept.is_empty() {
                    return None;
                }
                let hint = "`stdbctl db list` shows what is there now".to_owned();
                failed(ExitCode::Failed, format!("still there: {}", kept.join("; ")), vec![hint])
            }
        }
    }

    fn document(&self) -> Option<HostDocument<'_>> {
        let replicas = self.freed.as_ref().ok()?;
        Some(HostDocument { host: self.host, bytes: bytes(replicas), replicas })
    }

    fn write(&self, out: &mut dyn Write, quiet: bool) -> io::Result<()> {
        let Ok(freed) = &self.freed else { return Ok(()) };
        let gone = freed.iter().filter(|freed| matches!(freed, Freed::Gone { .. })).count();
        let host = self.host;
        match gone {
            _ if quiet => Ok(()),
            0 => writeln!(out, "{LOUD}{host}{LOUD:#}: nothing was removed"),
            gone => {
                let directories = if gone == 1 { "directory" } else { "directories" };
                let size = size(bytes(freed));
                writeln!(out, "{LOUD}{host}{LOUD:#}: {GOOD}{size} freed{GOOD:#}, {gone} {directories}")
            }
        }
    }
}

fn bytes(freed: &[Freed]) -> u64 {
    let bytes = |freed: &Freed| match freed {
        Freed::Gone { bytes, .. } => *bytes,
        Freed::Kept { .. } => 0,
    };
    freed.iter().map(bytes).sum()
}

fn kept(freed: &Freed) -> Option<String> {
    match freed {
        Freed::Gone { .. } => None,
        Freed::Kept { replica, why } => Some(format!("{replica}, because {}", clean::line(why))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pruned: &Pruned<'_>) -> String {
        let mut out = Vec::new();
        pruned.write(&mut out, false).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn what_was_freed_is_said_and_what_was_kept_is_a_failure() {
        let gone = |replica| Freed::Gone { replica, bytes: 733_184 };
        let kept = Freed::Kept { replica: 7, why: "the server has it open".to_owned() };
        let all = Pruned { host: "a", freed: Ok(vec![gone(3), gone(5)]) };
        assert_eq!(shown(&all), "a: 1.4 MB freed, 2 directories\n");
        assert!(all.failure().is_none());
        let some = Pruned { host: "a", freed: Ok(vec![gone(3), kept]) };
        assert_eq!(some.failure().unwrap().cause, "still there: 7, because the server has it open");
        assert_eq!(shown(&Pruned { host: "a", freed: Ok(Vec::new()) }), "a: nothing was removed\n");
    }
}
