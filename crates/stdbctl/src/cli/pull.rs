//! The arguments of `stdbctl pull`.

use std::path::PathBuf;

use clap::Args;

use super::{SiteArgs, SshArgs};

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Read as root, through sudo
    #[arg(long)]
    pub(crate) sudo: bool,
    /// The file or directory on the hosts; a relative path begins in the login user's home
    #[arg(value_name = "REMOTE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) remote: String,
    /// Its place here
    #[arg(value_name = "LOCAL")]
    pub(crate) local: PathBuf,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}
