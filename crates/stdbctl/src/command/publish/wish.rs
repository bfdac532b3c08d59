//! What is to be published, as far as this machine can tell: all that is refused here costs no connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stdbctl_playbook::module::Module;
use stdbctl_playbook::publish::{Checks, SqlCheck, What, Wish};

use crate::cli::{CheckArgs, ConsentArgs, PublishArgs, RollbackArgs};
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::source;

/// Reads the module, or builds it first.
///
/// # Errors
/// If there is no module, or what is there is none.
pub(super) async fn read(args: &PublishArgs, console: &Console) -> Result<Wish, CliError> {
    let RollbackArgs { rollback, to, restore_data } = &args.rollback;
    let ConsentArgs { break_clients, delete_data, no_snapshot } = &args.consent;
    let what = if *rollback {
        What::Rollback { to: to.as_ref().map(|to| to.as_str().to_owned()) }
    } else {
        What::Module(Arc::new(module(args.module.as_deref(), console).await?))
    };
    Ok(Wish {
        name: args.name.as_str().to_owned(),
        what,
        break_clients: *break_clients,
        delete_data: *delete_data,
        restore_data: *restore_data,
        snapshot: !no_snapshot,
        approved: args.yes,
        checks: checks(&args.check),
    })
}

async fn module(path: Option<&Path>, console: &Console) -> Result<Module, CliError> {
    let path = if let Some(path) = path {
        path.to_owned()
    } else {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        source::build(&folder, console).await?
    };
    // What the module has to say of itself may take it a while.
    let read = tokio::task::spawn_blocking(move || Module::read(&path)).await;
    read.map_err(|error| CliError::new(ExitCode::Failed, error))?.map_err(|error| {
        let hints = error.hints();
        hints.into_iter().fold(CliError::usage(error), CliError::hint)
    })
}

fn checks(args: &CheckArgs) -> Checks {
    let CheckArgs { check_reducer, check_sql, expect } = args;
    let sql = check_sql.as_ref().map(|query| SqlCheck { query: query.clone(), expect: expect.clone() });
    Checks { reducer: check_reducer.clone(), sql }
}
