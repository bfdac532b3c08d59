//! `stdbctl settings`: every setting, from the one place where they are documented.

use std::io::{self, Write};

use stdbctl_playbook::settings::{SettingRow, reference, schema};

use crate::cli::{Format, SettingsArgs};
use crate::console::{Console, written};
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::report::json;
use crate::report::style::{LOUD, QUIET};

pub(super) fn run(args: &SettingsArgs, console: &Console) -> Result<ExitCode, CliError> {
    let mut out = anstream::stdout();
    let rows = reference();
    let result = match console.format {
        _ if args.schema => json::document(&mut out, &schema()),
        Format::Json => json::document(&mut out, &rows),
        Format::Human | Format::Github => rows.iter().try_for_each(|row| write_row(&mut out, row)),
    };
    written(result)?;
    Ok(ExitCode::Done)
}

fn write_row(out: &mut dyn Write, row: &SettingRow) -> io::Result<()> {
    let SettingRow { key, default, description } = row;
    writeln!(out, "{LOUD}{key}{LOUD:#}  {QUIET}{default}{QUIET:#}")?;
    for line in wrapped(description, 74) {
        writeln!(out, "    {line}")?;
    }
    Ok(())
}

/// The text in lines of at most `width` characters, unless a word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        assert_eq!(wrapped("aa bb  cc\ndd", 5), ["aa bb", "cc dd"]);
        assert_eq!(wrapped("abcdefgh i", 3), ["abcdefgh", "i"]);
        assert!(wrapped("", 3).is_empty());
    }
}
