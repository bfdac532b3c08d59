//! `stdbctl settings`: every setting, from the one place where they are documented.

use std::io::{self, Write};

use stdbctl_playbook::settings::{SettingRow, reference, schema};

use crate::cli::{Format, SettingsArgs};
use crate::console::{Console, written};
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::report::style::{LOUD, QUIET};
use crate::report::{json, wrap};

/// The width of what is written, in columns.
const WIDTH: usize = 78;

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
    out.write_all(wrap::hanging("    ", description, 4, Some(WIDTH)).as_bytes())
}
