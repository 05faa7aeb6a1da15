#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| match input.split_first() {
    Some((b'Z', pickle)) => gpavatar_fuzz::motion(&gpavatar_fuzz::torch_archive(pickle)),
    _ => gpavatar_fuzz::motion(input),
});
