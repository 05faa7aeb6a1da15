//! Compute kernels, reflected from their WGSL when the crate was built.

use std::borrow::Cow;
use std::ptr;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::ShaderChecks;
use super::failures::{Failures, captured};
use super::locked;
#[cfg(not(target_arch = "wasm32"))]
use super::pipelines::Pipelines;
use crate::error::{Error, Result};
use crate::options::{Formats, Progress};

/// The kernels under `shaders/`, one [`KernelSource`] each, with a module of constants for each
/// file, and the uniform structs.
#[allow(
    dead_code,
    reason = "all constants are reflected, and not all are needed here"
)]
pub mod kernels {
    use super::{BindingInfo, BindingKind, KernelSource};
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

/// A kernel's self-contained WGSL and its reflection.
#[derive(Debug)]
#[non_exhaustive]
pub struct KernelSource {
    /// Path below `shaders/` without the extension, and the variant.
    pub name: &'static str,
    /// WGSL with all imports resolved. In browsers it is empty for kernels that need a
    /// [feature](Self::features), which never run there.
    pub wgsl: &'static str,
    /// Threads of a workgroup along x, y and z.
    pub workgroup_size: [u32; 3],
    /// Workgroup memory in bytes.
    pub workgroup_bytes: u32,
    /// Whether it uses subgroup operations.
    pub subgroups: bool,
    /// Whether it computes in `f16` rather than only storing it.
    pub half_arithmetic: bool,
    /// Side of its cooperative matrices, if it has any.
    pub matrices: Option<u32>,
    /// All bindings, by group and index. Group 0 belongs to the model; group 1, if any, holds what
    /// changes between frames: an avatar's planes or a frame's target.
    pub bindings: &'static [BindingInfo],
    /// Override constants.
    pub constants: &'static [&'static str],
    /// Shader definitions that it was composed with.
    pub definitions: &'static [&'static str],
    /// The same kernel under other definitions.
    pub variants: &'static [&'static KernelSource],
}

/// A binding of a kernel.
#[derive(Debug)]
pub struct BindingInfo {
    /// Bind group.
    pub group: u32,
    /// Index within the group.
    pub index: u32,
    /// Name in the WGSL.
    pub name: &'static str,
    /// Kind of resource.
    pub kind: BindingKind,
}

/// Kind of a binding's resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingKind {
    /// A uniform struct.
    Uniform {
        /// Size of the struct.
        bytes: u32,
    },
    /// A storage buffer.
    Storage {
        /// Whether the kernel only reads it.
        read_only: bool,
    },
    /// A write-only `rgba8unorm` texture.
    StorageTexture,
}

impl KernelSource {
    /// The variant with the most of these shader definitions.
    #[must_use]
    pub fn variant(&'static self, definitions: &[&str]) -> &'static Self {
        let fits = |of: &&&Self| of.definitions.iter().all(|name| definitions.contains(name));
        let fitting = self.variants.iter().filter(fits);
        fitting
            .max_by_key(|of| of.definitions.len())
            .unwrap_or(&self)
    }

    /// The variant for numeric formats.
    pub(crate) fn with(&'static self, formats: Formats) -> &'static Self {
        self.variant(&formats.definitions())
    }

    /// Workgroups that cover these threads along x, y and z.
    pub(crate) fn workgroups(&self, threads: [u32; 3]) -> [u32; 3] {
        std::array::from_fn(|axis| threads[axis].div_ceil(self.workgroup_size[axis]))
    }

    /// Features that the device must have enabled to run the kernel. Every kernel that needs a
    /// feature has a fallback that needs none.
    #[must_use]
    pub fn features(&self) -> wgpu::Features {
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::SUBGROUP, self.subgroups);
        features.set(wgpu::Features::SHADER_F16, self.half_arithmetic);
        let matrices = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        features.set(matrices, self.matrices.is_some());
        features
    }

    /// Bind groups.
    fn groups(&self) -> u32 {
        let groups = self.bindings.iter().map(|binding| binding.group + 1);
        groups.max().unwrap_or(0)
    }

    /// Checks that a device with these limits can run the kernel.
    ///
    /// # Errors
    /// [`Error::Limit`] with the first limit that is too small.
    pub fn check(&self, limits: &wgpu::Limits) -> Result<()> {
        /// Limits by their names, each with what the kernel needs.
        macro_rules! needs {
            ($($limit:ident: $expected:expr,)*) => {
                [$((stringify!($limit), $expected, limits.$limit),)*]
            };
        }
        let count = |of: fn(BindingKind) -> bool| {
            let bindings = self.bindings.iter().filter(|binding| of(binding.kind));
            bindings.count() as u32
        };
        let uniforms = count(|kind| matches!(kind, BindingKind::Uniform { .. }));
        let buffers = count(|kind| matches!(kind, BindingKind::Storage { .. }));
        let textures = count(|kind| kind == BindingKind::StorageTexture);
        let [x, y, z] = self.workgroup_size;
        for (limit, expected, found) in needs![
            max_bind_groups: self.groups(),
            max_uniform_buffers_per_shader_stage: uniforms,
            max_storage_buffers_per_shader_stage: buffers,
            max_storage_textures_per_shader_stage: textures,
            max_compute_workgroup_storage_size: self.workgroup_bytes,
            max_compute_invocations_per_workgroup: x * y * z,
            max_compute_workgroup_size_x: x,
            max_compute_workgroup_size_y: y,
            max_compute_workgroup_size_z: z,
        ] {
            let what = format_args!("the kernel {}", self.name);
            Error::within(what, limit, expected, found)?;
        }
        Ok(())
    }
}

#[cfg(not(test))]
impl KernelSource {
    /// What is compiled.
    fn text(&self) -> Cow<'static, str> {
        self.wgsl.into()
    }
}

pub(super) type KernelKey = (&'static str, Vec<(&'static str, u32)>);

/// A kernel for a device with its override constants set. Natively it is compiled on first use.
pub struct Kernel {
    pub(crate) source: &'static KernelSource,
    constants: Vec<(&'static str, u32)>,
    compiler: Compiler,
    pipeline: OnceLock<wgpu::ComputePipeline>,
    /// One layout per bind group.
    pub(super) layouts: Vec<wgpu::BindGroupLayout>,
}

/// What kernels are compiled with.
#[derive(Clone)]
pub(super) struct Compiler {
    pub device: wgpu::Device,
    pub shaders: ShaderChecks,
    pub failures: Failures,
    /// Where compiled kernels are kept.
    #[cfg(not(target_arch = "wasm32"))]
    pub pipelines: Option<Arc<Pipelines>>,
}

impl Compiler {
    #[cfg(not(target_arch = "wasm32"))]
    fn cache(&self) -> Option<&wgpu::PipelineCache> {
        self.pipelines.as_ref().map(|pipelines| &pipelines.cache)
    }

    #[cfg(target_arch = "wasm32")]
    fn cache(&self) -> Option<&wgpu::PipelineCache> {
        None
    }

    /// Keeps what has been compiled, natively in a file.
    pub fn save(&self) {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(pipelines) = &self.pipelines {
            pipelines.save();
        }
    }
}

impl Kernel {
    pub(super) fn new(
        compiler: &Compiler,
        source: &'static KernelSource,
        constants: &[(&'static str, u32)],
    ) -> Result<Self> {
        for (name, _) in constants {
            if !source.constants.contains(name) {
                let what = format!("constant {name} of kernel {}", source.name);
                let expected = format!("one of {:?}", source.constants);
                return Err(Error::argument(what, expected, *name));
            }
        }
        let layouts = (0..source.groups()).map(|group| layout(&compiler.device, source, group));
        let kernel = Self {
            source,
            constants: constants.to_vec(),
            compiler: compiler.clone(),
            pipeline: OnceLock::new(),
            layouts: layouts.collect(),
        };
        if cfg!(target_arch = "wasm32") {
            kernel.pipeline();
        }
        Ok(kernel)
    }

    pub(super) fn is_compiled(&self) -> bool {
        self.pipeline.get().is_some()
    }

    /// The compiled kernel. Threads that need the same one wait for the first of them.
    pub(super) fn pipeline(&self) -> &wgpu::ComputePipeline {
        self.pipeline.get_or_init(|| {
            // Any thread may do this, in nobody's scope.
            let (pipeline, error) = captured(&self.compiler.device, || self.compile());
            if let Some(error) = error {
                let reason = format!("the kernel {}: {error}", self.name());
                self.compiler.failures.end(reason);
            }
            pipeline
        })
    }

    fn compile(&self) -> wgpu::ComputePipeline {
        let Self {
            source, compiler, ..
        } = self;
        let Compiler {
            device, shaders, ..
        } = compiler;
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(source.name),
            source: wgpu::ShaderSource::Wgsl(source.text()),
        };
        let trusted = *shaders == ShaderChecks::Trusted;
        let module = if trusted {
            // SAFETY: the shaders are this crate's own, compiled in. Their loops end, and their
            // indices stay within the buffers that `stage` allocates from the same sizes. Whatever
            // the numbers are: an index that is made of floats is clamped as an integer, or its
            // floats are bounded where they are stored (`importance`, `skin`). The test suite also
            // runs every kernel with all checks on.
            unsafe {
                device.create_shader_module_trusted(
                    descriptor,
                    wgpu::ShaderRuntimeChecks::unchecked(),
                )
            }
        } else {
            device.create_shader_module(descriptor)
        };
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(source.name),
            bind_group_layouts: &self.layouts.iter().map(Some).collect::<Vec<_>>(),
            immediate_size: 0,
        });
        let constants = self.constants.iter();
        let constants: Vec<(&str, f64)> = constants.map(|&(name, v)| (name, v.into())).collect();
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(source.name),
            layout: Some(&layout),
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // No kernel reads workgroup memory that it has not written.
                zero_initialize_workgroup_memory: !trusted,
            },
            cache: compiler.cache(),
        })
    }

    /// Keeps what has been compiled for its device.
    pub(super) fn save(&self) {
        self.compiler.save();
    }

    #[cfg(feature = "candidates")]
    pub(super) fn constants(&self) -> &[(&'static str, u32)] {
        &self.constants
    }

    /// Path of the source below `shaders/`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.source.name
    }
}

/// Compiles the kernels that are not compiled yet, natively on all cores, and tells of each. Returns
/// whether there were any.
pub(super) fn compile<'k>(
    kernels: impl IntoIterator<Item = &'k Arc<Kernel>>,
    progress: Option<&Progress>,
) -> bool {
    let mut waiting = Vec::<&Kernel>::new();
    for kernel in kernels {
        let kernel = &**kernel;
        if !kernel.is_compiled() && !waiting.iter().any(|other| ptr::eq(*other, kernel)) {
            waiting.push(kernel);
        }
    }
    if waiting.is_empty() {
        return false;
    }
    let tell = |done: usize| {
        if let Some(progress) = progress {
            progress.tell(done, waiting.len());
        }
    };
    tell(0);
    let done = Mutex::new(0);
    in_parallel(&waiting, |kernel| {
        kernel.pipeline();
        // Held while it is told: the numbers come in order.
        let mut done = locked(&done);
        *done += 1;
        tell(*done);
    });
    true
}

/// Does the work of all items, on as many threads as there are cores.
#[cfg(not(target_arch = "wasm32"))]
fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..cores.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(target_arch = "wasm32")]
fn in_parallel<T>(items: &[T], work: impl Fn(&T)) {
    items.iter().for_each(work);
}

fn layout(device: &wgpu::Device, source: &KernelSource, group: u32) -> wgpu::BindGroupLayout {
    let bindings = source.bindings.iter();
    let bindings = bindings.filter(|binding| binding.group == group);
    let entries: Vec<_> = bindings
        .map(|binding| wgpu::BindGroupLayoutEntry {
            binding: binding.index,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: match binding.kind {
                BindingKind::Uniform { bytes } => wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Uniform,
                    has_dynamic_offset: false,
                    min_binding_size: wgpu::BufferSize::new(bytes.into()),
                },
                BindingKind::Storage { read_only } => wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                BindingKind::StorageTexture => wgpu::BindingType::StorageTexture {
                    access: wgpu::StorageTextureAccess::WriteOnly,
                    format: wgpu::TextureFormat::Rgba8Unorm,
                    view_dimension: wgpu::TextureViewDimension::D2,
                },
            },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(source.name),
        entries: &entries,
    })
}

#[cfg(test)]
mod tests;
