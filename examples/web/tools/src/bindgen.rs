//! `bindgen INPUT.wasm DIRECTORY` writes the wasm and the ES module that loads it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, directory] = arguments.as_slice() else {
        eprintln!("usage: bindgen INPUT.wasm DIRECTORY");
        return ExitCode::from(2);
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(input)
        .out_name("bindings")
        // The hand-written module has the types.
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true);
    let result = bindgen
        .web(true)
        .and_then(|bindgen| bindgen.generate(directory));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
