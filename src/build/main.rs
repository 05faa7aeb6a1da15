//! Build script: turns `shaders/` into `$OUT_DIR/kernels.rs`.
//!
//! Every WGSL file is composed with its imports, validated, and written back as one self-contained
//! text, together with what the host must know of it: bindings, workgroup size, override constants
//! and the Rust twins of its uniform structs. A kernel is composed again for each storage in which it
//! reads or writes numbers of 16 bits (`shaders/shared/stored.wgsl` and its neighbours), and once more
//! if it can also compute in half precision. A kernel of cooperative matrices is composed for each of their
//! sizes. Shader errors are build errors, and neither the crate nor a browser build carries a shader
//! compiler of its own.

mod concatenate;
mod emit;
mod reflect;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use naga_oil::compose::{
    ComposableModuleDescriptor, Composer, NagaModuleDescriptor, ShaderDefValue,
    get_preprocessor_data,
};
use reflect::Variant;

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap());
    println!("cargo:rerun-if-changed=shaders");
    println!("cargo:rerun-if-changed=src/build");

    let mut files = BTreeMap::new();
    read_shaders(&root.join("shaders"), "", &mut files);
    let kernels = compose(&files);
    std::fs::write(out.join("kernels.rs"), emit::kernels(&kernels)).unwrap();
}

/// Collects `folder/name` -> WGSL text for every `.wgsl` file below `directory`.
fn read_shaders(directory: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
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

/// Composes each file that is not itself an import.
fn compose(files: &BTreeMap<String, String>) -> Vec<reflect::Variants> {
    // What an adapter lacks is known when a kernel is chosen for it.
    let mut composer = Composer::default().with_capabilities(naga::valid::Capabilities::all());
    let modules: Modules<'_> = files
        .iter()
        .filter_map(|(file, source)| {
            let import_path = get_preprocessor_data(source).0?;
            Some((import_path, (file.as_str(), source.as_str())))
        })
        .collect();
    for import_path in modules.keys() {
        add_module(&mut composer, &modules, import_path);
    }

    let mut kernels = Vec::new();
    for (name, source) in files {
        if get_preprocessor_data(source).0.is_some() {
            continue;
        }
        let path = format!("shaders/{name}.wgsl");
        if source.contains("enable wgpu_cooperative_matrix;") {
            for variant in [Variant::Matrix16, Variant::Matrix8] {
                let module = concatenate::module(&path, source, &modules, variant.definitions());
                kernels.push(reflect::Variants {
                    first: reflect::Kernel::new(name, variant, module),
                    mixed: None,
                    half: None,
                    half_arithmetic: None,
                });
            }
            continue;
        }
        let mut compose = |variant: Variant| {
            let definitions = variant.definitions().iter();
            let module = composer
                .make_naga_module(NagaModuleDescriptor {
                    source,
                    file_path: &path,
                    shader_defs: definitions
                        .map(|name| (name.to_string(), ShaderDefValue::Bool(true)))
                        .collect(),
                    ..Default::default()
                })
                .unwrap_or_else(|error| panic!("{}", error.emit_to_string(&composer)));
            reflect::Kernel::new(name, variant, module)
        };
        let first = compose(Variant::Full);
        let mixed = compose(Variant::Mixed);
        let half = compose(Variant::Half);
        let half_arithmetic = source
            .contains("HALF_ARITHMETIC")
            .then(|| compose(Variant::HalfArithmetic));
        kernels.push(reflect::Variants {
            half: (half.wgsl != mixed.wgsl).then_some(half),
            mixed: (mixed.wgsl != first.wgsl).then_some(mixed),
            half_arithmetic,
            first,
        });
    }
    kernels
}

/// Import path -> file and text.
type Modules<'a> = BTreeMap<String, (&'a str, &'a str)>;

/// The modules that a text imports.
fn imports(file: &str, source: &str, modules: &Modules<'_>) -> Vec<String> {
    let imports = get_preprocessor_data(source).1.into_iter();
    imports
        .map(|import| {
            // An import names a module or an item of one: the longest known prefix is the module.
            let mut path = import.import.as_str();
            while !modules.contains_key(path) {
                match path.rsplit_once("::") {
                    Some((parent, _)) => path = parent,
                    None => panic!("shaders/{file}.wgsl imports `{}`", import.import),
                }
            }
            path.to_string()
        })
        .collect()
}

/// Adds a module after everything that it imports.
fn add_module(composer: &mut Composer, modules: &Modules<'_>, name: &str) {
    if composer.contains_module(name) {
        return;
    }
    let Some((file, source)) = modules.get(name) else {
        panic!("a shader imports `{name}`, which no file under shaders/ defines");
    };
    for path in imports(file, source, modules) {
        add_module(composer, modules, &path);
    }
    let file_path = format!("shaders/{file}.wgsl");
    let result = composer.add_composable_module(ComposableModuleDescriptor {
        source,
        file_path: &file_path,
        ..Default::default()
    });
    if let Err(error) = result {
        panic!("{}", error.emit_to_string(composer));
    }
}
