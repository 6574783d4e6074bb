#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm_proxy::wire::property::check_stream(bytes));
