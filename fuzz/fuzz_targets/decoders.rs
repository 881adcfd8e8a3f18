//! `reductor_fuzz::decoders`, driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reductor_fuzz::decoders(data));
