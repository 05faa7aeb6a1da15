#![no_main]

use gpavatar::{FloatFormat, import::Checkpoint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(checkpoint) = Checkpoint::from_bytes("fuzz", gpavatar_fuzz::torch_file(input)) else {
        return;
    };
    let _ = checkpoint.writer(FloatFormat::F16).map(|writer| writer.into_bytes());
});
