//! From the parsed command line to the verb.

use std::io::Write as _;

use tokio::runtime::{Builder, Runtime};

use super::{
    completions, db, deploy, doctor, exec, identity, init, man, plan, publish, pull, push, server_add,
    settings, transfer, tunnel, verify,
};
use crate::cli::Verb;
use crate::console::Console;
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;
use crate::run::interrupted;
use crate::typed_line;

/// Runs a verb. Only those that talk to hosts get a runtime.
///
/// # Errors
/// The verb's own.
pub(crate) fn run(verb: Verb, console: &Console) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Deploy(args) => block_on(deploy::run(args, console)),
        Verb::Plan(args) => block_on(plan::run(args, console)),
        Verb::Publish(args) => block_on(publish::run(args, console)),
        Verb::Verify(args) => block_on(verify::run(args, console)),
        Verb::Db(args) => block_on(db::run(args, console)),
        Verb::Exec(args) => block_on(exec::run(args, console)).map_err(exec::cut_off),
        Verb::Push(args) => block_on(push::run(args, console)).map_err(transfer::cut_off),
        Verb::Pull(args) => block_on(pull::run(args, console)).map_err(transfer::cut_off),
        Verb::Identity(args) => block_on(identity::run(args, console)),
        Verb::Doctor(args) => block_on(doctor::run(args, console)),
        Verb::Tunnel(args) => block_on(tunnel::run(args, console)),
        Verb::ServerAdd(args) => server_add::run(args, console),
        Verb::Init(args) => init::run(&args),
        Verb::Settings(args) => settings::run(&args, console),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man => man::run(),
    }
}

fn block_on(verb: impl Future<Output = Result<ExitCode, CliError>>) -> Result<ExitCode, CliError> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        tokio::select! {
            // The verb first: it may have a terminal to tidy up.
            biased;
            result = verb => result,
            _ = tokio::signal::ctrl_c() => Err(interrupted()),
        }
    });
    // A question that nobody answers any more must not keep us, nor leave the terminal without echo.
    runtime.shutdown_background();
    if typed_line::restore() {
        drop(writeln!(anstream::stderr()));
    }
    result
}

/// One thread: the work is waiting for the network.
fn runtime() -> Result<Runtime, CliError> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|error| CliError::new(ExitCode::Failed, Context::new("cannot start", error)))
}
