//! The whole transport against real programs: sshd, ssh-agent, ssh-keygen.

mod commands;
mod faults;
mod host_keys;
mod logins;
mod proxy;
mod round_trips;
mod sshd;
