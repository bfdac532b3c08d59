//! `stdbctl doctor`: what is in the way, and what to do about it.

mod legs;
mod session;
mod ssh;
mod steps;
mod view;
mod wording;

use crate::cli::{DoctorArgs, DoctorVerb};
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;

pub(super) async fn run(args: DoctorArgs, console: &Console) -> Result<ExitCode, CliError> {
    match args.verb {
        DoctorVerb::Ssh(args) => ssh::run(args, console).await,
    }
}
