#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm_wire::testing::check_stream(bytes));
