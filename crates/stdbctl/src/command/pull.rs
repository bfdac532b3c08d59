//! `stdbctl pull`: a file or directory from hosts.

use super::transfer::{Order, Way, run as transfer};
use crate::cli::PullArgs;
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;

pub(super) async fn run(args: PullArgs, console: &Console) -> Result<ExitCode, CliError> {
    let PullArgs { sudo, remote, local, site, ssh } = args;
    transfer(Order { way: Way::Pull, sudo, local, remote }, &site, &ssh, console).await
}
