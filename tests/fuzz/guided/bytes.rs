#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| koresync_guided::text(bytes));
