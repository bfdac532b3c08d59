//! stdbctl
fn main() {}
