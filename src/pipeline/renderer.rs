//! From points and a camera to a picture.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::slots::{Slot, SlotPool};
use super::uniforms::{Uniform, camera_uniform};
use crate::drive::{Drive, Geometry, ResolvedDrive};
use crate::error::{Error, Result};
use crate::gpu::kernels::params;
use crate::gpu::{
    Bindings, Downloads, Gpu, Program, ProgramBuilder, Recording, Snapshot, Tensor, Times, Tuner,
    Uploads,
};
use crate::options::{Background, Format, ModelOptions, Noise, Precision, RenderOptions};
use crate::stage::field::Field;
use crate::stage::head::Head;
use crate::stage::points::Points;
use crate::stage::rays::Rays;
use crate::stage::style_unet::StyleUnet;
use crate::stage::{output, style_unet};
use crate::weights::{Weights, pack};

/// Name of the stage from the low-resolution image to the picture.
const SUPER_RESOLVER: &str = "super-resolver";

/// Renders a drive to a picture.
pub(crate) struct Renderer {
    pub program: Program,
    pub weight_bytes: u64,
    uniform: Uniform,
    coefficients: Tensor,
    points: Tensor,
    uploads: Uploads,
    pub downloads: Downloads,
    frames: SlotPool,
    image: Tensor,
    low_res: Tensor,
    depth: Tensor,
    surface: Tensor,
    stamp: Tensor,
    /// Number of the last recording.
    recorded: AtomicU32,
}

impl Renderer {
    pub(crate) fn new(
        (gpu, tuner): (&Gpu, &Tuner),
        weights: &Weights,
        head: Option<&Head>,
        options: &ModelOptions,
    ) -> Result<Self> {
        let b = ProgramBuilder::new(gpu, options.precision.field()).options(options);
        Self::plan(b, tuner, weights, head, options.precision)
    }

    /// `b` begins with the formats of the field.
    pub(super) fn plan(
        mut b: ProgramBuilder<'_>,
        tuner: &Tuner,
        weights: &Weights,
        head: Option<&Head>,
        precision: Precision,
    ) -> Result<Self> {
        let gpu = b.gpu();
        let config = weights.config();
        let found = gpu.device().limits().max_texture_dimension_2d;
        let size = config.output_size;
        Error::within("the picture", "max_texture_dimension_2d", size, found)?;
        let super_resolver = precision.super_resolver();
        let sizes = config.super_resolver();
        let net = StyleUnet::new((gpu, tuner), weights, &sizes, super_resolver)?;
        let field = Field::new(gpu, weights, b.formats())?;
        let uniform = Uniform::new(gpu, &net)?;

        let floats = head.map_or(0, Head::coefficients) as u32;
        let coefficients = b.tensor("coefficients", Format::F32, [1, floats, 1])?;
        let positions = b.tensor("points", Format::F32, [1, config.points, 4])?;
        if let Some(head) = head {
            head.skin(&mut b, &coefficients, &positions)?;
        }
        let points = Points::cluster(&mut b, config, positions)?;
        let (rays, coarse) = Rays::generate(&mut b, config, &uniform.tensor)?;
        field.view(&mut b, &rays)?;
        let evaluate = |b: &mut ProgramBuilder<'_>, pass| {
            let globals = &uniform.tensor;
            let found = points.nearest(b, config, globals, &rays, pass)?;
            let near = (&points, &found);
            let samples = field.radiance(b, config, globals, &rays, pass, near)?;
            b.release(found.tensor);
            Ok::<_, Error>(samples)
        };
        let coarse_samples = evaluate(&mut b, &coarse)?;
        let fine = rays.importance(&mut b, &coarse, &coarse_samples)?;
        let fine_samples = evaluate(&mut b, &fine)?;
        points.release(&mut b);
        let passes = [(&coarse, &coarse_samples), (&fine, &fine_samples)];
        let composite = rays.merge(&mut b, config, passes[0], passes[1])?;
        for samples in [coarse_samples, fine_samples] {
            b.release(samples.values);
            b.release(samples.opacities);
        }
        let output::Depth {
            depth,
            surface,
            stamp,
        } = output::depth(&mut b, &uniform.tensor, &rays, &composite)?;
        b.stage(SUPER_RESOLVER);
        b.store(super_resolver);
        let image = net.plan(&mut b, &composite.low_res, &uniform.tensor, true)?;
        let image = style_unet::converted(&mut b, &image, Format::F32)?;
        output::display(&mut b, &uniform.tensor, &image, &composite, &stamp)?;

        let uploads =
            size_of::<params::Globals>() as u64 + coefficients.bytes() + points.positions.bytes();
        Ok(Self {
            program: b.finish()?,
            weight_bytes: net.bytes + field.bytes(),
            uniform,
            coefficients,
            points: points.positions,
            uploads: Uploads::new(uploads),
            downloads: Downloads::new(image.width(), image.height()),
            frames: SlotPool::default(),
            image,
            low_res: composite.low_res,
            depth,
            surface,
            stamp,
            recorded: AtomicU32::new(0),
        })
    }

    /// Memory for a frame's results.
    pub(crate) fn slot(&self, gpu: &Gpu, tensors: bool) -> Result<Arc<Slot>> {
        let results = [&self.image, &self.low_res, &self.depth, &self.stamp];
        let new = || Slot::new(gpu, &self.program, results, tensors);
        self.frames.take(tensors, new)
    }

    /// Gives up memory that no frame uses.
    pub(crate) fn trim(&self) {
        self.frames.trim();
        self.downloads.trim();
        self.uploads.trim();
    }

    /// Records a frame into the slot's texture. Its other results stay in the workspace: see
    /// [`Renderer::keep`]. `avatar` holds the avatar's bindings. Returns the recording's number.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        input: &RenderInput<'_>,
        (avatar, slot): (&Bindings, &Slot),
        options: &RenderOptions,
        times: Times<'_>,
    ) -> Result<u32> {
        let mut globals = camera_uniform(input.drive.camera);
        // Not 0, which is what new memory holds.
        globals.serial = self
            .recorded
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
            .max(1);
        globals.alpha = output::mode(options.background);
        let (globals, mut conditions) = self.uniform.with_noise(globals, options.noise);
        conditions.alpha = options.background != Background::Black;
        let given = match &input.drive.geometry {
            Geometry::Points(points) => pack::vec4s(points),
            Geometry::Coefficients { .. } => {
                conditions.head_model = true;
                Vec::new()
            }
        };
        let coefficients = bytemuck::cast_slice(&input.coefficients);
        let parts = [
            (bytemuck::bytes_of(&globals), &self.uniform.tensor),
            (coefficients, &self.coefficients),
            (bytemuck::cast_slice(&given), &self.points),
        ];
        self.uploads.record(gpu, encoder, &parts)?;
        self.program.record(Recording {
            encoder,
            bindings: &[avatar, &slot.bindings],
            conditions,
            times,
        })?;
        Ok(globals.serial)
    }

    /// Records the super-resolver alone, on `low_res`, and a copy of its picture.
    pub(crate) fn super_resolve(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        low_res: &[f32],
    ) -> Result<Snapshot> {
        let (globals, mut conditions) =
            (self.uniform).with_noise(params::Globals::default(), Noise::Stored);
        let parts = [
            (bytemuck::bytes_of(&globals), &self.uniform.tensor),
            (bytemuck::cast_slice(low_res), &self.low_res),
        ];
        Uploads::once(gpu, encoder, &parts)?;
        conditions.stage = Some(SUPER_RESOLVER);
        self.program.record(Recording {
            encoder,
            bindings: &[],
            conditions,
            times: Times::None,
        })?;
        Ok(self.image.snapshot(gpu, encoder))
    }

    /// Records copies of a frame's results, before the workspace is overwritten.
    pub(crate) fn keep(&self, encoder: &mut wgpu::CommandEncoder, slot: &Slot) {
        if let Some(tensors) = &slot.tensors {
            self.image.copy_to(encoder, &tensors.image);
            self.low_res.copy_to(encoder, &tensors.low_res);
        }
        self.depth.copy_to(encoder, &slot.depth);
        self.surface.copy_to_texture(encoder, &slot.surface);
        self.stamp.copy_to(encoder, &slot.stamp);
    }
}

/// A drive that fits its model, and the coefficients to upload for it.
pub(crate) struct RenderInput<'a> {
    pub drive: ResolvedDrive<'a>,
    /// Packed for the head model; empty where points are given.
    coefficients: Vec<f32>,
}

impl<'a> RenderInput<'a> {
    /// `points` is the network's number of points, `shape` the identity's coefficients.
    ///
    /// # Errors
    /// [`Error::Argument`] if the drive does not fit the model.
    pub(crate) fn new(
        drive: &'a Drive,
        points: u32,
        head: Option<&Head>,
        shape: &[f32],
    ) -> Result<Self> {
        let drive = drive.resolve(head.map(|head| &head.model), points as usize)?;
        let coefficients = match (&drive.geometry, head) {
            (Geometry::Coefficients { expression, pose }, Some(head)) => {
                let posed = head.model.pose(shape, expression, pose)?;
                head.pack(expression, &posed)
            }
            (Geometry::Points(_), _) => Vec::new(),
            (Geometry::Coefficients { .. }, None) => {
                let expected = "points: there is no head model";
                return Err(Error::argument("drive", expected, "coefficients"));
            }
        };
        Ok(Self {
            drive,
            coefficients,
        })
    }
}
