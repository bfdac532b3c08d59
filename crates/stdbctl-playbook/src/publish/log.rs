//! A module's own log, as people read it.

use serde::Deserialize;

/// A line as the server keeps it.
#[derive(Deserialize)]
struct Line {
    level: String,
    /// In microseconds since 1970.
    ts: i64,
    message: String,
}

/// The lines of the record `log`, which begins with the time the change began, in seconds.
pub(super) fn lines(record: &str) -> Vec<String> {
    let (_, log) = record.split_once('\n').unwrap_or_default();
    log.lines().map(|line| read(line).map_or_else(|| line.to_owned(), |line| line.shown())).collect()
}

/// The same, only those lines that came since.
pub(super) fn since_begun(record: &str) -> Vec<String> {
    let (begun, log) = record.split_once('\n').unwrap_or_default();
    let begun: i64 = begun.parse().unwrap_or(0);
    let recent = log.lines().filter_map(read).filter(|line| line.ts / 1_000_000 >= begun);
    recent.map(|line| line.shown()).collect()
}

fn read(line: &str) -> Option<Line> {
    serde_json::from_str(line).ok()
}

impl Line {
    fn shown(&self) -> String {
        format!("{}: {}", self.level.to_lowercase(), self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "1795204275\n\
        {\"level\":\"Info\",\"ts\":1795204274999999,\"filename\":\"x\",\"message\":\"before\"}\n\
        {\"level\":\"Error\",\"ts\":1795204275000001,\"message\":\"after\"}\nno JSON";

    #[test]
    fn lines_are_short() {
        assert_eq!(lines(RECORD), ["info: before", "error: after", "no JSON"]);
        assert!(lines("").is_empty());
    }

    #[test]
    fn what_came_before_is_somebody_elses() {
        assert_eq!(since_begun(RECORD), ["error: after"]);
    }
}
