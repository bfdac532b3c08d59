//! What the README shows, held against what the program does.

use clap::{CommandFactory as _, Parser as _};
use stdbctl_playbook::inventory::{Selection, select};
use stdbctl_playbook::settings::Layer;

use crate::cli::Cli;

const README: &str = include_str!("../../../README.md");

/// What stands for something else in it.
const PLACEHOLDERS: [(&str, &str); 4] =
    [("VERB", "deploy"), ("SHELL", "bash"), ("COMMAND", "uptime"), ("NAME", "my-game")];

/// Every `stdbctl ...` of the README: indented lines, and what is set as code in its text.
fn commands() -> Vec<String> {
    let blocks = README.lines().filter_map(|line| line.strip_prefix("    "));
    blocks.chain(spans()).filter(|code| code.starts_with("stdbctl ")).map(str::to_owned).collect()
}

fn spans() -> impl Iterator<Item = &'static str> {
    README.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn every_command_of_the_readme_is_understood() {
    let commands = commands();
    assert!(commands.len() > 7, "{commands:#?}");
    for command in commands {
        let words = command.split_whitespace().map(|word| {
            PLACEHOLDERS.iter().find(|(name, _)| *name == word).map_or(word, |(_, meaning)| *meaning)
        });
        if let Err(error) = Cli::try_parse_from(words) {
            assert_eq!(error.exit_code(), 0, "README.md says `{command}`:\n{error}");
        }
    }
}

#[test]
fn every_flag_of_the_readme_is_there() {
    let cli = Cli::command();
    let arguments = cli.get_arguments().chain(cli.get_subcommands().flat_map(clap::Command::get_arguments));
    let known: Vec<_> = arguments.filter_map(clap::Arg::get_long).collect();
    let named: Vec<_> =
        spans().filter(|code| code.starts_with('-')).flat_map(str::split_whitespace).collect();
    let named: Vec<_> = named.iter().filter_map(|word| word.strip_prefix("--")).collect();
    assert!(named.len() > 12, "{named:?}");
    for flag in named {
        assert!(known.contains(&flag), "README.md names --{flag}");
    }
}

#[test]
fn the_configuration_of_the_readme_is_right() {
    let (_, rest) = README.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    for (environment, domain) in [(None, "example.com"), (Some("staging"), "staging.example.com")] {
        let hosts = select(&Selection {
            file: Some(("README.md".to_owned(), text.to_owned())),
            environment: environment.map(str::to_owned),
            hosts: Vec::new(),
            limit: None,
            variables: Layer::default(),
            assignments: Vec::new(),
        });
        let hosts = hosts.unwrap();
        let domains: Vec<_> = hosts.iter().map(|host| host.settings.domain.as_deref()).collect();
        assert_eq!(domains, [Some(domain)]);
    }
}
