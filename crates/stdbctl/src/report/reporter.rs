//! What all reporters have in common.

use std::io;

use stdbctl_engine::event::Event;

use super::bars::Bars;
use super::github::{self, Github, Inert};
use super::json::Json;
use super::lines::Lines;
use super::outcome::Detail;
use super::writer::Writer;
use crate::cli::Format;
use crate::console::Console;

/// A reader of a run's events.
pub(crate) trait Reporter: Send {
    /// Shows one event.
    ///
    /// # Errors
    /// If it could not be written. The run goes on without a reader then.
    fn event(&mut self, event: &Event) -> io::Result<()>;
}

/// The reporter for a run that changes hosts, by what the operator asked for and where the output goes.
pub(crate) fn for_changes(console: &Console) -> Box<dyn Reporter> {
    let (stdout, stderr) = (Writer::stdout(), Writer::stderr());
    match console.format {
        Format::Json => Box::new(Json::new(stdout)),
        Format::Github => Box::new(Github::new(stdout, github::summary_file())),
        Format::Human if console.is_live() => Box::new(Bars::new(console.screen.clone(), Some(stdout))),
        // The tasks have been told one by one already, unless nothing but the result was asked for.
        Format::Human => {
            let detail = if console.quiet { Detail::Changes } else { Detail::Counts };
            Box::new(Lines::new(progress(console, stderr), Some((stdout, detail)), console.verbose))
        }
    }
}

/// The reporter for a run whose result is printed by somebody else: only progress.
pub(crate) fn for_progress(console: &Console) -> Box<dyn Reporter> {
    if console.is_live() {
        return Box::new(Bars::new(console.screen.clone(), None));
    }
    Box::new(Lines::new(progress(console, Writer::stderr()), None, console.verbose))
}

fn progress(console: &Console, stderr: Writer) -> Writer {
    match console.format {
        _ if console.quiet => Writer::new(io::sink()),
        Format::Github => Writer::new(Inert::new(stderr)),
        Format::Human | Format::Json => stderr,
    }
}
