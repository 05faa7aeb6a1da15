//! Recorded lists of dispatches: planned once, replayed every frame.

use std::collections::HashMap;
use std::sync::Arc;

use super::kernel::{BindingKind, Kernel, compile};
use super::memory::Lifetimes;
use super::{Gpu, KernelSource, KernelTime, Tensor, Times};
use crate::error::{Error, Result};
use crate::options::{Format, Formats, ModelOptions, Progress};

/// A fixed list of dispatches and their bind groups.
pub(crate) struct Program {
    steps: Vec<Step>,
    /// Copies of named results.
    taps: HashMap<String, Tap>,
    /// The workspace, including that of [`ProgramBuilder::share`].
    memory: Vec<wgpu::Buffer>,
    /// Bytes of its own workspace.
    pub(crate) bytes: u64,
}

/// A named result.
struct Tap {
    /// The step that wrote it.
    step: usize,
    result: Tensor,
    copy: Tensor,
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

/// Conditions under which a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Noise is generated rather than stored.
    GeneratedNoise,
    /// The points follow a head model rather than being given.
    HeadModel,
    /// The picture has alpha.
    Alpha,
}

/// The conditions that hold for a recording.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    pub generated_noise: bool,
    pub head_model: bool,
    pub alpha: bool,
    /// Only this stage runs.
    pub stage: Option<&'static str>,
}

impl Conditions {
    fn hold(self, step: &Step) -> bool {
        let wanted = match step.when {
            None => true,
            Some(When::GeneratedNoise) => self.generated_noise,
            Some(When::HeadModel) => self.head_model,
            Some(When::Alpha) => self.alpha,
        };
        wanted && self.stage.is_none_or(|stage| stage == step.stage)
    }
}

/// Bind groups (group 1) by step, for resources of an avatar or a frame.
pub(crate) struct Bindings {
    groups: HashMap<usize, wgpu::BindGroup>,
}

/// A resource to bind by name.
#[derive(Clone, Copy)]
pub(crate) enum Resource<'a> {
    Tensor(&'a Tensor),
    Texture(&'a wgpu::TextureView),
}

/// One dispatch while a program is being planned.
pub(crate) struct Dispatch {
    pub(super) label: String,
    pub(super) kernel: Arc<Kernel>,
    pub(super) bound: Vec<(&'static str, Tensor)>,
    uniforms: Vec<(&'static str, Vec<u8>)>,
    pub(super) grid: [u32; 3],
    /// Whether the grid is a row, to be folded if it is too long.
    row: bool,
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
            row: false,
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

    /// Threads along x, y and z.
    pub(crate) fn threads(self, threads: [u32; 3]) -> Self {
        let grid = self.kernel.source.workgroups(threads);
        self.grid(grid)
    }

    /// Threads in a row. The kernel unfolds `workgroup_id.y * num_workgroups.x + workgroup_id.x`.
    pub(crate) fn row_of_threads(self, threads: u32) -> Self {
        let [workgroups, ..] = self.kernel.source.workgroups([threads, 1, 1]);
        self.row(workgroups)
    }

    /// Workgroups in a row, unfolded likewise.
    pub(crate) fn row(self, workgroups: u32) -> Self {
        Self {
            row: true,
            ..self.grid([workgroups, 1, 1])
        }
    }

    pub(crate) fn when(mut self, when: When) -> Self {
        self.when = Some(when);
        self
    }

    /// Floating-point operations and the fewest bytes moved, for profiles.
    pub(crate) fn cost(mut self, flops: f64, bytes: f64) -> Self {
        (self.flops, self.bytes) = (flops, bytes);
        self
    }
}

/// Sizes above which work is split. Tests choose smaller ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Splits {
    /// Workgroups of a grid along x.
    pub row: u32,
    /// Bytes of a band of Winograd's transformed tiles (the products take as many again): small
    /// enough for a cache, large enough to occupy a device.
    pub band: u64,
}

impl Default for Splits {
    fn default() -> Self {
        Self {
            row: 32768,
            band: 32 << 20,
        }
    }
}

/// Plans a program: workspace, parameters, bind groups.
pub(crate) struct ProgramBuilder<'a> {
    gpu: &'a Gpu,
    stage: &'static str,
    formats: Formats,
    splits: Splits,
    trace: bool,
    #[cfg(feature = "candidates")]
    candidate: Option<super::Candidate>,
    /// Whether kernels skip space without opacity. Only a test turns this off.
    skip_empty: bool,
    lent: Vec<wgpu::Buffer>,
    lifetimes: Lifetimes,
    dispatches: Vec<(&'static str, Dispatch)>,
    taps: HashMap<String, Tap>,
}

impl<'a> ProgramBuilder<'a> {
    pub(crate) fn new(gpu: &'a Gpu, formats: Formats) -> Self {
        Self {
            gpu,
            stage: "",
            formats,
            splits: Splits::default(),
            trace: false,
            #[cfg(feature = "candidates")]
            candidate: None,
            skip_empty: true,
            lent: Vec::new(),
            lifetimes: Lifetimes::default(),
            dispatches: Vec::new(),
            taps: HashMap::new(),
        }
    }

    /// Copies named results and replaces a kernel, if the options ask for it.
    pub(crate) fn options(self, options: &ModelOptions) -> Self {
        Self {
            trace: options.trace,
            #[cfg(feature = "candidates")]
            candidate: options.candidate.clone(),
            ..self
        }
    }

    #[cfg(test)]
    pub(crate) fn split(self, splits: Splits) -> Self {
        Self { splits, ..self }
    }

    /// Computes empty space as well.
    #[cfg(test)]
    pub(crate) fn whole(self) -> Self {
        Self {
            skip_empty: false,
            ..self
        }
    }

    pub(crate) fn skips_empty(&self) -> bool {
        self.skip_empty
    }

    /// Uses the workspace of another program. Each overwrites the other's results.
    pub(crate) fn share(&mut self, other: &Program) {
        self.lent.extend_from_slice(&other.memory);
    }

    pub(crate) fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    pub(crate) fn splits(&self) -> Splits {
        self.splits
    }

    /// Numeric formats of the current stage.
    pub(crate) fn formats(&self) -> Formats {
        self.formats
    }

    /// Begins a stage with its numeric formats.
    pub(crate) fn store(&mut self, formats: Formats) {
        self.formats = formats;
    }

    /// The kernel for the formats of the current stage, with 32-bit arithmetic.
    pub(crate) fn kernel(
        &self,
        source: &'static KernelSource,
        constants: &[(&'static str, u32)],
    ) -> Result<Arc<Kernel>> {
        self.kernel_in(source, Format::F32, constants)
    }

    /// The same with another arithmetic format.
    pub(crate) fn kernel_in(
        &self,
        source: &'static KernelSource,
        arithmetic: Format,
        constants: &[(&'static str, u32)],
    ) -> Result<Arc<Kernel>> {
        let formats = Formats {
            arithmetic,
            ..self.formats
        };
        self.gpu.kernel(source.with(formats), constants)
    }

    /// A row of workgroups as a grid, folded if it is too long.
    pub(crate) fn folded(&self, workgroups: u32) -> [u32; 3] {
        let longest = self.splits.row;
        let rows = workgroups.div_ceil(longest).max(1);
        [workgroups.min(longest), rows, 1]
    }

    /// Names the stage of the dispatches that follow.
    pub(crate) fn stage(&mut self, stage: &'static str) {
        self.stage = stage;
    }

    /// A tensor in the workspace, usable once the program is finished. See [`Tensor::shape`] for
    /// the layout.
    pub(crate) fn tensor(
        &mut self,
        label: &str,
        format: Format,
        shape: [u32; 3],
    ) -> Result<Tensor> {
        let tensor = Tensor::planned(self.gpu, label, format, shape)?;
        self.lifetimes.begin(label, &tensor);
        Ok(tensor)
    }

    /// Frees a tensor's memory for the steps that follow.
    pub(crate) fn release(&mut self, tensor: Tensor) {
        self.lifetimes.end(&tensor);
    }

    /// Names a result of the last dispatch for inspection. It is copied after that dispatch, so a
    /// trace runs the same kernels in the same memory.
    pub(crate) fn tap(&mut self, name: impl Into<String>, result: &Tensor) -> Result<()> {
        if self.trace {
            let name = name.into();
            let copy = result.twin(self.gpu, &name)?;
            let tap = Tap {
                step: self.dispatches.len() - 1,
                result: result.clone(),
                copy,
            };
            self.taps.insert(name, tap);
        }
        Ok(())
    }

    pub(crate) fn dispatch(&mut self, mut dispatch: Dispatch) {
        if dispatch.row {
            dispatch.grid = self.folded(dispatch.grid[0]);
        }
        self.dispatches.push((self.stage, dispatch));
    }

    /// Allocates the workspace, uploads all parameters and creates all bind groups.
    ///
    /// # Errors
    /// [`Error::Limit`] if a dispatch or the parameters are too large for the device.
    #[cfg_attr(not(feature = "candidates"), allow(unused_mut))]
    pub(crate) fn finish(mut self) -> Result<Program> {
        #[cfg(feature = "candidates")]
        self.replace()?;
        let limits = self.gpu.device().limits();
        for (_, dispatch) in &self.dispatches {
            let what = format_args!("{} ({})", dispatch.label, dispatch.kernel.name());
            let limit = "max_compute_workgroups_per_dimension";
            let found = limits.max_compute_workgroups_per_dimension;
            for count in dispatch.grid {
                Error::within(what, limit, count, found)?;
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
                bound.push((name, parameters.part(offset, bytes)));
            }
            let find = |name: &str| {
                let (_, tensor) = bound.iter().find(|(n, _)| *n == name)?;
                Some(Resource::Tensor(tensor))
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
            bytes: bytes + parameters.bytes(),
        })
    }
}

#[cfg(feature = "candidates")]
impl ProgramBuilder<'_> {
    /// Replaces the kernel that there is a candidate for, and names what the dispatch writes.
    fn replace(&mut self) -> Result<()> {
        let Some(candidate) = &self.candidate else {
            return Ok(());
        };
        for (step, (_, dispatch)) in self.dispatches.iter_mut().enumerate() {
            if !candidate.is_for(dispatch) {
                continue;
            }
            for (name, result) in candidate.replace(self.gpu, dispatch)? {
                let copy = result.twin(self.gpu, &name)?;
                self.taps.insert(name, Tap { step, result, copy });
            }
        }
        Ok(())
    }
}

/// The bind group of a kernel, or `None` if `find` lacks one of its names.
fn bind_group<'r>(
    gpu: &Gpu,
    kernel: &Kernel,
    group: u32,
    find: impl Fn(&str) -> Option<Resource<'r>>,
) -> Option<wgpu::BindGroup> {
    let mut entries = Vec::new();
    for binding in kernel.source.bindings.iter().filter(|b| b.group == group) {
        let resource = find(binding.name)?;
        let is_texture = matches!(resource, Resource::Texture(_));
        debug_assert_eq!(is_texture, binding.kind == BindingKind::StorageTexture);
        entries.push(wgpu::BindGroupEntry {
            binding: binding.index,
            resource: match resource {
                Resource::Tensor(tensor) => tensor.binding(),
                Resource::Texture(view) => wgpu::BindingResource::TextureView(view),
            },
        });
    }
    Some(gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(kernel.source.name),
        layout: &kernel.layouts[group as usize],
        entries: &entries,
    }))
}

fn unbound(kernel: &Kernel, group: u32) -> Error {
    let bindings = kernel.source.bindings.iter().filter(|b| b.group == group);
    let names: Vec<_> = bindings.map(|b| b.name).collect();
    let what = format!("bindings of {}", kernel.name());
    Error::argument(what, format!("{names:?}"), "fewer")
}

/// Target and conditions of a recording.
pub(crate) struct Recording<'a> {
    pub encoder: &'a mut wgpu::CommandEncoder,
    /// Bindings of group 1, from an avatar and from a frame.
    pub bindings: &'a [&'a Bindings],
    pub conditions: Conditions,
    pub times: Times<'a>,
}

impl Program {
    /// Binds `resources` to the steps whose group 1 they cover.
    pub(crate) fn bind(&self, gpu: &Gpu, resources: &[(&str, Resource<'_>)]) -> Bindings {
        let find = |name: &str| Some(resources.iter().find(|(n, _)| *n == name)?.1);
        let steps = self.steps.iter().enumerate();
        let steps = steps.filter(|(_, step)| step.kernel.layouts.len() > 1);
        let bound =
            steps.filter_map(|(i, step)| Some((i, bind_group(gpu, &step.kernel, 1, find)?)));
        Bindings {
            groups: bound.collect(),
        }
    }

    /// Names of the kernels that are dispatched, in order.
    pub(crate) fn kernels(&self) -> impl Iterator<Item = &'static str> {
        self.kernels_of_steps().map(|kernel| kernel.name())
    }

    /// Compiles the kernels of all steps; the first recording does so, too. Returns whether there
    /// were any.
    pub(crate) fn compile(&self, progress: Option<&Progress>) -> bool {
        compile(self.kernels_of_steps(), progress)
    }

    pub(super) fn kernels_of_steps(&self) -> impl Iterator<Item = &Arc<Kernel>> {
        self.steps.iter().map(|step| &step.kernel)
    }

    /// Submits a program that binds nothing from outside.
    pub(crate) fn run(&self, gpu: &Gpu) -> Result<()> {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        self.record(Recording {
            encoder: &mut encoder,
            bindings: &[],
            conditions: Conditions::default(),
            times: Times::None,
        })?;
        gpu.queue().submit([encoder.finish()]);
        Ok(())
    }

    /// Records a program that binds nothing from outside `times` over, in one pass.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn repeat(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        times: u32,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) -> Result<()> {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("gpavatar, timed"),
            timestamp_writes,
        });
        for _ in 0..times {
            for (index, step) in self.steps.iter().enumerate() {
                step.dispatch(index, &[], &mut pass)?;
            }
        }
        Ok(())
    }

    /// Records all steps whose conditions hold.
    pub(crate) fn record(&self, recording: Recording<'_>) -> Result<()> {
        let Recording {
            encoder,
            bindings,
            conditions,
            mut times,
        } = recording;
        if self.compile(None)
            && let Some(step) = self.steps.first()
        {
            step.kernel.save();
        }
        let active = self.steps.iter().enumerate();
        let mut active = active.filter(|(_, step)| conditions.hold(step)).peekable();
        while let Some(&(mut last, step)) = active.peek() {
            if let Times::Kernels(timer) = &mut times {
                timer.pass(encoder, step.untimed(), |pass| {
                    step.dispatch(last, bindings, pass)
                })?;
                active.next();
            } else {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some("gpavatar"),
                    timestamp_writes: times.of_pass(self.taps.is_empty()),
                });
                for (index, step) in active.by_ref() {
                    step.dispatch(index, bindings, &mut pass)?;
                    last = index;
                    if self.tapped(index).next().is_some() {
                        break;
                    }
                }
            }
            for tap in self.tapped(last) {
                tap.result.copy_to(encoder, &tap.copy);
            }
        }
        if let Some(end) = times.of_pass(true) {
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("gpavatar, end"),
                timestamp_writes: Some(end),
            });
        }
        Ok(())
    }

    fn tapped(&self, step: usize) -> impl Iterator<Item = &Tap> {
        self.taps.values().filter(move |tap| tap.step == step)
    }

    /// Named results of the last recording.
    pub(crate) fn taps(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let taps = self.taps.iter();
        taps.map(|(name, tap)| (name.as_str(), &tap.copy))
    }
}

impl Step {
    fn untimed(&self) -> KernelTime {
        KernelTime {
            stage: self.stage,
            label: self.label.clone(),
            kernel: self.kernel.name(),
            start: 0.0,
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
        pass.set_pipeline(self.kernel.pipeline());
        pass.set_bind_group(0, &self.group, &[]);
        if self.kernel.layouts.len() > 1 {
            let group = bindings.iter().find_map(|bound| bound.groups.get(&index));
            let group = group.ok_or_else(|| unbound(&self.kernel, 1))?;
            pass.set_bind_group(1, group, &[]);
        }
        pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
        Ok(())
    }
}
