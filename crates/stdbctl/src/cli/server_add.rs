//! The arguments of `stdbctl server-add`.

use clap::Args;

use super::SiteArgs;

#[derive(Debug, Args)]
pub(crate) struct ServerAddArgs {
    /// What the CLI is to call the server [default: its domain]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Make it the server that the CLI uses when none is named
    #[arg(long)]
    pub(crate) default: bool,
    /// Do not ask the server for its public key
    ///
    /// The CLI asks for it over HTTPS, to notice later if another server answers under the name. It knows
    /// neither --resolve nor --ca.
    #[arg(long)]
    pub(crate) no_fingerprint: bool,
    /// The name the site is served under
    #[arg(long, value_name = "NAME", help_heading = "Settings")]
    pub(crate) domain: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
}
