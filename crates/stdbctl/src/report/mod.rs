//! What a run shows, and how: readers of the engine's events. They print and decide nothing.

pub(crate) mod bars;
pub(crate) mod clean;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod ledger;
pub(crate) mod lines;
pub(crate) mod markdown;
pub(crate) mod outcome;
pub(crate) mod plan;
pub(crate) mod preview;
#[cfg(test)]
mod preview_tests;
pub(crate) mod publication;
pub(crate) mod reporter;
pub(crate) mod screen;
pub(crate) mod style;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod transfer;
pub(crate) mod wrap;
pub(crate) mod writer;

pub(crate) use self::reporter::Reporter;
pub(crate) use self::writer::Writer;

/// Keeps the first failure. A reader that went away does not stop what is reported on.
fn keep(written: &mut std::io::Result<()>, result: std::io::Result<()>) {
    if written.is_ok() {
        *written = result;
    }
}

/// The time of an event.
fn now() -> String {
    jiff::Timestamp::now().to_string()
}
