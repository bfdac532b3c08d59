//! What the whole-binary tests stand on: real hosts from `docker/lab`, the built binary, and a proxy that makes
//! loopback far away. The tests themselves are in `tests/`, one file a subject.

pub mod flights;
pub mod proxy;
