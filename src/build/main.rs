//! Build script: turns `shaders/` into `$OUT_DIR/kernels.rs`.
//!
//! Every WGSL file that no other file imports is a kernel. It is composed with its imports,
//! validated, and written as one self-contained text with its reflection: bindings, workgroup size,
//! overrides, constants and the Rust twins of its uniform structs. Shader errors are build errors,
//! and neither the crate nor a browser build carries a preprocessor.

mod compose;
mod emit;
mod reflect;

use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap());
    println!("cargo:rerun-if-changed=shaders");
    println!("cargo:rerun-if-changed=src/build");

    let mut files = compose::Files::new();
    read_shaders(&root.join("shaders"), "", &mut files);
    let options = emit::Options {
        // Browsers run none of these kernels. Without them the page is smaller.
        special: std::env::var("CARGO_CFG_TARGET_ARCH").unwrap() != "wasm32",
        emulated: std::env::var("CARGO_FEATURE_REFERENCE").is_ok(),
    };
    match emit::kernels(&files, options) {
        Ok(text) => std::fs::write(out.join("kernels.rs"), text).unwrap(),
        Err(error) => panic!("\n\n{error}\n\n"),
    }
}

/// Collects `folder/name` -> text for every `.wgsl` file below `directory`.
fn read_shaders(directory: &Path, prefix: &str, files: &mut compose::Files) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = if prefix.is_empty() {
            stem.to_string()
        } else {
            format!("{prefix}/{stem}")
        };
        if path.is_dir() {
            read_shaders(&path, &name, files);
        } else if path.extension().is_some_and(|e| e == "wgsl") {
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}
