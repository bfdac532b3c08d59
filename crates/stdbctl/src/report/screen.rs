//! Where bars are drawn.

use std::io;

use dialoguer::console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// How often bars are drawn again in a second, at most.
const FREQUENCY: u8 = 20;

/// Columns at the right that stay empty. The terminal echoes Ctrl-C; on a full line that would begin another one,
/// and the bar above it would stay behind.
const MARGIN: u16 = 4;

/// Bars on stderr, if it is a terminal.
pub(crate) fn stderr() -> MultiProgress {
    let term = Term::buffered_stderr();
    MultiProgress::with_draw_target(if term.is_term() {
        ProgressDrawTarget::term_like_with_hz(Box::new(Margined(term)), FREQUENCY)
    } else {
        ProgressDrawTarget::hidden()
    })
}

/// How many columns there are, if it is a terminal that knows.
pub(crate) fn width(term: &Term) -> Option<usize> {
    term.size_checked().map(|(_, columns)| usize::from(columns))
}

/// A terminal that says it is a little narrower than it is.
#[derive(Debug)]
struct Margined(Term);

impl TermLike for Margined {
    fn width(&self) -> u16 {
        TermLike::width(&self.0).saturating_sub(MARGIN)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
