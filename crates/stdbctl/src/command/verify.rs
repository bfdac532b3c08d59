//! `stdbctl verify`.
use std::time::Duration;

use crate::cli::{TrustArgs, VerifyArgs};
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::site::SiteHost;

pub(super) async fn run(args: VerifyArgs, console: &Console) -> Result<ExitCode, CliError> {
    drop((args, console));
    Ok(ExitCode::Done)
}
pub(super) async fn after_deploy(hosts: &[&SiteHost], trust: &TrustArgs, timeout: Duration, console: &Console) -> Result<(), CliError> {
    let _ = (hosts, trust, timeout, console);
    Ok(())
}
pub(super) fn url(host: &SiteHost) -> String {
    host.name.clone()
}
