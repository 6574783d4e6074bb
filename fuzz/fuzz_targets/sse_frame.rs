#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm_wire::sse::property::check(bytes));
