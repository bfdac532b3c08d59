//! Servers that mean harm: whatever they send, the binary ends in time, with the right exit code and a clear word, in
//! little memory, and nothing of theirs drives the operator's terminal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod channels;
mod key_exchange;
mod login;
mod meeting;
mod records;
mod terminal;
mod transfers;
