#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stdbctl_ssh::fuzzing::ssh_config(bytes));
