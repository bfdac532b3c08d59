#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    stdbctl_ssh::fuzzing::quoting(bytes);
    stdbctl_engine::fuzzing::words_of_scripts(bytes);
});
