//! `reductor_fuzz::admission`, driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reductor_fuzz::admission(data));
