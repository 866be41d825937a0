#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::perf_map(data));
