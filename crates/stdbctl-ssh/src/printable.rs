//! Making what a server sent fit to be shown on a terminal.

/// How many characters of remote text an error message quotes.
const LONGEST: usize = 400;

/// Remote bytes as text for a message: UTF-8 where it is, control characters replaced, cut after 400 characters.
///
/// Line breaks become spaces. Bidirectional and zero-width characters are dropped with the control characters:
/// they could make a line read differently from what it says.
pub fn printable(bytes: impl AsRef<[u8]>) -> String {
    let text = String::from_utf8_lossy(bytes.as_ref());
    let mut shown = String::new();
    for (count, character) in text.trim().chars().enumerate() {
        if count == LONGEST {
            shown.push('…');
            break;
        }
        match character {
            '\n' | '\r' | '\t' => shown.push(' '),
            c if c.is_control() || is_invisible(c) => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown
}

/// Whether a character takes no room, or reverses or splits what stands around it: a line with it could read
/// differently from what it says. Control characters are no matter of this.
pub fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_cannot_be_driven_by_it() {
        assert_eq!(printable("\u{1b}[2Jhi\r\nthere\u{7}"), "\u{fffd}[2Jhi  there\u{fffd}");
        assert_eq!(printable("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(printable(b"\xff\xfeok"), "\u{fffd}\u{fffd}ok");
        assert_eq!(printable("x".repeat(10_000)).chars().count(), LONGEST + 1);
    }
}
