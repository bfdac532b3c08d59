//! The arguments of `stdbctl push`.

use std::path::PathBuf;

use clap::Args;

use super::{SiteArgs, SshArgs};

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Write as root, through sudo
    #[arg(long)]
    pub(crate) sudo: bool,
    /// The file or directory here
    #[arg(value_name = "LOCAL")]
    pub(crate) local: PathBuf,
    /// Its place on the hosts; a relative one begins in the login user's home
    #[arg(value_name = "REMOTE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) remote: String,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}
