//! `stdbctl completions`: a script for the operator's shell.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};
use crate::console::written;
use crate::error::CliError;
use crate::exit_code::ExitCode;

pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stdbctl", &mut script);
    written(std::io::stdout().write_all(&script))?;
    Ok(ExitCode::Done)
}
