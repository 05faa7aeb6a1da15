#![no_main]

use gpavatar::import::Contents;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for file in [input.to_vec(), gpavatar_fuzz::torch_archive(input)] {
        if let Ok(contents) = Contents::from_bytes("fuzz", file) {
            let _ = contents.to_string();
        }
    }
});
