//! What the whole-binary tests stand on: real hosts from `docker/lab`, the built binary, and a proxy that makes
//! loopback far away. The tests themselves are in `tests/`, one file a subject.

#![expect(clippy::indexing_slicing, reason = "serde_json answers null for what is not there")]

pub mod action;
pub mod deadline;
pub mod distance;
pub mod enclave;
pub mod flights;
pub mod lab;
pub mod operator;
pub mod proxy;
pub mod replay;
pub mod rogue;
pub mod snapshot;
pub mod terminal;
