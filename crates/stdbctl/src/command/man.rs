//! `stdbctl man`: the man page.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::console::written;
use crate::error::CliError;
use crate::exit_code::{ExitCode, MEANINGS};

pub(super) fn run() -> Result<ExitCode, CliError> {
    let mut page = Vec::new();
    let result = render(&mut page).and_then(|()| io::stdout().write_all(&page));
    written(result)?;
    Ok(ExitCode::Done)
}

/// One page for all verbs: each with its own options, as a reader of `man stdbctl` expects.
fn render(page: &mut Vec<u8>) -> io::Result<()> {
    let mut root = Cli::command().after_long_help("");
    root.build();
    let verbs: Vec<_> = root.get_subcommands().cloned().collect();
    let man = Man::new(root);
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    for verb in verbs {
        writeln!(page, ".SH \"STDBCTL {}\"", verb.get_name().to_uppercase())?;
        let about = verb.get_long_about().or(verb.get_about());
        writeln!(page, "{}", escape(&about.map(ToString::to_string).unwrap_or_default()))?;
        for argument in verb.get_arguments().filter(|argument| !argument.is_global_set()) {
            writeln!(page, ".TP\n\\fB{}\\fR", escape(argument.to_string().as_str()))?;
            writeln!(page, "{}", escape(&argument.get_help().map(ToString::to_string).unwrap_or_default()))?;
        }
    }
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for (code, meaning) in MEANINGS {
        writeln!(page, ".TP\n{}\n{}", code.number(), escape(meaning))?;
    }
    Ok(())
}

/// Text in which roff sees nothing of its own.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let line = |line: &str| match line.chars().next() {
        None => ".PP".to_owned(),
        Some('.' | '\'') => format!("\\&{line}"),
        Some(_) => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_verb_and_exit_code() {
        let mut page = Vec::new();
        render(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for verb in ["DEPLOY", "PLAN", "VERIFY", "EXEC", "SETTINGS", "COMPLETIONS", "MAN"] {
            assert!(page.contains(&format!(".SH \"STDBCTL {verb}\"")), "{verb}");
        }
        assert!(page.contains(".TP\n130\ninterrupted"));
        assert!(page.contains("\\-\\-detailed\\-exitcode"));
    }
}
