//! Composes all kernels and writes them as Rust.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::compose::{Composer, Files};
use super::reflect::{BindingKind, Kernel, Scalar, Struct};

/// Definitions of the library's numeric formats, each with more in 16 bits than the one before.
const FORMATS: [&[&str]; 4] = [
    &[],
    &["WEIGHTS_SNORM16", "SAMPLES_F16"],
    &["WEIGHTS_SNORM16", "SAMPLES_F16", "MAPS_F16"],
    &[
        "WEIGHTS_SNORM16",
        "SAMPLES_F16",
        "MAPS_F16",
        "ARITHMETIC_F16",
    ],
];
/// Cooperative matrices of 16x16 instead of 8x8. Kernels that test it multiply 16-bit maps.
const MATRIX_16: &str = "MATRIX_16";
/// Emulates cooperative matrices on any device, for tests.
const EMULATED_MATRICES: &str = "EMULATED_MATRICES";

/// Kernels that are written in addition to those for every WebGPU device.
#[derive(Clone, Copy)]
pub struct Options {
    /// Kernels that need features.
    pub special: bool,
    /// Kernels with emulated matrices.
    pub emulated: bool,
}

/// A kernel that becomes a static, with its variants for other numeric formats.
struct Entry<'a> {
    /// `folder/file` below `shaders/`.
    file: &'a str,
    /// Distinguishes several statics of one file.
    suffix: &'static str,
    kernel: Kernel,
    variants: Vec<Kernel>,
}

/// The text of `kernels.rs`: a module per shader folder with one `KernelSource` per kernel and the
/// constants of each file, and the module `params` with the uniform structs.
pub fn kernels(files: &Files, options: Options) -> Result<String, String> {
    let definitions = [FORMATS[3], &[MATRIX_16, EMULATED_MATRICES]].concat();
    let composer = Composer::new(files, &definitions)?;
    let mut entries = Vec::new();
    for file in composer.kernels() {
        entries.extend(compose(&composer, file, options)?);
    }

    let mut folders: BTreeMap<&str, String> = BTreeMap::new();
    let mut all = String::new();
    for entry in &entries {
        let (folder, file) = entry
            .file
            .rsplit_once('/')
            .ok_or("kernels live in folders")?;
        let name = file.to_uppercase() + entry.suffix;
        let body = folders.entry(folder).or_default();
        let mut emit = |name: &str, kernel: &Kernel, variants: &str| {
            let source = source(entry.file, kernel, variants, options);
            writeln!(
                body,
                "/// `shaders/{}.wgsl`.\npub static {name}: super::KernelSource = {source};",
                entry.file
            )
            .unwrap();
            if !kernel.definitions.contains(&EMULATED_MATRICES) {
                write!(all, "&{folder}::{name}, ").unwrap();
            }
        };
        let mut variants = String::new();
        for variant in &entry.variants {
            let name = format!("{name}_{}", variant.definitions.join("_"));
            emit(&name, variant, "");
            write!(variants, "&{name}, ").unwrap();
        }
        emit(&name, &entry.kernel, &variants);
    }
    let kernels = || {
        entries
            .iter()
            .flat_map(|entry| entry.variants.iter().chain([&entry.kernel]))
    };
    for (file, constants) in constants(kernels()) {
        let (folder, module) = file.rsplit_once('/').ok_or("shaders live in folders")?;
        let body = folders.entry(folder).or_default();
        writeln!(
            body,
            "/// Constants of `shaders/{file}.wgsl`.\npub mod {module} {{\n{constants}}}"
        )
        .unwrap();
    }
    let mut text = String::new();
    for (folder, body) in folders {
        writeln!(text, "pub mod {folder} {{\n{body}}}").unwrap();
    }
    let formats = FORMATS
        .map(|definitions| format!("&{definitions:?}, "))
        .concat();
    writeln!(
        text,
        "/// Every kernel of the crate.\npub static ALL: &[&KernelSource] = &[{all}];\n\
         /// Every shader definition.\n\
         pub const DEFINITIONS: &[&str] = &{definitions:?};\n\
         /// The shader definitions for which kernels are composed.\n\
         pub const FORMATS: &[&[&str]] = &[{formats}];\n\
         /// Rust twins of the kernels' uniform structs.\npub mod params {{\n{}}}",
        uniform_structs(kernels())?
    )
    .unwrap();
    Ok(text)
}

/// The statics of a file. Definitions that it does not test make no variant.
fn compose<'a>(
    composer: &Composer<'a>,
    file: &'a str,
    options: Options,
) -> Result<Vec<Entry<'a>>, String> {
    let compose = |definitions: &[&'static str]| {
        let composed = composer.compose(file, definitions)?;
        let asked = definitions
            .iter()
            .filter(|definition| composed.asked.contains(*definition));
        Kernel::new(&composed, asked.copied().collect())
            .map_err(|error| format!("{error}\n  in shaders/{file}.wgsl with {definitions:?}"))
    };
    let entry = |suffix, kernel| Entry {
        file,
        suffix,
        kernel,
        variants: Vec::new(),
    };
    let asked = composer.compose(file, FORMATS[2])?.asked;
    if !asked.contains(MATRIX_16) {
        let mut entry = entry("", compose(FORMATS[0])?);
        for definitions in &FORMATS[1..] {
            let variant = compose(definitions)?;
            let last = entry.variants.last().unwrap_or(&entry.kernel);
            if variant.definitions != last.definitions {
                entry.variants.push(variant);
            }
        }
        return Ok(vec![entry]);
    }
    let of_16 = [FORMATS[2], &[MATRIX_16]].concat();
    let mut entries = vec![
        entry("_16", compose(&of_16)?),
        entry("_8", compose(FORMATS[2])?),
    ];
    if options.emulated && asked.contains(EMULATED_MATRICES) {
        let emulated =
            |definitions: &[&'static str]| compose(&[definitions, &[EMULATED_MATRICES]].concat());
        entries.push(entry("_16_EMULATED", emulated(&of_16)?));
        entries.push(entry("_8_EMULATED", emulated(FORMATS[2])?));
    }
    Ok(entries)
}

/// A kernel as a Rust expression.
fn source(file: &str, kernel: &Kernel, variants: &str, options: Options) -> String {
    let suffixes = kernel.definitions.iter();
    let suffixes = suffixes.map(|name| format!(", {}", name.to_lowercase().replace('_', " ")));
    let name = file.to_string() + &suffixes.collect::<String>();
    let special = kernel.subgroups || kernel.half_arithmetic || kernel.matrices.is_some();
    let wgsl = if special && !options.special {
        ""
    } else {
        &kernel.wgsl
    };
    let mut bindings = String::new();
    for binding in &kernel.bindings {
        let kind = match binding.kind {
            BindingKind::Uniform { bytes } => format!("Uniform {{ bytes: {bytes} }}"),
            BindingKind::Storage { read_only } => format!("Storage {{ read_only: {read_only} }}"),
            BindingKind::StorageTexture => "StorageTexture".to_string(),
        };
        write!(
            bindings,
            "super::BindingInfo {{ group: {}, index: {}, name: {:?}, kind: super::BindingKind::{kind} }}, ",
            binding.group, binding.index, binding.name
        )
        .unwrap();
    }
    let Kernel {
        definitions,
        workgroup_size,
        workgroup_bytes,
        subgroups,
        half_arithmetic,
        matrices,
        overrides,
        ..
    } = kernel;
    format!(
        "super::KernelSource {{ name: {name:?}, wgsl: {wgsl:?}, definitions: &{definitions:?}, \
         workgroup_size: {workgroup_size:?}, workgroup_bytes: {workgroup_bytes}, \
         subgroups: {subgroups}, half_arithmetic: {half_arithmetic}, matrices: {matrices:?}, \
         bindings: &[{bindings}], constants: &{overrides:?}, variants: &[{variants}] }}"
    )
}

/// Scalar constants by file, without constants whose values depend on the definitions.
fn constants<'a>(kernels: impl Iterator<Item = &'a Kernel>) -> BTreeMap<&'a str, String> {
    let mut values: BTreeMap<_, Option<&Scalar>> = BTreeMap::new();
    for (place, value) in kernels.flat_map(|kernel| &kernel.constants) {
        let known = values.entry(place).or_insert(Some(value));
        *known = known.filter(|known| *known == value);
    }
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    for ((file, name), value) in values {
        if let Some(Scalar { rust, value }) = value {
            let text = files.entry(file).or_default();
            writeln!(text, "pub const {name}: {rust} = {value};").unwrap();
        }
    }
    files
}

fn uniform_structs<'a>(kernels: impl Iterator<Item = &'a Kernel>) -> Result<String, String> {
    let mut structs: BTreeMap<&str, &Struct> = BTreeMap::new();
    for layout in kernels.flat_map(|kernel| &kernel.structs) {
        if *structs.entry(&layout.name).or_insert(layout) != layout {
            return Err(format!("two uniform structs are called {}", layout.name));
        }
    }
    Ok(structs.into_values().map(uniform_struct).collect())
}

fn uniform_struct(layout: &Struct) -> String {
    let mut text = format!(
        "/// Uniform `{}`.\n#[repr(C)]\n\
         #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]\n\
         pub struct {} {{\n",
        layout.name, layout.name
    );
    let mut end = 0;
    let pad = |text: &mut String, from: u32, to: u32| {
        if to > from {
            writeln!(text, "pub(crate) _pad{from}: [u32; {}],", (to - from) / 4).unwrap();
        }
    };
    for field in &layout.fields {
        pad(&mut text, end, field.offset);
        writeln!(
            text,
            "/// Field `{}`.\npub {}: {},",
            field.name, field.name, field.rust
        )
        .unwrap();
        end = field.offset + field.bytes;
    }
    pad(&mut text, end, layout.bytes);
    text.push_str("}\n");
    if let [only] = &layout.fields[..] {
        let (name, field, rust) = (&layout.name, &only.name, &only.rust);
        writeln!(
            text,
            "impl From<{rust}> for {name} {{ fn from({field}: {rust}) -> Self {{ \
             Self {{ {field}, ..Self::default() }} }} }}"
        )
        .unwrap();
    }
    text
}
