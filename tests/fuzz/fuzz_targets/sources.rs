#![no_main]

use gpavatar::import::Sources;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = Sources::from_bytes("fuzz", &gpavatar_fuzz::torch_file(input));
});
