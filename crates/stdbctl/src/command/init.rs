//! `stdbctl init`: something to begin with.

use std::io::Write as _;

use crate::cli::{InitArgs, Starter};
use crate::console::written;
use crate::error::CliError;
use crate::exit_code::ExitCode;

/// A reducer for a module in Rust, the same with the bindings of SpacetimeDB 1.x and 2.x.
///
/// It must not write: a table of its own would be a migration. A reducer gives nothing back but its failure, which
/// undoes what it did.
const MODULE_CHECK: &str = "\
/// `stdbctl publish --check-reducer health_check` calls it once the module is live;
/// if it fails, the module from before is published back.
#[spacetimedb::reducer]
pub fn health_check(ctx: &spacetimedb::ReducerContext) -> Result<(), String> {
    // What must hold goes here: `return Err(\"no regions\".into())` if it does not.
    spacetimedb::log::info!(\"health check at {:?}\", ctx.timestamp);
    Ok(())
}
";

pub(super) fn run(args: &InitArgs) -> Result<ExitCode, CliError> {
    let text = match args.what {
        Starter::ModuleCheck => MODULE_CHECK,
    };
    written(anstream::stdout().write_all(text.as_bytes()))?;
    Ok(ExitCode::Done)
}
