//! The verbs, one file each.

mod completions;
mod db;
mod deploy;
pub(crate) mod dispatch;
mod doctor;
mod exec;
mod identity;
mod init;
mod man;
mod plan;
mod publish;
mod pull;
mod push;
mod server_add;
mod settings;
mod transfer;
mod tunnel;
mod verify;
