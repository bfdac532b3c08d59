#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stdbctl_ssh::fuzzing::known_hosts_update(bytes));
