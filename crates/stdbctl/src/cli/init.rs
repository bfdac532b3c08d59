//! The arguments of `stdbctl init`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(subcommand)]
    pub(crate) what: Starter,
}

/// What to begin with.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Starter {
    /// Print a health-check reducer in Rust, for `stdbctl publish --check-reducer`
    ModuleCheck,
}
