//! The arguments of `stdbctl doctor`.

use clap::{Args, Subcommand};

use super::{SiteArgs, SshArgs};
use crate::pair::Resolve;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(subcommand)]
    pub(crate) verb: DoctorVerb,
}

/// What to look at.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum DoctorVerb {
    /// Walk the way to hosts step by step, and say at which step it ends and what to do
    ///
    /// The name, TCP, the banner, the key exchange and whether it is post-quantum, the host key and what it is known
    /// by, every key that is offered and the server's answer, a command, and the way to root; for hosts on the way,
    /// too. Changes nothing there. sudo's password is tried, once, only if --sudo-password-file gives it.
    Ssh(DoctorSshArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DoctorSshArgs {
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
    /// Take this address for NAME, whatever DNS says; repeatable
    #[arg(long, value_name = "NAME=ADDRESS", help_heading = "SSH")]
    pub(crate) resolve: Vec<Resolve>,
}
