//! The emitted WGSL, parsed again by naga.

use std::path::Path;
use std::sync::LazyLock;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, StorageAccess, TypeInner};

use super::*;
use crate::GpuOptions;
use crate::build::compose::{Composer, Files, read};
use crate::gpu::Gpu;
use crate::stage::testing::gpu;

impl KernelSource {
    /// What is compiled. With `GPAVATAR_SHADER_FILES` it is what the files in that directory compose to, so
    /// that `tests/mutations` edits them without a build.
    pub(super) fn text(&self) -> Cow<'static, str> {
        static FILES: LazyLock<Option<Files>> = LazyLock::new(|| {
            let directory = std::env::var_os("GPAVATAR_SHADER_FILES")?;
            let mut files = Files::new();
            read(Path::new(&directory), "", &mut files).unwrap();
            Some(files)
        });
        let Some(files) = &*FILES else {
            return self.wgsl.into();
        };
        let composer = Composer::new(files, kernels::DEFINITIONS).unwrap();
        let file = self.name.split(", ").next().unwrap();
        let composed = composer.compose(file, self.definitions);
        let composed = composed.unwrap_or_else(|error| panic!("does not compose: {error}"));
        composed.text.into()
    }
}

/// A kernel's emitted WGSL, parsed, and validated with only the optional capabilities that it
/// declares. Anything that its entry point does not reach is removed.
struct Parsed {
    source: &'static KernelSource,
    module: naga::Module,
    layouts: naga::proc::Layouter,
}

fn all() -> impl Iterator<Item = Parsed> {
    kernels::ALL.iter().map(|source| {
        let name = source.name;
        let mut module = naga::front::wgsl::parse_str(source.wgsl)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source.wgsl)));
        // Naga counts packed halves as optional; WebGPU requires them.
        let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        capabilities.set(Capabilities::SUBGROUP, source.subgroups);
        capabilities.set(Capabilities::SHADER_FLOAT16, source.half_arithmetic);
        capabilities.set(Capabilities::COOPERATIVE_MATRIX, source.matrices.is_some());
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        if let Err(error) = validator.validate(&module) {
            panic!("{name}: {}", error.emit_to_string(source.wgsl));
        }
        naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
        let mut layouts = naga::proc::Layouter::default();
        layouts.update(module.to_ctx()).unwrap();
        Parsed {
            source,
            module,
            layouts,
        }
    })
}

impl Parsed {
    /// Sizes in bytes of all variables in an address space.
    fn sizes(&self, space: AddressSpace) -> Vec<u32> {
        let variables = self.module.global_variables.iter();
        let variables = variables.filter(|(_, variable)| variable.space == space);
        variables
            .map(|(_, variable)| self.layouts[variable.ty].size)
            .collect()
    }

    fn storage_buffers(&self) -> usize {
        let variables = self.module.global_variables.iter();
        let is_storage = |space| matches!(space, AddressSpace::Storage { .. });
        variables
            .filter(|(_, variable)| is_storage(variable.space))
            .count()
    }
}

#[test]
fn kernels_stay_within_the_default_limits_of_webgpu() {
    let limits = Gpu::required_limits();
    // From the specification's table of limits.
    assert_eq!(limits.max_storage_buffers_per_shader_stage, 8);
    assert_eq!(limits.max_compute_workgroup_storage_size, 16384);
    assert_eq!(limits.max_compute_invocations_per_workgroup, 256);
    // Kernels that need a feature have a fallback.
    for kernel in all().filter(|kernel| kernel.source.features().is_empty()) {
        let name = kernel.source.name;
        let [x, y, z] = kernel.source.workgroup_size;
        // Both groups together.
        let buffers = kernel.storage_buffers() as u32;
        let uniforms = kernel.sizes(AddressSpace::Uniform);
        let largest = uniforms.iter().max().map_or(0, |bytes| u64::from(*bytes));
        let textures = kernel.sizes(AddressSpace::Handle).len() as u32;
        // Each variable begins at a multiple of 16 bytes.
        let shared = kernel.sizes(AddressSpace::WorkGroup);
        let shared: u32 = shared.iter().map(|bytes| bytes.next_multiple_of(16)).sum();
        assert!(largest <= limits.max_uniform_buffer_binding_size, "{name}");
        for (found, most) in [
            (x, limits.max_compute_workgroup_size_x),
            (y, limits.max_compute_workgroup_size_y),
            (z, limits.max_compute_workgroup_size_z),
            (x * y * z, limits.max_compute_invocations_per_workgroup),
            (buffers, limits.max_storage_buffers_per_shader_stage),
            (
                uniforms.len() as u32,
                limits.max_uniform_buffers_per_shader_stage,
            ),
            (textures, limits.max_storage_textures_per_shader_stage),
            (shared, limits.max_compute_workgroup_storage_size),
        ] {
            assert!(found <= most, "{name}: {found}, expected at most {most}");
        }
        for binding in kernel.source.bindings {
            let (group, index) = (binding.group, binding.index);
            let fits = group < 2 && index < limits.max_bindings_per_bind_group;
            assert!(fits, "{name}: {}", binding.name);
        }
    }
}

#[test]
fn kernels_ask_for_the_extensions_that_they_are_known_to_need() {
    for kernel in all() {
        let source = kernel.source;
        let directives = source.wgsl.lines().filter(|line| {
            let word = line.split_whitespace().next().unwrap_or_default();
            ["enable", "requires", "diagnostic"].contains(&word)
        });
        let directives: Vec<_> = directives.collect();
        // Naga has no directive for subgroups, though browsers ask for one.
        let expected = [
            (source.half_arithmetic, "enable f16;"),
            (source.matrices.is_some(), "enable wgpu_cooperative_matrix;"),
        ];
        let expected = expected.iter().filter(|(needed, _)| *needed);
        let expected: Vec<_> = expected.map(|(_, directive)| *directive).collect();
        assert_eq!(directives, expected, "{}", source.name);
    }
}

/// Checks SPIR-V output, for machines whose device has no cooperative matrices.
#[test]
fn kernels_of_matrices_become_programs_of_vulkan() {
    use naga::back::spv;
    let mut sizes = Vec::new();
    for kernel in all().filter(|kernel| kernel.source.matrices.is_some()) {
        let name = kernel.source.name;
        sizes.extend(kernel.source.matrices);
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        let info = validator.validate(&kernel.module).unwrap();
        let (module, info) = naga::back::pipeline_constants::process_overrides(
            &kernel.module,
            &info,
            None,
            &naga::back::PipelineConstants::default(),
        )
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        let options = spv::Options {
            lang_version: (1, 3),
            ..spv::Options::default()
        };
        let words = spv::write_vec(&module, &info, &options, None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!words.is_empty(), "{name}");
    }
    sizes.sort_unstable();
    sizes.dedup();
    assert_eq!(sizes, [8, 16]);
}

#[test]
fn what_is_known_of_a_kernel_is_what_its_text_declares() {
    for kernel in all() {
        let (source, module) = (kernel.source, &kernel.module);
        let name = source.name;
        let [entry] = module.entry_points.as_slice() else {
            panic!("{name}: {} entry points", module.entry_points.len());
        };
        assert_eq!(entry.workgroup_size, source.workgroup_size, "{name}");
        let shared: u32 = kernel.sizes(AddressSpace::WorkGroup).iter().sum();
        assert_eq!(shared, source.workgroup_bytes, "{name}");

        let mut bindings = source.bindings.iter();
        let bound = module.global_variables.iter();
        let bound = bound.filter_map(|(_, variable)| Some((variable.binding?, variable)));
        let mut bound: Vec<_> = bound.collect();
        bound.sort_by_key(|(at, _)| (at.group, at.binding));
        for (at, variable) in bound {
            let unknown = || panic!("{name}: {variable:?}");
            let binding = bindings.next().unwrap_or_else(unknown);
            let place = (binding.group, binding.index);
            assert_eq!(place, (at.group, at.binding), "{name}");
            let kind = match variable.space {
                AddressSpace::Uniform => BindingKind::Uniform {
                    bytes: kernel.layouts[variable.ty].size.next_multiple_of(16),
                },
                AddressSpace::Storage { access } => BindingKind::Storage {
                    read_only: !access.contains(StorageAccess::STORE),
                },
                _ => {
                    let inner = &module.types[variable.ty].inner;
                    let is_image = matches!(inner, TypeInner::Image { .. });
                    assert!(is_image, "{name}: {inner:?}");
                    BindingKind::StorageTexture
                }
            };
            assert_eq!(binding.kind, kind, "{name}: {}", binding.name);
        }
        assert!(bindings.next().is_none(), "{name}");

        let overrides = module.overrides.iter();
        let overrides: Vec<_> = overrides.map(|(_, o)| o.name.as_deref().unwrap()).collect();
        assert_eq!(overrides, source.constants, "{name}");
    }
}

#[test]
fn constants_have_a_default_and_a_comment() {
    let shaders = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");
    let folders = std::fs::read_dir(shaders).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let texts: Vec<_> = files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for kernel in all() {
        let name = kernel.source.name;
        for (_, constant) in kernel.module.overrides.iter() {
            assert!(constant.init.is_some(), "{name}: {constant:?}");
        }
        for constant in kernel.source.constants {
            let declared = format!("override {constant}:");
            let mut declared_in = 0;
            for text in &texts {
                let lines: Vec<&str> = text.lines().collect();
                let Some(line) = lines.iter().position(|line| line.starts_with(&declared)) else {
                    continue;
                };
                declared_in += 1;
                // One comment may stand for several constants.
                let mut before = lines[..line].iter().rev();
                let before = before.find(|line| !line.starts_with("override"));
                let commented = before.is_some_and(|line| line.starts_with("//"));
                assert!(commented, "{name}: {constant}");
            }
            assert!(declared_in > 0, "{name} does not declare {constant}");
        }
    }
}

/// Each of the library's numeric formats selects the variant that was composed for it.
#[test]
fn variants_are_of_the_definitions_that_they_are_asked_for() {
    for source in kernels::ALL.iter().filter(|of| !of.variants.is_empty()) {
        let mut definitions: Vec<_> = source.variants.iter().map(|v| v.definitions).collect();
        definitions.push(source.definitions);
        for format in kernels::FORMATS {
            let variant = source.variant(format);
            assert!(variant.definitions.iter().all(|name| format.contains(name)));
            // No other variant has more of the format's definitions.
            for other in &definitions {
                let fits = other.iter().all(|name| format.contains(name));
                let most = variant.definitions.len();
                assert!(!fits || other.len() <= most, "{}", source.name);
            }
        }
        assert_eq!(source.variant(&[]).name, source.name);
    }
}

#[test]
fn a_constant_that_a_kernel_does_not_declare_is_an_error() {
    let result = gpu().kernel(&kernels::points::NEAREST, &[("WEIGHTS", 1)]);
    let error = result.err().unwrap();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
    assert!(error.to_string().contains("WEIGHT_SUMS"), "{error}");
}

#[test]
fn threads_that_need_the_same_kernels_compile_each_once() {
    let gpu = Gpu::with_options(&GpuOptions::from_env().unwrap()).unwrap();
    let sources = [&kernels::style_unet::ADD, &kernels::style_unet::LINEAR];
    let kernels = sources.map(|source| gpu.kernel(source, &[]).unwrap());
    assert!(kernels.iter().all(|kernel| !kernel.is_compiled()));
    let compiled = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            scope.spawn(|| {
                let kernels = sources.map(|source| gpu.kernel(source, &[]).unwrap());
                // Each one is in the list several times.
                compile(kernels.iter().chain(&kernels), None);
                kernels.map(|kernel| kernel.pipeline().clone())
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    for pipelines in &compiled {
        assert_eq!(pipelines, &compiled[0]);
    }
    assert!(!compile(&kernels, None), "nothing is left");
    gpu.wait("compiling").unwrap();
}
