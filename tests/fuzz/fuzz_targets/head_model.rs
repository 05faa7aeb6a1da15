#![no_main]

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
    gpavatar_fuzz::head_model(&file);
});
