//! The idempotent task graph of stdbctl.
//!
//! This crate knows what a desired state is, how to ask a host what is there, what would have to change, how to
//! change exactly that, and how to prove it. It names no SSH, no SpacetimeDB and no terminal: a [`host::Host`]
//! runs scripts for it, a playbook gives it tasks, and readers of [`event::Event`] show what happened.

mod change;
mod conversation;
pub mod dialogue;
pub mod event;
pub mod failure;
#[cfg(test)]
mod fixtures;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod graph;
pub mod host;
pub mod local;
pub mod observe;
pub mod plan;
mod planner;
mod record;
pub mod resource;
pub mod root;
pub mod run;
mod script;
mod sh;
mod site;
pub mod task;
