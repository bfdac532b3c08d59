//! Self-hosts SpacetimeDB on your own servers over SSH. The only crate that prints or exits.

mod cli;
mod command;
mod console;
mod core_dump;
mod error;
mod exit_code;
mod host;
mod local_command;
mod lock_file;
mod log;
mod login_questions;
mod name;
mod pair;
mod prompt;
#[cfg(test)]
mod readme;
mod report;
mod run;
mod site;
mod source;
mod stdin;
mod sudo_password;
mod transfer_root;
mod typed_line;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    core_dump::forbid();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return console::show_usage(&error).into(),
    };
    let console = console::Console::new(&cli.output);
    log::start(console.verbose);
    match command::dispatch::run(cli.verb, &console) {
        Ok(code) => code.into(),
        Err(error) => {
            console.show(&error);
            error.kind.into()
        }
    }
}
