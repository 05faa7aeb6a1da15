#![no_main]

use gpavatar::import::{MotionOptions, motion_from_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let options = MotionOptions {
        fps: None,
        smoothing: Some(0.9),
        ..MotionOptions::default()
    };
    let file = match input.split_first() {
        Some((b'Z', pickle)) => gpavatar_fuzz::torch_archive(pickle),
        _ => input.to_vec(),
    };
    if let Ok(imported) = motion_from_bytes("fuzz", &file, &options) {
        let _ = (imported.to_string(), imported.motion.to_json());
    }
});
