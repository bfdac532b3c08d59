//! The arguments of `stdbctl tunnel`.

use clap::Args;

use super::{SiteArgs, SshArgs};

#[derive(Debug, Args)]
pub(crate) struct TunnelArgs {
    /// The local port [default: that of spacetimedb.listen, or a free one]
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}
