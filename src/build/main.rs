//! Build script: turns `shaders/` into `$OUT_DIR/kernels.rs`.
//!
//! Every WGSL file that no other file imports is a kernel. It is composed with its imports,
//! validated, and written as one self-contained text with its reflection: bindings, workgroup size,
//! overrides, constants and the Rust twins of its uniform structs. Shader errors are build errors,
//! and neither the crate nor a browser build carries a preprocessor.

mod compose;
mod emit;
mod reflect;

use std::path::PathBuf;

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap());
    println!("cargo:rerun-if-changed=shaders");
    println!("cargo:rerun-if-changed=src/build");

    let mut files = compose::Files::new();
    compose::read(&root.join("shaders"), "", &mut files).unwrap();
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
