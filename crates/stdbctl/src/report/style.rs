//! The few colours there are, and how quantities are written.

use anstyle::{AnsiColor, Color, Style};

pub(crate) const GOOD: Style = colour(AnsiColor::Green);
pub(crate) const BAD: Style = colour(AnsiColor::Red);
pub(crate) const CHANGE: Style = colour(AnsiColor::Yellow);
pub(crate) const PLACE: Style = colour(AnsiColor::Cyan);
pub(crate) const LOUD: Style = Style::new().bold();
pub(crate) const QUIET: Style = Style::new().dimmed();

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// `1.4 s`, `48 s`, `2 min 05 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    if seconds < 60.0 {
        return format!("{seconds:.0} s");
    }
    format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor())
}

/// `512 bytes`, `85.0 kB`, `1.2 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return count(usize::try_from(bytes).unwrap_or(usize::MAX), "byte");
    }
    let mut tenths = bytes / 100;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while tenths >= 10_000 {
        let Some(next) = units.next() else { break };
        tenths /= 1000;
        unit = Some(next);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&""))
}

/// `1 change`, `2 changes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_anyone_cares() {
        let told = [0.04, 1.44, 9.94, 48.3, 60.0, 125.9].map(duration);
        assert_eq!(told, ["0.0 s", "1.4 s", "9.9 s", "48 s", "1 min 00 s", "2 min 05 s"]);
    }

    #[test]
    fn sizes_have_a_unit_that_fits() {
        let told = [0, 1, 999, 1000, 84_960, 999_999, 1_250_000, 38_000_000_000, u64::MAX].map(size);
        let expected =
            ["0 bytes", "1 byte", "999 bytes", "1.0 kB", "84.9 kB", "999.9 kB", "1.2 MB", "38.0 GB"];
        assert_eq!(told[..8], expected);
        assert!(told[8].ends_with(" TB"), "{told:?}");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| count(n, "change")), ["0 changes", "1 change", "2 changes"]);
    }
}
