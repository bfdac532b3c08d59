//! `stdbctl db`: the databases of a host.

mod call;
mod delete;
mod describe;
mod hosts;
mod list;
mod logs;
mod names;
mod prune;
mod sql;
mod target;

use crate::cli::{DbArgs, DbVerb};
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;

pub(super) async fn run(args: DbArgs, console: &Console) -> Result<ExitCode, CliError> {
    match args.verb {
        DbVerb::List(args) => list::run(args, console).await,
        DbVerb::Describe(args) => describe::run(args.one, console).await,
        DbVerb::Sql(args) => sql::run(args, console).await,
        DbVerb::Call(args) => call::run(args, console).await,
        DbVerb::Logs(args) => logs::run(args, console).await,
        DbVerb::Rename(args) => names::rename(args, console).await,
        DbVerb::Lock(args) => names::lock(args.one, true, console).await,
        DbVerb::Unlock(args) => names::lock(args.one, false, console).await,
        DbVerb::Delete(args) => delete::run(args, console).await,
        DbVerb::Prune(args) => prune::run(args, console).await,
    }
}
