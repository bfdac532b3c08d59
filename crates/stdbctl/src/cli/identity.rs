//! The arguments of `stdbctl identity`.

use clap::Args;

use super::{SiteArgs, SshArgs};

#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// Make anew what is missing or does not fit
    ///
    /// Signs tokens with the server's key, the owner's and adopted ones, each for the same identity as before.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Take over the tokens of others that own databases on the host
    ///
    /// They are those that the `spacetime` command has left in home directories. They stay where they are.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Change without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}
