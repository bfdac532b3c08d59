//! The arguments of `stdbctl publish`.

use std::path::PathBuf;

use clap::Args;

use super::{SiteArgs, SshArgs};
use crate::name::{DatabaseName, ShaPrefix};

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The module, as WebAssembly [default: built from the source in this folder]
    #[arg(value_name = "MODULE.wasm", conflicts_with = "rollback")]
    pub(crate) module: Option<PathBuf>,
    /// The database
    #[arg(long, value_name = "NAME")]
    pub(crate) name: DatabaseName,
    /// Only show what would change, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// With --plan, exit with 10 instead of 0 if there is something to change
    #[arg(long, requires = "plan")]
    pub(crate) detailed_exitcode: bool,
    /// Publish without asking; never means one of the flags below
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    #[command(flatten)]
    pub(crate) check: CheckArgs,
    #[command(flatten)]
    pub(crate) rollback: RollbackArgs,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}

/// What is never done without being said.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients and data")]
pub(crate) struct ConsentArgs {
    /// Publish even if clients of the present module will no longer work
    #[arg(long)]
    pub(crate) break_clients: bool,
    /// Publish even if the database loses data for it
    #[arg(long)]
    pub(crate) delete_data: bool,
    /// Take no snapshot of the data before a migration
    #[arg(long)]
    pub(crate) no_snapshot: bool,
}

/// What must hold afterwards; if it does not, the old module comes back.
#[derive(Debug, Args)]
#[command(next_help_heading = "Proof")]
pub(crate) struct CheckArgs {
    /// A reducer that must succeed, called without arguments
    #[arg(long, value_name = "NAME")]
    pub(crate) check_reducer: Option<String>,
    /// A query that must succeed
    #[arg(long, value_name = "QUERY")]
    pub(crate) check_sql: Option<String>,
    /// What the query must answer: a single value, or all rows in JSON
    #[arg(long, value_name = "VALUE", requires = "check_sql")]
    pub(crate) expect: Option<String>,
}

/// The way back.
#[derive(Debug, Args)]
#[command(next_help_heading = "The way back")]
pub(crate) struct RollbackArgs {
    /// Publish the module that was live before
    #[arg(long)]
    pub(crate) rollback: bool,
    /// The module to go back to, by its sha256 or the beginning of it [default: the one before]
    #[arg(long, value_name = "SHA", requires = "rollback", conflicts_with = "module")]
    pub(crate) to: Option<ShaPrefix>,
    /// Also put back the data as it was then; what was written since is lost
    #[arg(long, requires = "rollback", conflicts_with_all = ["module", "delete_data"])]
    pub(crate) restore_data: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use crate::cli::{Cli, Verb};

    fn parse(flags: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(format!("stdbctl publish {flags}").split_whitespace())
    }

    #[test]
    fn bad_usage_is_refused_with_2() {
        let table = [
            ("a.wasm", ErrorKind::MissingRequiredArgument),
            ("a.wasm b.wasm --name game", ErrorKind::UnknownArgument),
            ("a.wasm --name My_Game", ErrorKind::ValueValidation),
            ("a.wasm --name game --rollback", ErrorKind::ArgumentConflict),
            ("a.wasm --name game --expect 1", ErrorKind::MissingRequiredArgument),
            ("a.wasm --name game --to dd18", ErrorKind::ArgumentConflict),
            ("--name game --to dd18", ErrorKind::MissingRequiredArgument),
            ("a.wasm --name game --restore-data", ErrorKind::ArgumentConflict),
            ("--name game --restore-data", ErrorKind::MissingRequiredArgument),
            ("a.wasm --name game --detailed-exitcode", ErrorKind::MissingRequiredArgument),
            ("--name game --rollback --to dd1", ErrorKind::ValueValidation),
            ("--name game --rollback --to latest", ErrorKind::ValueValidation),
            ("--name game --rollback --restore-data --delete-data", ErrorKind::ArgumentConflict),
            ("--name game --check-reducer", ErrorKind::InvalidValue),
        ];
        for (flags, kind) in table {
            let error = parse(flags).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{flags}: {error}");
        }
    }

    #[test]
    fn consent_is_a_matter_of_its_own() {
        let Verb::Publish(args) = parse("a.wasm --name game --yes").unwrap().verb else {
            panic!("no publish")
        };
        assert!(
            args.yes
                && !args.consent.break_clients
                && !args.consent.delete_data
                && !args.rollback.restore_data
        );
    }
}
