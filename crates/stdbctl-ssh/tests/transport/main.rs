//! The whole transport against real programs: sshd, ssh-agent, ssh-keygen.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the functions between the tests fail as the tests do"
)]

mod agent;
mod asking;
mod certificates;
mod commands;
mod configured;
mod faults;
mod forward;
mod hops;
mod host_key_update;
mod host_keys;
mod key_order;
mod logins;
mod matrix;
mod observed;
mod packed;
mod passphrases;
mod progress;
mod proxy;
mod reconnect;
mod rekey;
mod round_trips;
mod sshd;
mod transfer;
mod typed;
