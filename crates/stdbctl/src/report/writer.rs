//! Where reporters write, and how wide it is there.

use std::fmt;
use std::io::{self, Write};

use dialoguer::console::Term;

use super::{screen, wrap};

/// Where a reporter writes. Styles are taken out on the way to anything but a terminal.
pub(crate) struct Writer {
    out: Box<dyn Write + Send>,
    width: Option<usize>,
}

impl Writer {
    /// To something that is no terminal.
    pub(crate) fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), width: None }
    }

    pub(crate) fn stdout() -> Self {
        Self { width: screen::width(&Term::stdout()), ..Self::new(anstream::stdout()) }
    }

    pub(crate) fn stderr() -> Self {
        Self { width: screen::width(&Term::stderr()), ..Self::new(anstream::stderr()) }
    }

    /// How many columns there are on a terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Writes the words behind a label, in as many lines as it takes on a terminal, and in one line anywhere else.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn say(&mut self, label: &str, words: &str) -> io::Result<()> {
        self.out.write_all(wrap::labelled(label, words, self.width).as_bytes())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    // A line stays in one piece, as far as what is written to keeps it.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        self.out.write_fmt(arguments)
    }
}
