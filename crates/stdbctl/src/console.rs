//! What the operator wants to see, and on what it is shown.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write as _};

use dialoguer::console::Term;
use indicatif::MultiProgress;
use stdbctl_engine::event::RunStats;

use crate::cli::{Format, OutputArgs};
use crate::error::{self, CliError, Context};
use crate::exit_code::ExitCode;
use crate::report::{Writer, github, outcome, screen};

/// How output is to look.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) stats: bool,
    /// Where bars are drawn, and where they stand aside for questions.
    pub(crate) screen: MultiProgress,
}

impl Console {
    /// Reads the flags, and lets colours go where they are not wanted.
    pub(crate) fn new(args: &OutputArgs) -> Self {
        if args.no_color {
            anstream::ColorChoice::Never.write_global();
        }
        Self {
            format: args.output,
            quiet: args.quiet,
            verbose: args.verbose,
            stats: args.stats,
            screen: screen::stderr(),
        }
    }

    /// Whether bars can be drawn. Not together with a log on the same terminal.
    pub(crate) fn is_live(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let human = self.format == Format::Human && !self.quiet && self.verbose == 0;
        human && !dumb && std::io::stderr().is_terminal()
    }

    /// Whether there is a person to answer a question. Some CI jobs have a terminal, but nobody at it.
    pub(crate) fn can_ask(&self) -> bool {
        let is_job = is_set(std::env::var_os("CI").as_deref());
        let has_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        self.format == Format::Human && has_terminal && !is_job
    }

    /// Says why stdbctl failed. A reader that is gone does not read this either.
    pub(crate) fn show(&self, error: &CliError) {
        // A question that was interrupted leaves it hidden.
        if error.kind == ExitCode::Interrupted && io::stderr().is_terminal() {
            drop(Term::stderr().show_cursor());
        }
        let mut stderr = Writer::stderr();
        let text = error::render(error, stderr.width());
        drop(match self.format {
            Format::Github => github::Inert::new(stderr).write_all(text.as_bytes()),
            Format::Human | Format::Json => stderr.write_all(text.as_bytes()),
        });
    }

    /// Says what a run cost, if that was asked for.
    pub(crate) fn show_cost(&self, stats: &RunStats) {
        if self.stats {
            drop(writeln!(anstream::stderr(), "{}", outcome::cost(stats)));
        }
    }
}

/// Whether a variable says yes, as `CI=true` does.
fn is_set(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| !["", "0", "false"].map(OsStr::new).contains(&value))
}

/// The result could not be written. A reader that has seen enough, as `head` has, is no failure.
///
/// # Errors
/// For every other reason.
pub(crate) fn written(result: io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(ExitCode::Failed, Context::new("cannot write the result", error)))
        }
        _ => Ok(()),
    }
}

/// Shows what the command line asked to see instead of a run: the help, the version, or what is wrong with it.
pub(crate) fn show_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        drop(error.print());
        return ExitCode::Done;
    }
    let mut stderr = Writer::stderr();
    let text = error::render_usage(error, stderr.width());
    drop(stderr.write_all(text.as_bytes()));
    ExitCode::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_set_unless_it_says_no() {
        let table =
            [("true", true), ("1", true), ("woodpecker", true), ("", false), ("0", false), ("false", false)];
        for (value, expected) in table {
            assert_eq!(is_set(Some(OsStr::new(value))), expected, "{value}");
        }
        assert!(!is_set(None));
    }
}
