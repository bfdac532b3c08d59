//! The self-hosting runbook of SpacetimeDB.
//!
//! Settings and inventory say which hosts there are and what they should be like; a playbook, read together with
//! them, becomes the engine's tasks for one host; [`verify`] asks the finished server from outside.

pub mod database;
pub mod identity;
pub mod inventory;
pub mod local_files;
pub mod local_path;
pub mod migration;
pub mod module;
pub mod owner;
pub mod playbook;
pub mod publish;
pub mod schema;
pub mod server;
pub mod settings;
mod template;
mod values;
pub mod verify;
pub mod yaml;
