#![no_main]

use gpavatar::import::{HeadOptions, head_model_from_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let file = match input.split_first() {
        // Small arrays in an archive, each with what follows a separator.
        Some((b'Z', arrays)) => {
            let names = "v_template shapedirs posedirs J_regressor kintree_table weights";
            let names: Vec<String> = names.split(' ').map(|name| format!("{name}.npy")).collect();
            let arrays = arrays.split(|&byte| byte == b'|');
            gpavatar_fuzz::archive(names.iter().map(String::as_str).zip(arrays))
        }
        _ => input.to_vec(),
    };
    for options in [HeadOptions::default(), HeadOptions::whole()] {
        if let Ok(head) = head_model_from_bytes("fuzz", file.clone(), &options) {
            let _ = head.to_safetensors();
        }
    }
});
