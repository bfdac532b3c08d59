//! `stdbctl push`: a file or directory to all hosts.

use super::transfer::{Order, Way, run as transfer};
use crate::cli::PushArgs;
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;

pub(super) async fn run(args: PushArgs, console: &Console) -> Result<ExitCode, CliError> {
    let PushArgs { sudo, local, remote, site, ssh } = args;
    // Said before any host is asked.
    std::fs::metadata(&local).map_err(|error| CliError::unreadable(ExitCode::Usage, &local, error))?;
    transfer(Order { way: Way::Push, sudo, local, remote }, &site, &ssh, console).await
}
