//! The arguments of `stdbctl db`.

use clap::{Args, Subcommand};
use stdbctl_playbook::database::log::Level;

use super::{SiteArgs, SshArgs};
use crate::name::DatabaseName;

#[derive(Debug, Args)]
pub(crate) struct DbArgs {
    #[command(subcommand)]
    pub(crate) verb: DbVerb,
}

/// What to do with databases.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum DbVerb {
    /// Show every database of the hosts, and what deleted ones have left behind
    List(DbListArgs),
    /// Show a database's tables and reducers
    Describe(DbArgsOfOne),
    /// Run SQL as the database's owner
    ///
    /// Each argument is one statement; the first that fails ends it. With --output json, a query's rows are an
    /// array of objects; several statements give an array with one element each.
    Sql(DbSqlArgs),
    /// Call a reducer as the database's owner
    ///
    /// Each argument is a JSON value: 3, true, null, '"text"', '[1, 2]', '{"x": 1}'. What is no JSON is taken as a
    /// text: bob is the same as '"bob"'. A text that looks like something else needs its quotes: '"3"'.
    Call(DbCallArgs),
    /// Show what a module has logged
    Logs(DbLogsArgs),
    /// Give a database another name
    Rename(DbRenameArgs),
    /// Lock a database against being deleted; SpacetimeDB 2.2.0 and later
    Lock(DbArgsOfOne),
    /// Take the lock away again
    Unlock(DbArgsOfOne),
    /// Delete a database with all its rows; its files stay until `stdbctl db prune`
    Delete(DbDeleteArgs),
    /// Free the disk space that deleted databases still take
    ///
    /// Removes the directories of replicas that belong to no database any more. Each is looked at once more right
    /// before it is removed; whatever is not certain stays.
    Prune(DbPruneArgs),
}

/// One database on one host.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The database, by its name or identity
    #[arg(long, value_name = "NAME")]
    pub(crate) name: DatabaseName,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbListArgs {
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbArgsOfOne {
    #[command(flatten)]
    pub(crate) one: OneArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbSqlArgs {
    /// The statements
    #[arg(required = true, value_name = "STATEMENT")]
    pub(crate) statements: Vec<String>,
    #[command(flatten)]
    pub(crate) one: OneArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbCallArgs {
    /// The reducer, or a procedure
    #[arg(value_name = "REDUCER")]
    pub(crate) reducer: String,
    /// What it takes, in order
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) one: OneArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbLogsArgs {
    /// How many of the last lines to show [default: 100]
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, hide_default_value = true)]
    pub(crate) lines: u32,
    /// Go on showing what comes, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of these lines, only those of this level and worse: trace, debug, info, warn, error, panic
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<Level>,
    #[command(flatten)]
    pub(crate) one: OneArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbRenameArgs {
    /// The new name
    #[arg(value_name = "NEW")]
    pub(crate) new: DatabaseName,
    #[command(flatten)]
    pub(crate) one: OneArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbDeleteArgs {
    /// Delete it without asking for its name again
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) one: OneArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DbPruneArgs {
    /// Remove them without asking for the host's name
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}
