//! A run for programs: its events, one a line.

use std::io::{self, Write as _};

use serde::Serialize;
use stdbctl_engine::event::Event;

use super::{Reporter, Writer};

/// Writes each event as it comes.
pub(crate) struct Json {
    out: Writer,
}

impl Json {
    pub(crate) fn new(out: Writer) -> Self {
        Self { out }
    }

    /// Writes one value as one line, at once.
    pub(crate) fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_string(value)?;
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }
}

impl Reporter for Json {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line(event)
    }
}

/// Writes one document.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn document(out: &mut dyn io::Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    writeln!(out, "{text}")
}
