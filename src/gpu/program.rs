//! Recorded lists of dispatches: planned once, replayed every frame.

use std::collections::HashMap;
use std::sync::Arc;

use super::kernel::{BindingKind, Kernel};
use super::memory::Lifetimes;
use super::{Format, Gpu, KernelSource, KernelTime, Storage, Tensor, Timer};
use crate::{Error, Result};

/// A fixed list of dispatches with everything that they need bound.
pub(crate) struct Program {
    steps: Vec<Step>,
    /// Named results, kept when the program was built for tracing.
    pub(crate) taps: HashMap<String, Tap>,
    /// All working memory, also that which another program lent.
    memory: Vec<wgpu::Buffer>,
    /// Bytes of working memory of its own.
    pub(crate) bytes: u64,
}

/// A named intermediate result of a model that keeps them
/// ([`ModelOptions::trace`](crate::ModelOptions::trace)).
#[derive(Clone, Debug)]
pub struct Tap {
    tensor: Tensor,
    format: Format,
    rows: usize,
    columns: usize,
    stride: usize,
}

impl Tap {
    /// Rows (pixels, samples) and columns (channels).
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Copies the values to the host, `[row][column]`: numbers of 32 bits each, also where the model
    /// stores fewer.
    ///
    /// # Errors
    /// [`Error::Argument`] if `T` is of another size, [`Error::Gpu`] if the device failed.
    pub async fn read<T: bytemuck::Pod>(&self, gpu: &Gpu) -> Result<Vec<T>> {
        if size_of::<T>() != 4 {
            let found = format!("{} bytes", size_of::<T>());
            return Err(Error::argument("type of a tap's numbers", "4 bytes", found));
        }
        let stored: Vec<T> = match self.format {
            Format::F32 => self.tensor.read(gpu).await?,
            Format::F16 => {
                let count = self.rows * self.stride;
                let values = (self.tensor).read_stored(gpu, Format::F16, count).await?;
                bytemuck::cast_slice(&values).to_vec()
            }
        };
        let rows = stored.chunks(self.stride).take(self.rows);
        Ok(rows.flat_map(|row| &row[..self.columns]).copied().collect())
    }
}

struct Step {
    label: String,
    stage: &'static str,
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    when: Option<When>,
    flops: f64,
    bytes: f64,
}

/// Circumstances under which a step runs at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Noise is generated rather than stored.
    GeneratedNoise,
    /// The points follow a head model rather than being given.
    HeadModel,
}

/// Which circumstances hold for a recording.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    pub generated_noise: bool,
    pub head_model: bool,
    /// Only this stage runs.
    pub stage: Option<&'static str>,
}

impl Conditions {
    fn hold(self, step: &Step) -> bool {
        let wanted = match step.when {
            None => true,
            Some(When::GeneratedNoise) => self.generated_noise,
            Some(When::HeadModel) => self.head_model,
        };
        wanted && self.stage.is_none_or(|stage| stage == step.stage)
    }
}

/// Bind groups (group 1) of the steps that use what an avatar or a frame owns.
pub(crate) struct Bindings {
    groups: HashMap<usize, wgpu::BindGroup>,
}

/// Something to bind by name.
pub(crate) enum Resource<'a> {
    Tensor(&'a Tensor),
    Texture(&'a wgpu::TextureView),
}

/// One dispatch while a program is being planned.
pub(crate) struct Dispatch {
    label: String,
    kernel: Arc<Kernel>,
    bound: Vec<(&'static str, Tensor)>,
    uniforms: Vec<(&'static str, Vec<u8>)>,
    grid: [u32; 3],
    when: Option<When>,
    flops: f64,
    bytes: f64,
}

impl Dispatch {
    pub(crate) fn new(label: impl Into<String>, kernel: &Arc<Kernel>) -> Self {
        Self {
            label: label.into(),
            kernel: kernel.clone(),
            bound: Vec::new(),
            uniforms: Vec::new(),
            grid: [1; 3],
            when: None,
            flops: 0.0,
            bytes: 0.0,
        }
    }

    /// Binds a tensor to a name of the kernel.
    pub(crate) fn bind(mut self, name: &'static str, tensor: &Tensor) -> Self {
        self.bound.push((name, tensor.clone()));
        self
    }

    /// Binds a constant uniform struct.
    pub(crate) fn uniform(mut self, name: &'static str, value: impl bytemuck::Pod) -> Self {
        self.uniforms
            .push((name, bytemuck::bytes_of(&value).to_vec()));
        self
    }

    /// Workgroups along x, y and z.
    pub(crate) fn grid(mut self, grid: [u32; 3]) -> Self {
        self.grid = grid;
        self
    }

    pub(crate) fn when(mut self, when: When) -> Self {
        self.when = Some(when);
        self
    }

    /// Floating-point operations and bytes moved at least, for profiles.
    pub(crate) fn cost(mut self, flops: f64, bytes: f64) -> Self {
        (self.flops, self.bytes) = (flops, bytes);
        self
    }
}

/// Plans a program: working memory, parameters, bind groups.
pub(crate) struct ProgramBuilder<'a> {
    gpu: &'a Gpu,
    stage: &'static str,
    storage: Storage,
    /// Keeps every tensor and its name instead of reusing memory.
    trace: bool,
    lent: Vec<wgpu::Buffer>,
    lifetimes: Lifetimes,
    dispatches: Vec<(&'static str, Dispatch)>,
    taps: HashMap<String, Tap>,
}

impl<'a> ProgramBuilder<'a> {
    pub(crate) fn new(gpu: &'a Gpu, storage: Storage, trace: bool) -> Self {
        Self {
            gpu,
            stage: "",
            storage,
            trace,
            lent: Vec::new(),
            lifetimes: Lifetimes::default(),
            dispatches: Vec::new(),
            taps: HashMap::new(),
        }
    }

    /// Works in the memory of another program, too: neither finds again what it left there. Not where
    /// tensors are kept for inspection.
    pub(crate) fn share(&mut self, other: &Program) {
        if !self.trace {
            self.lent.extend_from_slice(&other.memory);
        }
    }

    pub(crate) fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// How the numbers of the stages that follow are stored.
    pub(crate) fn store(&mut self, storage: Storage) {
        self.storage = storage;
    }

    /// How the current stage's numbers are stored.
    pub(crate) fn storage(&self) -> Storage {
        self.storage
    }

    /// The kernel for numbers stored as the current stage's.
    pub(crate) fn kernel(
        &self,
        source: &'static KernelSource,
        constants: &[(&'static str, u32)],
    ) -> Result<Arc<Kernel>> {
        self.gpu.kernel(source.stored(self.storage), constants)
    }

    /// Whether tensors are kept for inspection.
    pub(crate) fn trace(&self) -> bool {
        self.trace
    }

    /// Names the stage of the dispatches that follow.
    pub(crate) fn stage(&mut self, stage: &'static str) {
        self.stage = stage;
    }

    /// Working memory for `elements` f32, not to be used before the program is finished.
    pub(crate) fn tensor(&mut self, label: &str, elements: u64) -> Result<Tensor> {
        self.memory(label, Format::F32.bytes(elements))
    }

    /// Working memory for `elements` numbers as the stage's maps are stored.
    pub(crate) fn stored(&mut self, label: &str, elements: u64) -> Result<Tensor> {
        self.memory(label, self.storage.maps().bytes(elements))
    }

    /// Working memory for `elements` numbers as samples' values are stored.
    pub(crate) fn values(&mut self, label: &str, elements: u64) -> Result<Tensor> {
        self.memory(label, self.storage.values().bytes(elements))
    }

    fn memory(&mut self, label: &str, bytes: u64) -> Result<Tensor> {
        let tensor = Tensor::planned(self.gpu, label, bytes)?;
        self.lifetimes.begin(label, &tensor);
        Ok(tensor)
    }

    /// Gives working memory to the steps that follow.
    pub(crate) fn release(&mut self, tensor: Tensor) {
        if !self.trace {
            self.lifetimes.end(&tensor);
        }
    }

    /// Names a result of `rows` times `columns` numbers for inspection; rows are `stride` apart.
    pub(crate) fn tap(&mut self, name: impl Into<String>, tensor: &Tensor, shape: [u32; 3]) {
        self.tap_in(Format::F32, name, tensor, shape);
    }

    /// Like [`Self::tap`], for numbers as the stage's maps are stored.
    pub(crate) fn tap_stored(&mut self, name: impl Into<String>, tensor: &Tensor, shape: [u32; 3]) {
        self.tap_in(self.storage.maps(), name, tensor, shape);
    }

    /// Like [`Self::tap`], for numbers as samples' values are stored.
    pub(crate) fn tap_values(&mut self, name: impl Into<String>, tensor: &Tensor, shape: [u32; 3]) {
        self.tap_in(self.storage.values(), name, tensor, shape);
    }

    fn tap_in(
        &mut self,
        format: Format,
        name: impl Into<String>,
        tensor: &Tensor,
        [rows, columns, stride]: [u32; 3],
    ) {
        if self.trace {
            let tap = Tap {
                tensor: tensor.clone(),
                format,
                rows: rows as usize,
                columns: columns as usize,
                stride: stride as usize,
            };
            self.taps.insert(name.into(), tap);
        }
    }

    pub(crate) fn dispatch(&mut self, dispatch: Dispatch) {
        self.dispatches.push((self.stage, dispatch));
    }

    /// Allocates working memory, uploads all parameters and creates all bind groups.
    ///
    /// # Errors
    /// [`Error::Limit`] if a dispatch or the parameters are too large for the device.
    pub(crate) fn finish(self) -> Result<Program> {
        let limits = self.gpu.device().limits();
        for (_, dispatch) in &self.dispatches {
            let found = limits.max_compute_workgroups_per_dimension;
            if let Some(&expected) = dispatch.grid.iter().find(|&&count| count > found) {
                return Err(Error::Limit {
                    what: format!("{} ({})", dispatch.label, dispatch.kernel.name()),
                    limit: "max_compute_workgroups_per_dimension",
                    expected: expected.into(),
                    found: found.into(),
                });
            }
        }
        let (memory, bytes) = self.lifetimes.allocate(self.gpu, self.lent)?;
        let alignment = limits.min_uniform_buffer_offset_alignment as usize;
        let mut parameters = Vec::new();
        let mut offsets = Vec::new();
        for (_, dispatch) in &self.dispatches {
            for (_, value) in &dispatch.uniforms {
                parameters.resize(parameters.len().next_multiple_of(alignment), 0);
                offsets.push(parameters.len());
                parameters.extend_from_slice(value);
            }
        }
        let parameters = Tensor::uniform(self.gpu, "parameters", &parameters)?;
        let mut offsets = offsets.into_iter();
        let mut steps = Vec::with_capacity(self.dispatches.len());
        for (stage, dispatch) in self.dispatches {
            let mut bound = dispatch.bound;
            for (name, value) in &dispatch.uniforms {
                let offset = offsets.next().map_or(0, |offset| offset as u64);
                let bytes = (value.len() as u64).next_multiple_of(16);
                bound.push((
                    name,
                    Tensor {
                        offset,
                        bytes,
                        ..parameters.clone()
                    },
                ));
            }
            let find = |name: &str| {
                bound
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, tensor)| Resource::Tensor(tensor))
            };
            let group = bind_group(self.gpu, &dispatch.kernel, 0, find)
                .ok_or_else(|| unbound(&dispatch.kernel, 0))?;
            steps.push(Step {
                label: dispatch.label,
                stage,
                kernel: dispatch.kernel,
                group,
                grid: dispatch.grid,
                when: dispatch.when,
                flops: dispatch.flops,
                bytes: dispatch.bytes,
            });
        }
        Ok(Program {
            steps,
            taps: self.taps,
            memory,
            bytes: bytes + parameters.bytes,
        })
    }
}

/// The bind group of a kernel, or nothing if `find` does not know all of its names.
fn bind_group<'r>(
    gpu: &Gpu,
    kernel: &Kernel,
    group: u32,
    find: impl Fn(&str) -> Option<Resource<'r>>,
) -> Option<wgpu::BindGroup> {
    let mut resources = Vec::new();
    for binding in kernel.source.bindings.iter().filter(|b| b.group == group) {
        let resource = find(binding.name)?;
        debug_assert!(
            matches!(resource, Resource::Texture(_))
                == (binding.kind == BindingKind::StorageTexture)
        );
        resources.push((binding.index, resource));
    }
    let entries: Vec<_> = resources
        .iter()
        .map(|(index, resource)| wgpu::BindGroupEntry {
            binding: *index,
            resource: match resource {
                Resource::Tensor(tensor) => tensor.binding(),
                Resource::Texture(view) => wgpu::BindingResource::TextureView(view),
            },
        })
        .collect();
    Some(gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(kernel.source.name),
        layout: &kernel.layouts[group as usize],
        entries: &entries,
    }))
}

fn unbound(kernel: &Kernel, group: u32) -> Error {
    let names: Vec<_> = kernel
        .source
        .bindings
        .iter()
        .filter(|b| b.group == group)
        .map(|b| b.name)
        .collect();
    Error::argument(
        format!("bindings of {}", kernel.name()),
        format!("{names:?}"),
        "fewer",
    )
}

/// Where and under which circumstances a program is recorded.
pub(crate) struct Recording<'a> {
    pub encoder: &'a mut wgpu::CommandEncoder,
    /// Bindings of group 1, from an avatar and from a frame.
    pub bindings: &'a [&'a Bindings],
    pub conditions: Conditions,
    /// Times each dispatch, in a pass of its own.
    pub timer: Option<&'a mut Timer>,
}

impl Program {
    /// Binds `resources` to the steps whose group 1 they cover.
    pub(crate) fn bind(&self, gpu: &Gpu, resources: &[(&str, Resource<'_>)]) -> Bindings {
        let find = |name: &str| {
            resources
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, resource)| match resource {
                    Resource::Tensor(tensor) => Resource::Tensor(tensor),
                    Resource::Texture(view) => Resource::Texture(view),
                })
        };
        let groups = self
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.kernel.layouts.len() > 1)
            .filter_map(|(index, step)| Some((index, bind_group(gpu, &step.kernel, 1, find)?)))
            .collect();
        Bindings { groups }
    }

    /// Names of the kernels that are dispatched, in order.
    pub(crate) fn kernels(&self) -> impl Iterator<Item = &'static str> {
        self.steps.iter().map(|step| step.kernel.name())
    }

    /// Submits a program that needs nothing from outside.
    pub(crate) fn run(&self, gpu: &Gpu) -> Result<()> {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        self.record(Recording {
            encoder: &mut encoder,
            bindings: &[],
            conditions: Conditions::default(),
            timer: None,
        })?;
        gpu.queue().submit([encoder.finish()]);
        Ok(())
    }

    /// Records all steps whose circumstances hold.
    pub(crate) fn record(&self, recording: Recording<'_>) -> Result<()> {
        let Recording {
            encoder,
            bindings,
            conditions,
            timer,
        } = recording;
        let active = self
            .steps
            .iter()
            .enumerate()
            .filter(|(_, s)| conditions.hold(s));
        match timer {
            Some(timer) => {
                for (index, step) in active {
                    timer.pass(encoder, step.untimed(), |pass| {
                        step.dispatch(index, bindings, pass)
                    })?;
                }
            }
            None => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some("gpavatar"),
                    timestamp_writes: None,
                });
                for (index, step) in active {
                    step.dispatch(index, bindings, &mut pass)?;
                }
            }
        }
        Ok(())
    }
}

impl Step {
    fn untimed(&self) -> KernelTime {
        KernelTime {
            stage: self.stage,
            label: self.label.clone(),
            kernel: self.kernel.name(),
            milliseconds: 0.0,
            flops: self.flops,
            bytes: self.bytes,
        }
    }

    fn dispatch(
        &self,
        index: usize,
        bindings: &[&Bindings],
        pass: &mut wgpu::ComputePass<'_>,
    ) -> Result<()> {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        if self.kernel.layouts.len() > 1 {
            let group = bindings
                .iter()
                .find_map(|bindings| bindings.groups.get(&index))
                .ok_or_else(|| unbound(&self.kernel, 1))?;
            pass.set_bind_group(1, group, &[]);
        }
        pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
        Ok(())
    }
}
