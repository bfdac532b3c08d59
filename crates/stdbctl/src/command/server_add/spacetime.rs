//! The `spacetime` CLI of this machine, and the servers that it knows.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use stdbctl_ssh::quote;

use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;

/// A server that the CLI knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) is_default: bool,
    /// With a port if it is not the protocol's own.
    pub(super) host: String,
    pub(super) protocol: String,
    pub(super) nickname: Option<String>,
}

impl Entry {
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.protocol, self.host)
    }
}

/// The CLI.
pub(super) struct Spacetime {
    program: PathBuf,
}

impl Spacetime {
    pub(super) fn in_path() -> Self {
        Self { program: PathBuf::from("spacetime") }
    }

    /// All servers it knows. `then` is what it will be asked to do next.
    pub(super) fn servers(&self, then: &[&str]) -> Result<Vec<Entry>, CliError> {
        let output = self.run(&["server", "list"]).map_err(|error| match error.kind() {
            ErrorKind::NotFound => missing(then),
            _ => cannot_run(error),
        })?;
        if output.status.success() {
            return Ok(parse(&String::from_utf8_lossy(&output.stdout)));
        }
        Err(failed(&["server", "list"], &output))
    }

    /// Has it change what it knows.
    pub(super) fn change(&self, arguments: &[&str]) -> Result<(), CliError> {
        let output = self.run(arguments).map_err(cannot_run)?;
        if output.status.success() { Ok(()) } else { Err(failed(arguments, &output)) }
    }

    fn run(&self, arguments: &[&str]) -> std::io::Result<Output> {
        // It prints its own stack behind every error if it may.
        let mut command = Command::new(&self.program);
        command.args(arguments).env("RUST_BACKTRACE", "0").env_remove("RUST_LIB_BACKTRACE");
        command.stdin(Stdio::null()).output()
    }
}

/// Reads the table of `spacetime server list`: the default is marked, and not every server has a nickname.
pub(super) fn parse(table: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (is_default, words) = match words.as_slice() {
            ["***", rest @ ..] => (true, rest),
            words => (false, words),
        };
        let (host, protocol, nickname) = match words {
            [host, protocol @ ("http" | "https")] => (host, protocol, None),
            [host, protocol @ ("http" | "https"), nickname @ ..] => {
                (host, protocol, Some(nickname.join(" ")))
            }
            _ => return None,
        };
        Some(Entry { is_default, host: (*host).to_owned(), protocol: (*protocol).to_owned(), nickname })
    };
    table.lines().filter_map(entry).collect()
}

fn missing(then: &[&str]) -> CliError {
    CliError::new(ExitCode::Failed, "there is no `spacetime` CLI in the PATH of this machine")
        .hint("get it from https://spacetimedb.com/install, then run this again")
        .hint(format!("or, where you have it: `{}`", line(then)))
}

fn cannot_run(error: std::io::Error) -> CliError {
    CliError::new(ExitCode::Failed, Context::new("cannot run `spacetime`", error))
}

/// What it said on standard error is shown, without the warning that comes first whatever happens, and the last
/// of the causes that it gives is the cause.
fn failed(arguments: &[&str], output: &Output) -> CliError {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines =
        said.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("WARNING: This command"));
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("Stack backtrace")).collect();
    let why = if lines.contains(&"Caused by:") { lines.last() } else { lines.first() };
    let why = why.map_or_else(|| output.status.to_string(), |line| without_number(line).to_owned());
    let verb = arguments.get(..2).unwrap_or(arguments);
    let error = CliError::new(ExitCode::Failed, Context::new(format!("`{}` failed", line(verb)), why));
    if lines.len() > 1 { error.excerpt(lines.join("\n")) } else { error }
}

/// `2: dns error` and `Error: dns error` are a dns error.
fn without_number(line: &str) -> &str {
    let line = line.trim();
    match line.split_once(": ") {
        Some((number, rest)) if number == "Error" || number.parse::<u32>().is_ok() => rest,
        _ => line,
    }
}

/// A command as it would be typed: only what a shell would take apart is quoted.
fn line(arguments: &[&str]) -> String {
    let plain = |word: &&str| {
        !word.is_empty() && word.chars().all(|sign| sign.is_ascii_alphanumeric() || "-_./:@".contains(sign))
    };
    let typed = |word: &&str| {
        if plain(word) { Ok((*word).to_owned()) } else { quote::join([word]) }
            .unwrap_or_else(|_| (*word).to_owned())
    };
    let words: Vec<_> = std::iter::once("spacetime").chain(arguments.iter().copied()).collect();
    words.iter().map(typed).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::render;

    fn plain(error: &CliError) -> String {
        anstream::adapter::strip_str(&render(error, None)).to_string()
    }

    /// A CLI that does what this line of sh says.
    fn cli(line: &str) -> (Spacetime, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("spacetime");
        std::fs::write(&program, format!("#!/bin/sh\n{line}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        (Spacetime { program }, folder)
    }

    #[test]
    fn without_a_cli_its_command_is_shown() {
        let cli = Spacetime { program: "/no/such/program".into() };
        let error = cli.servers(&["server", "add", "--url", "https://a.example", "a b"]).unwrap_err();
        insta::assert_snapshot!(plain(&error), @r"
        try: get it from https://spacetimedb.com/install, then run this again
        try: or, where you have it: `spacetime server add --url https://a.example 'a b'`
        error: there is no `spacetime` CLI in the PATH of this machine
        ");
    }

    #[test]
    fn its_own_words_are_shown_and_the_last_cause_is_the_cause() {
        let said = |words: &str| {
            let script = "echo 'WARNING: This command is UNSTABLE' >&2; echo >&2; cat <<'END' >&2; exit 1\n";
            let (cli, _folder) = cli(&format!("{script}{words}\nEND"));
            plain(&cli.change(&["server", "add", "--url", "https://a.example"]).unwrap_err())
        };
        let stack = "Stack backtrace:\n   0: <unknown>";
        let chain = "Caused by:\n    0: client error (Connect)\n    1: Connection refused (os error 111)";
        insta::assert_snapshot!(said(&format!("Error: Unable to reach\nIs it up?\n\n{chain}\n\n{stack}")), @r"
        Error: Unable to reach
        Is it up?
        Caused by:
            0: client error (Connect)
            1: Connection refused (os error 111)
        error: `spacetime server add` failed: Connection refused
        ");
        insta::assert_snapshot!(said(&format!("Error: Nickname in use\n\n{stack}")), @r"error: `spacetime server add` failed: Nickname in use");
    }

    #[test]
    fn a_list_that_fails_is_not_an_empty_one() {
        let (cli, _folder) = cli("exit 3");
        assert!(
            plain(&cli.servers(&[]).unwrap_err()).contains("`spacetime server list` failed: exit status: 3")
        );
    }

    #[test]
    fn a_table_without_servers_has_none() {
        assert_eq!(parse(" DEFAULT  HOSTNAME  PROTOCOL  NICKNAME \n"), []);
        assert_eq!(parse(""), []);
    }
}
