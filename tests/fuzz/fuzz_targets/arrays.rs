#![no_main]

use gpavatar_fuzz::{Tensors, import, own_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|tensors: Tensors| {
    let file = tensors.safetensors();
    import(&file);
    own_file(&file);
    import(&tensors.numpy());
});
