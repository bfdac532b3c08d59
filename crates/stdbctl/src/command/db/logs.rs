//! `stdbctl db logs`: what a module has logged.

use std::io::{self, Write};

use anstyle::Style;
use stdbctl_playbook::database::log::{Entry, Level};
use tokio::sync::Notify;

use super::target::Target;
use crate::cli::{DbLogsArgs, Format};
use crate::console::{Console, written};
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::report::style::{BAD, CHANGE, GOOD, QUIET};
use crate::report::{clean, github};

pub(super) async fn run(args: DbLogsArgs, console: &Console) -> Result<ExitCode, CliError> {
    let target = Target::connect(&args.one, console).await?;
    let (mut out, mut result) = (anstream::stdout(), Ok(()));
    let unread = Notify::new();
    let database = target.database();
    let logs = database.logs(args.lines, args.follow, |line, entry| {
        if result.is_ok() && args.level.is_none_or(|level| entry.level >= level) {
            result = write(&mut out, line, entry, console.format);
            if result.is_err() {
                unread.notify_one();
            }
        }
    });
    let ended = tokio::select! {
        ended = logs => ended,
        // Nobody reads it any more, as after `head`.
        () = unread.notified() => Ok(()),
    };
    written(result)?;
    ended.map_err(|error| target.failed(error))?;
    target.show_cost(console);
    Ok(ExitCode::Done)
}

fn write(out: &mut dyn Write, line: &str, entry: &Entry, format: Format) -> io::Result<()> {
    match format {
        Format::Json => writeln!(out, "{}", line.trim_end())?,
        Format::Human => write_entry(out, entry)?,
        Format::Github => write_entry(&mut github::Inert::new(&mut *out), entry)?,
    }
    out.flush()
}

fn write_entry(out: &mut dyn Write, Entry { time, level, function, message }: &Entry) -> io::Result<()> {
    let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"));
    let (style, function) = (style(*level), clean::line(function.as_deref().unwrap_or("-")));
    // Further lines of a message must not look like entries.
    let message = clean::text(message.trim_end()).replace('\n', "\n    ");
    writeln!(out, "{QUIET}{time}{QUIET:#} {style}{level:>5}{style:#} {function}: {message}")
}

fn style(level: Level) -> Style {
    match level {
        Level::Panic | Level::Error => BAD,
        Level::Warn => CHANGE,
        Level::Info => GOOD,
        Level::Debug | Level::Trace => QUIET,
    }
}

#[cfg(test)]
mod tests {
    use stdbctl_playbook::database::log::Line;

    use super::*;

    fn shown(line: &str, format: Format) -> String {
        let Some(Line::Entry(entry)) = Line::read(line) else { panic!("no entry: {line}") };
        let mut out = Vec::new();
        write(&mut out, line, &entry, format).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn an_entry_is_a_line_and_cannot_look_like_two() {
        let line = r#"{"level":"Error","ts":1795190468262820,"function":"add","message":"one\u001b[2J\ntwo ##[add-path]/x"}"#;
        assert_eq!(
            shown(line, Format::Human),
            "2026-11-20T16:01:08.262Z ERROR add: one\n    two ##[add-path]/x\n"
        );
        assert!(!shown(line, Format::Github).contains("##[add-path]"));
        assert_eq!(shown(line, Format::Json), format!("{line}\n"));
        let bare = r#"{"level":"Info","message":"x"}"#;
        assert_eq!(shown(bare, Format::Human), "-  INFO -: x\n");
    }
}
