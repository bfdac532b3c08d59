//! What a module has logged.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;

/// How much a line matters, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For who looks very closely.
    Trace,
    /// For who looks for a defect.
    Debug,
    /// What goes on.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
    /// What has ended a reducer.
    Panic,
}

/// A name is no level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are trace, debug, info, warn, error and panic")]
pub struct LevelError;

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" => Self::Error,
            "panic" => Self::Panic,
            _ => return Err(LevelError),
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Panic => "PANIC",
        })
    }
}

/// An entry of a module's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in UTC, if it says so.
    pub time: Option<Timestamp>,
    /// How much it matters; a level that is not known here counts as the highest, so that it is not left out.
    pub level: Level,
    /// The reducer, or whatever else has logged it.
    pub function: Option<String>,
    /// What it says.
    pub message: String,
}

/// A line of the server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An entry.
    Entry(Entry),
    /// The last line: the status of the answer, 0 if there was none.
    End(u16),
    /// Something else: why there is no log.
    Words(String),
}

impl Line {
    /// Reads one. None for an empty one.
    pub fn read(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw {
            level: String,
            ts: Option<i64>,
            function: Option<String>,
            target: Option<String>,
            filename: Option<String>,
            message: String,
        }
        let line = line.trim_end();
        if line.is_empty() {
            return None;
        }
        if line.len() == 3
            && let Ok(status) = line.parse()
        {
            return Some(Self::End(status));
        }
        let Ok(raw) = serde_json::from_str::<Raw>(line) else { return Some(Self::Words(line.to_owned())) };
        let function = raw.function.or(raw.target).or(raw.filename);
        Some(Self::Entry(Entry {
            time: raw.ts.and_then(|micros| Timestamp::from_microsecond(micros).ok()),
            level: raw.level.parse().unwrap_or(Level::Panic),
            // The server's own name for itself is not meant for people.
            function: function
                .map(|name| if name == "__spacetimedb__" { "spacetimedb".to_owned() } else { name }),
            message: raw.message,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_majors_are_read() {
        let new = r#"{"level":"Info","ts":1795190468252949,"target":"demo_module","filename":"src/lib.rs","line_number":27,"function":"add","message":"add bob"}"#;
        let Some(Line::Entry(entry)) = Line::read(new) else { panic!("no entry") };
        assert_eq!(
            (entry.level, entry.function.as_deref(), entry.message.as_str()),
            (Level::Info, Some("add"), "add bob")
        );
        assert_eq!(entry.time.unwrap().to_string(), "2026-11-20T16:01:08.252949Z");
        let old = r#"{"level":"Warn","ts":1,"filename":"spacetimedb","message":"Database updated"}"#;
        let Some(Line::Entry(entry)) = Line::read(old) else { panic!("no entry") };
        assert_eq!(entry.function.as_deref(), Some("spacetimedb"));
    }

    #[test]
    fn the_last_line_is_the_status_and_others_are_words() {
        assert_eq!(Line::read("200\n"), Some(Line::End(200)));
        assert_eq!(Line::read("000"), Some(Line::End(0)));
        assert_eq!(Line::read(""), None);
        assert_eq!(Line::read("curl: (7) refused"), Some(Line::Words("curl: (7) refused".to_owned())));
    }

    #[test]
    fn levels_are_in_order() {
        assert!(Level::Trace < Level::Debug && Level::Warn < Level::Error && Level::Error < Level::Panic);
        assert_eq!("warning".parse(), Ok(Level::Warn));
        assert_eq!("loud".parse::<Level>(), Err(LevelError));
        let strange = r#"{"level":"Fatal","message":"x"}"#;
        assert!(matches!(
            Line::read(strange),
            Some(Line::Entry(Entry { level: Level::Panic, time: None, .. }))
        ));
    }
}
