#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stdbctl_engine::fuzzing::records(bytes));
