//! The verbs, one file each.

mod completions;
mod deploy;
pub(crate) mod dispatch;
mod exec;
mod man;
mod plan;
mod settings;
mod verify;
