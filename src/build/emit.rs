//! Writes the reflected kernels as Rust.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::reflect::{BindingKind, Kernel, Struct, Variants};

/// The text of `kernels.rs`: a module per shader folder with one `KernelSource` per kernel, and the
/// module `params` with the uniform structs.
pub fn kernels(kernels: &[Variants]) -> String {
    let mut folders: BTreeMap<&str, String> = BTreeMap::new();
    let mut structs: BTreeMap<&str, &Struct> = BTreeMap::new();
    let mut all = String::new();
    for Variants {
        first,
        mixed,
        half,
        half_arithmetic,
    } in kernels
    {
        let (folder, file) = first
            .name
            .rsplit_once('/')
            .expect("kernels live in folders");
        let module = folder.replace('/', "::");
        let constant = |kernel: &Kernel| file.to_uppercase() + kernel.variant.constant();
        let body = folders.entry(folder).or_default();
        let mut emit = |kernel: &Kernel, others: [&Option<Kernel>; 3]| {
            let constant_of = |kernel: &Option<Kernel>| match kernel {
                Some(kernel) => format!("Some(&{})", constant(kernel)),
                None => "None".to_string(),
            };
            let constant = constant(kernel);
            write!(all, "&{module}::{constant}, ").unwrap();
            body.push_str(&kernel_source(kernel, &constant, others.map(constant_of)));
        };
        if let Some(half) = half {
            emit(half, [&None, &None, half_arithmetic]);
        }
        if let Some(half_arithmetic) = half_arithmetic {
            emit(half_arithmetic, [&None, &None, &None]);
        }
        if let Some(mixed) = mixed {
            emit(mixed, [&None, &None, &None]);
        }
        emit(first, [mixed, half, &None]);
        for layout in &first.structs {
            let known = *structs.entry(&layout.name).or_insert(layout);
            assert!(
                known == layout,
                "two uniform structs are called {}",
                layout.name
            );
        }
    }

    let mut text = String::new();
    for (folder, body) in folders {
        writeln!(text, "pub mod {folder} {{\nuse super::*;\n{body}}}").unwrap();
    }
    writeln!(
        text,
        "/// Every kernel of the crate.\npub static ALL: &[&KernelSource] = &[{all}];"
    )
    .unwrap();
    writeln!(
        text,
        "/// Rust twins of the kernels' uniform structs.\npub mod params {{"
    )
    .unwrap();
    for layout in structs.values() {
        text.push_str(&uniform_struct(layout));
    }
    text.push_str("}\n");
    text
}

/// The kernel as the static `constant`, with its variants for the other storages and the one that
/// computes in half precision.
fn kernel_source(
    kernel: &Kernel,
    constant: &str,
    [mixed, half, computed_in_half]: [String; 3],
) -> String {
    let browser = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|target| target == "wasm32");
    let special = kernel.subgroups || kernel.half_arithmetic || kernel.matrices.is_some();
    let mut bindings = String::new();
    for binding in &kernel.bindings {
        let kind = match binding.kind {
            BindingKind::Uniform { bytes } => format!("Uniform {{ bytes: {bytes} }}"),
            BindingKind::Storage { read_only } => format!("Storage {{ read_only: {read_only} }}"),
            BindingKind::StorageTexture => "StorageTexture".to_string(),
        };
        write!(
            bindings,
            "BindingInfo {{ group: {}, index: {}, name: {:?}, kind: BindingKind::{kind} }}, ",
            binding.group, binding.index, binding.name
        )
        .unwrap();
    }
    format!(
        "/// `shaders/{name}.wgsl`{suffix}.\n\
         pub static {constant}: KernelSource = KernelSource {{ name: \"{name}{suffix}\", wgsl: {wgsl:?}, \
         workgroup_size: {size:?}, workgroup_bytes: {bytes}, subgroups: {subgroups}, \
         half_arithmetic: {half_arithmetic}, matrices: {matrices:?}, bindings: &[{bindings}], \
         constants: &{constants:?}, mixed: {mixed}, half: {half}, computed_in_half: {computed_in_half} }};\n",
        name = kernel.name,
        suffix = kernel.variant.suffix(),
        wgsl = match browser {
            // A page is the better for every kilobyte that it lacks.
            true if special => String::new(),
            true => unindented(&kernel.wgsl),
            false => kernel.wgsl.clone(),
        },
        size = kernel.workgroup_size,
        bytes = kernel.workgroup_bytes,
        subgroups = kernel.subgroups,
        half_arithmetic = kernel.half_arithmetic,
        matrices = kernel.matrices,
        constants = kernel.constants,
    )
}

/// A text without indentation and empty lines: variants of a kernel then lie within the window of the
/// page's compression.
fn unindented(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n")
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
    text
}
