#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm_http::transcript::check_bodies(bytes));
