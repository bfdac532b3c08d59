//! The command line. Doc comments here are the help texts.

mod db;
mod doctor;
mod identity;
mod init;
mod publish;
mod pull;
mod push;
mod server_add;
mod tunnel;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit_code;
use crate::pair::{Resolve, Setting};

pub(crate) use db::{
    DbArgs, DbCallArgs, DbDeleteArgs, DbListArgs, DbLogsArgs, DbPruneArgs, DbRenameArgs, DbSqlArgs, DbVerb,
    OneArgs,
};
pub(crate) use doctor::{DoctorArgs, DoctorSshArgs, DoctorVerb};
pub(crate) use identity::IdentityArgs;
pub(crate) use init::{InitArgs, Starter};
pub(crate) use publish::{CheckArgs, ConsentArgs, PublishArgs, RollbackArgs};
pub(crate) use pull::PullArgs;
pub(crate) use push::PushArgs;
pub(crate) use server_add::ServerAddArgs;
pub(crate) use tunnel::TunnelArgs;

/// Self-host SpacetimeDB on your own servers, over SSH
///
/// Takes a fresh Ubuntu 24.04 or Debian 12 server to a SpacetimeDB served over HTTPS, and keeps it that way.
/// Running it again changes nothing. Nothing of stdbctl stays running on the server.
#[derive(Debug, Parser)]
#[command(name = "stdbctl", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_long_help = exit_code::help_section())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make servers serve SpacetimeDB over HTTPS; does nothing where they already do
    ///
    /// Observes every host, shows what would change, asks, changes exactly that, and checks the site from
    /// outside. A run that was cut off is continued by running it again.
    Deploy(DeployArgs),
    /// Show what deploy would change, and change nothing
    Plan(PlanArgs),
    /// Put a module live: its migration shown first, its data safe, and a way back
    ///
    /// Without a module, the one in this folder is built. Shows what would change for data and clients, asks,
    /// publishes through the SSH connection, and proves that the database answers; if it does not, the old module
    /// is live again and the exit code is 9. Clients are only broken with --break-clients, and data is only lost
    /// with --delete-data or --restore-data; --yes alone never means these.
    Publish(PublishArgs),
    /// Check from here that the site serves as it should; no SSH
    ///
    /// Asks /v1/ping over HTTPS with a valid certificate for the name, upgrades a WebSocket, and makes sure
    /// that what must be closed is closed.
    Verify(VerifyArgs),
    /// Look at, ask and change databases, as their owner
    Db(DbArgs),
    /// Run one command on all hosts at once
    ///
    /// Runs as the login user. One argument is a line for the shell of that user; several are one command and
    /// its arguments, handed over exactly as they are.
    Exec(ExecArgs),
    /// Copy a file or directory to all hosts; goes on where it was cut off
    ///
    /// REMOTE is the new name of LOCAL; with a / at its end, the directory to put it into. Each file is checked by
    /// its sha256 and put in its place at once and whole; what is there already is not sent again. A file that is
    /// there keeps its mode and owner, a new one gets the mode of the local one. A directory is merged into one that
    /// is there, and nothing in it is deleted. Links inside a directory are copied as links, LOCAL and REMOTE
    /// themselves are followed; devices, sockets and pipes are left out.
    Push(PushArgs),
    /// Copy a file or directory from hosts; goes on where it was cut off
    ///
    /// LOCAL is the new name of REMOTE; with a / at its end, the directory to put it into. From several hosts it
    /// goes into a directory of the host's name: LOCAL/HOST/. The rest is as with push.
    Pull(PullArgs),
    /// Show who owns a host's databases, and repair what proves it
    ///
    /// Every host has one identity that owns what stdbctl publishes. Its token is signed on the host with the
    /// server's own key and never leaves it. Without --repair or --adopt nothing is changed.
    Identity(IdentityArgs),
    /// Find out why a host cannot be reached, and what to do about it
    Doctor(DoctorArgs),
    /// Have a host's whole SpacetimeDB on a port of this machine, until Ctrl-C
    ///
    /// Carries every connection to 127.0.0.1:PORT here over SSH to SpacetimeDB on the host, past nginx: what is
    /// closed to the world is open here, and only here.
    Tunnel(TunnelArgs),
    /// Make the site known to the `spacetime` CLI of this machine; no SSH
    ServerAdd(ServerAddArgs),
    /// Print something to begin with
    Init(InitArgs),
    /// List every setting with its default
    Settings(SettingsArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the man page
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// Change without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) short: ShortForms,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Exit with 10 instead of 0 if there is something to change
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    #[command(flatten)]
    pub(crate) short: ShortForms,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Give up on an answer after so many seconds [default: 10]
    #[arg(long, value_name = "SECONDS", default_value_t = 10, hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// The name the site is served under
    #[arg(long, value_name = "NAME", help_heading = "Settings")]
    pub(crate) domain: Option<String>,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Run it as root, through sudo
    #[arg(long)]
    pub(crate) sudo: bool,
    /// The command
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) site: SiteArgs,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// Print the JSON schema of the settings instead
    #[arg(long)]
    pub(crate) schema: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Settings that are typed often enough to have flags of their own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct ShortForms {
    /// The name to serve under; short for --set domain=NAME
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Where the CA writes to; short for --set tls.email=ADDRESS
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
    /// The release of SpacetimeDB; short for --set spacetimedb.version=VERSION
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) release: Option<String>,
}

/// Which hosts, and what is to be there.
#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    /// Settings and inventory [default: stdbctl.yaml, if there]
    #[arg(short, long, value_name = "FILE", help_heading = "Hosts")]
    pub(crate) config: Option<PathBuf>,
    /// A host, or `local` for this machine; repeatable, needs no file
    #[arg(long = "host", value_name = "[USER@]HOST[:PORT]", help_heading = "Hosts")]
    pub(crate) hosts: Vec<String>,
    /// The environment of the file to use
    #[arg(short, long, value_name = "NAME", help_heading = "Hosts")]
    pub(crate) env: Option<String>,
    /// Only the file's hosts whose name matches; `*` stands for anything
    #[arg(long, value_name = "PATTERN", help_heading = "Hosts")]
    pub(crate) limit: Option<String>,
    /// Any setting, its value as YAML; repeatable (see `stdbctl settings`)
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = "Settings")]
    pub(crate) settings: Vec<Setting>,
}

/// How hosts are logged in to.
#[derive(Debug, Args)]
#[command(next_help_heading = "SSH")]
pub(crate) struct SshArgs {
    /// The OpenSSH configuration; `none` for no file [default: `~/.ssh/config` and the machine's]
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// A private key; repeatable [default: as configured, or the agent's, then `~/.ssh/id_*`]
    #[arg(short, long = "identity", value_name = "FILE")]
    pub(crate) identities: Vec<PathBuf>,
    /// Host keys to check against [default: as configured, or `~/.ssh/known_hosts`]
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,
    /// A file with the password of sudo, for nobody else to read [default: asked for where it is wanted]
    #[arg(long, value_name = "FILE")]
    pub(crate) sudo_password_file: Option<PathBuf>,
    /// Trust and record the keys of hosts that are not known yet
    #[arg(long)]
    pub(crate) accept_new: bool,
    /// Give up on a connection after so many seconds [default: as configured, or 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: Option<u64>,
}

/// Names and CAs that aren't public.
#[derive(Debug, Args)]
#[command(next_help_heading = "Verification")]
pub(crate) struct TrustArgs {
    /// Take this address for NAME, whatever DNS says; repeatable
    #[arg(long, value_name = "NAME=ADDRESS")]
    pub(crate) resolve: Vec<Resolve>,
    /// Also trust the CA certificates of this PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// human, json for programs, or github for GitHub Actions
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, value_name = "FORM")]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub(crate) output: Format,
    /// Say what the run cost: round trips, bytes, seconds
    #[arg(long, global = true)]
    pub(crate) stats: bool,
    /// Only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More detail; -vv to follow the connection
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
    Github,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    /// The whole interface, so that every change to it is seen in review.
    #[test]
    fn help_is_what_it_was() {
        let mut command = Cli::command().term_width(80);
        command.build();
        insta::assert_snapshot!("help_stdbctl", command.render_long_help());
        help_of_verbs(&command, "help");
    }

    fn help_of_verbs(command: &clap::Command, name: &str) {
        for verb in command.get_subcommands() {
            let name = format!("{name}_{}", verb.get_name());
            insta::assert_snapshot!(name.as_str(), verb.clone().term_width(80).render_long_help());
            help_of_verbs(verb, &name);
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn version_is_the_programs_before_the_verb_and_spacetimedbs_after_it() {
        let error = Cli::try_parse_from(["stdbctl", "--version"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayVersion);
        let cli = Cli::try_parse_from(["stdbctl", "deploy", "--host", "a", "--version", "1.3.0"]).unwrap();
        let Verb::Deploy(args) = cli.verb else { panic!("not a deploy: {cli:?}") };
        assert_eq!(args.short.release.as_deref(), Some("1.3.0"));
    }

    #[test]
    fn bad_usage_is_refused_with_2() {
        let lines: [&[&str]; 9] = [
            &[],
            &["deploi"],
            &["deploy", "--hots", "a"],
            &["deploy", "--set", "domain"],
            &["deploy", "--resolve", "a=b"],
            &["deploy", "--timeout", "0"],
            &["plan", "--output", "xml"],
            &["exec", "--host", "a"],
            &["verify", "-q", "-v"],
        ];
        for line in lines {
            let error = Cli::try_parse_from([&["stdbctl"], line].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }
}
