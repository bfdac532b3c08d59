//! `stdbctl db rename`, `lock` and `unlock`.

use serde::Serialize;

use super::target::Target;
use crate::cli::{DbRenameArgs, OneArgs};
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::report::style::{GOOD, LOUD};

pub(super) async fn rename(args: DbRenameArgs, console: &Console) -> Result<ExitCode, CliError> {
    #[derive(Serialize)]
    struct Document<'a> {
        database: &'a str,
        renamed: &'a str,
    }
    let target = Target::connect(&args.one, console).await?;
    let new = args.new.as_str();
    let renamed = target.database().rename(target.changing("db rename"), new).await;
    renamed.map_err(|error| target.failed(error))?;
    target.show(console, &Document { database: &target.name, renamed: new }, |out| {
        if console.quiet {
            return Ok(());
        }
        writeln!(out, "{LOUD}{}{LOUD:#} is called {GOOD}{new}{GOOD:#} now", target.name)
    })
}

pub(super) async fn lock(args: OneArgs, locked: bool, console: &Console) -> Result<ExitCode, CliError> {
    #[derive(Serialize)]
    struct Document<'a> {
        database: &'a str,
        locked: bool,
    }
    let target = Target::connect(&args, console).await?;
    let verb = if locked { "db lock" } else { "db unlock" };
    let changed = target.database().lock(target.changing(verb), locked).await;
    changed.map_err(|error| target.failed(error))?;
    target.show(console, &Document { database: &target.name, locked }, |out| {
        if console.quiet {
            return Ok(());
        }
        let state = if locked { "is locked: it cannot be deleted" } else { "is no longer locked" };
        writeln!(out, "{LOUD}{}{LOUD:#} {GOOD}{state}{GOOD:#}", target.name)
    })
}
