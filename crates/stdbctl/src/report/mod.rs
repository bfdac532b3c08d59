//! What a run shows, and how: readers of the engine's events. They print and decide nothing.

pub(crate) mod bars;
pub(crate) mod clean;
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

pub(crate) use self::reporter::{Reporter, Writer};
