//! Aligned columns, for people and for plain pipes.

use std::io::{self, Write};

use dialoguer::console::{measure_text_width, truncate_str};

use super::clean;
use super::style::LOUD;

/// What stands between two columns.
const GAP: &str = "  ";
/// A column is not made narrower than this, unless it is anyway.
const NARROWEST: usize = 8;

/// Rows under a head.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Whether nothing is ever cut.
    whole: bool,
}

/// What stands in one place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    right: bool,
}

impl Cell {
    /// At the left.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: in_one_line(&text.into()), right: false }
    }

    /// At the right.
    pub(crate) fn number(text: impl Into<String>) -> Self {
        Self { right: true, ..Self::text(text) }
    }
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<S: AsRef<str>>(head: impl IntoIterator<Item = S>) -> Self {
        let head = head.into_iter().map(|name| in_one_line(name.as_ref())).collect();
        Self { head, ..Self::default() }
    }

    /// Cuts nothing, however little room there is.
    pub(crate) fn keep_whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// Adds a row, a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes it, on a terminal of so many columns: what does not fit is cut, and where even that leaves too little of
    /// each column, a row becomes several lines. Without a width nothing is cut.
    pub(crate) fn write(&self, out: &mut dyn Write, indent: &str, width: Option<usize>) -> io::Result<()> {
        let natural = self.widths();
        let gaps = GAP.len() * natural.len().saturating_sub(1) + indent.len();
        match width {
            None => self.write_rows(out, indent, &natural),
            Some(width) => match self.fitted(&natural, width.saturating_sub(gaps)) {
                Some(widths) => self.write_rows(out, indent, &widths),
                None => self.write_upright(out, indent),
            },
        }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|name| measure_text_width(name)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = measure_text_width(&cell.text).max(*width);
            }
        }
        widths
    }

    /// The widths with the widest columns cut until they fit, if they can be.
    fn fitted(&self, natural: &[usize], room: usize) -> Option<Vec<usize>> {
        let mut widths = natural.to_vec();
        loop {
            let excess = widths.iter().sum::<usize>().saturating_sub(room);
            if excess == 0 {
                return Some(widths);
            }
            let widest = widths.iter_mut().filter(|width| !self.whole && **width > NARROWEST).max();
            let width = widest?;
            *width -= 1;
        }
    }

    fn write_rows(&self, out: &mut dyn Write, indent: &str, widths: &[usize]) -> io::Result<()> {
        // A head is at the right where all below it is.
        let at_right = |column: usize| {
            !self.rows.is_empty()
                && self.rows.iter().all(|row| row.get(column).is_some_and(|cell| cell.right))
        };
        let head = self.head.iter().enumerate();
        let head: Vec<_> =
            head.map(|(column, name)| Cell { text: name.clone(), right: at_right(column) }).collect();
        writeln!(out, "{indent}{LOUD}{}{LOUD:#}", line(&head, widths))?;
        self.rows.iter().try_for_each(|row| writeln!(out, "{indent}{}", line(row, widths)))
    }

    /// A line for each column, an empty one between rows.
    fn write_upright(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        let width = self.head.iter().map(|name| measure_text_width(name)).max().unwrap_or(0);
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            for (name, cell) in self.head.iter().zip(row) {
                let blanks = " ".repeat(width.saturating_sub(measure_text_width(name)));
                writeln!(out, "{indent}{LOUD}{name}{LOUD:#}{blanks}{GAP}{}", cell.text)?;
            }
        }
        Ok(())
    }
}

/// The cells of one line, without blanks at its end.
fn line(cells: &[Cell], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).map(|(Cell { text, right }, &width)| {
        let text = truncate_str(text, width, "\u{2026}");
        let blanks = " ".repeat(width.saturating_sub(measure_text_width(&text)));
        if *right { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
    });
    cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
}

/// Without anything that would move the cursor, and with line breaks that are seen.
fn in_one_line(text: &str) -> String {
    clean::text(text).replace('\n', "\\n").replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(table: &Table, width: Option<usize>) -> String {
        let mut out = Vec::new();
        table.write(&mut out, "  ", width).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    fn people() -> Table {
        let mut table = Table::new(["id", "name"]);
        table.row(vec![Cell::number("1"), Cell::text("first")]);
        table.row(vec![Cell::number("1024"), Cell::text("\u{4e2d}\u{6587} is twice as wide")]);
        table
    }

    #[test]
    fn columns_are_aligned_and_numbers_at_the_right() {
        insta::assert_snapshot!(shown(&people(), None), @r"
          id  name
           1  first
        1024  中文 is twice as wide
        ");
    }

    #[test]
    fn on_a_narrow_terminal_the_widest_is_cut() {
        let narrow = shown(&people(), Some(20));
        assert!(narrow.contains("  1024  \u{4e2d}\u{6587} is twi\u{2026}\n"), "{narrow}");
        assert!(narrow.lines().all(|line| measure_text_width(line) <= 20), "{narrow}");
        assert_eq!(shown(&people(), Some(80)), shown(&people(), None));
    }

    #[test]
    fn a_row_that_cannot_fit_becomes_several_lines() {
        let mut table = Table::new(["one", "second"]).keep_whole();
        table.row(vec![Cell::text("a"), Cell::text("x".repeat(30))]);
        table.row(vec![Cell::text("b"), Cell::text("y")]);
        let x = "x".repeat(30);
        assert_eq!(
            shown(&table, Some(20)),
            format!("  one     a\n  second  {x}\n\n  one     b\n  second  y\n")
        );
    }

    #[test]
    fn cells_cannot_break_the_table() {
        let mut table = Table::new(["a\x1b[2J"]);
        table.row(vec![Cell::text("x\ny\tz\x1b]0;title\x07\r\u{202e}")]);
        assert_eq!(shown(&table, None), "  a\n  x\\ny\\tz\n");
    }
}
