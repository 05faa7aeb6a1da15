//! Rendering: an avatar and a drive to a picture.

use std::sync::Arc;

use crate::avatar::Avatar;
use crate::drive::Drive;
use crate::error::{Error, Result};
use crate::gpu::{Profile, Snapshot, Tensor, Timer, Times};
use crate::model::Model;
use crate::options::RenderOptions;
use crate::pipeline::{RenderInput, Slot, Tensors};

/// The activity that device errors name.
pub(crate) const RENDERING: &str = "rendering";

/// A rendered picture on the device, with its low-resolution image and depth.
///
/// When it is dropped, its memory returns to the model for later frames: a clone of its texture then shows
/// another frame. A host that makes its bindings once renders into an [`Atlas`](crate::Atlas) of one tile,
/// whose texture stays.
///
/// # Errors
/// All that copies a frame to the host fails with [`Error::Gpu`] if the device failed, if the commands
/// that the frame was recorded into have not been executed (they were not submitted yet, or the
/// device refused them), and if one of the rendering's numbers is not finite, as with weights or
/// planes that are finite but huge.
pub struct Frame {
    model: Model,
    slot: Arc<Slot>,
    /// Number of the recording.
    serial: u32,
}

impl Frame {
    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.slot.texture.width()
    }

    /// The picture as an `rgba8unorm` texture, sRGB-encoded as the network was trained, row 0 on
    /// top.
    #[must_use]
    pub fn texture(&self) -> &wgpu::Texture {
        &self.slot.texture
    }

    /// A view of [`Frame::texture`], to draw with on a target whose colours are sRGB-encoded, too, and
    /// stored as they are, as `rgba8unorm`.
    #[must_use]
    pub fn view(&self) -> &wgpu::TextureView {
        &self.slot.view
    }

    /// The same pixels as `rgba8unorm-srgb`: whoever samples them gets linear light. Draw with it on targets
    /// with an sRGB format and in linear light. Premultiplied colours are multiplied as they are
    /// encoded: a linear pipeline takes [straight](crate::Background::Straight) ones. `None` where the
    /// backend cannot look at a texture in two ways (GL).
    #[must_use]
    pub fn srgb_view(&self) -> Option<&wgpu::TextureView> {
        self.slot.srgb_view.as_ref()
    }

    /// Depth of what is seen, in world units along the camera's axis, as an `r32float` texture of
    /// [`low_res_size`](crate::ModelConfig) pixels a side, row 0 on top; 0 where nothing is. The centres of
    /// its outermost texels are the edges of the picture: place `p` in 0..1 of the picture is
    /// `(p · (side - 1) + 0.5) / side` of the texture.
    ///
    /// With [`Camera::quad`](crate::Camera::quad), a scene finds what is before the avatar, and what behind.
    #[must_use]
    pub fn depth_texture(&self) -> &wgpu::Texture {
        &self.slot.surface
    }

    /// A view of [`Frame::depth_texture`].
    #[must_use]
    pub fn depth_view(&self) -> &wgpu::TextureView {
        &self.slot.surface_view
    }

    /// The picture before it is clamped and rounded, on the device: `[y][x]` of red, green, blue
    /// and an unused element.
    ///
    /// # Errors
    /// [`Error::Argument`] for a frame without [`RenderOptions::tensors`].
    pub fn image_tensor(&self) -> Result<&Tensor> {
        self.tensors().map(|tensors| &tensors.image)
    }

    fn tensors(&self) -> Result<&Tensors> {
        let without = || Error::argument("tensors of a frame", "RenderOptions::tensors", "without");
        self.slot.tensors.as_ref().ok_or_else(without)
    }

    /// Waits for the picture and copies it to the host.
    ///
    /// # Errors
    /// See [`Frame::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_image(&self) -> Result<image::RgbaImage> {
        pollster::block_on(self.read())
    }

    /// Copies the picture to the host.
    ///
    /// # Errors
    /// See [`Frame`]; [`Error::Limit`] if the device has no buffer of the picture's size.
    pub async fn read(&self) -> Result<image::RgbaImage> {
        let downloads = &self.model.renderer().downloads;
        let read = downloads.read(self.model.gpu(), self.texture(), Some(self.stamp()));
        let (picture, stamp) = read.await?;
        self.check(&stamp)?;
        Ok(picture)
    }

    /// Copies the depth picture to the host: `[y][x]` at the low resolution, from 0 (nearest) to 1
    /// (farthest) over the image.
    ///
    /// # Errors
    /// See [`Frame`].
    pub async fn depth(&self) -> Result<Vec<f32>> {
        self.values(&self.slot.depth).await
    }

    /// Copies the low-resolution image to the host: `[y][x][channel]`, channels as configured.
    ///
    /// # Errors
    /// See [`Frame`]; [`Error::Argument`] for a frame without [`RenderOptions::tensors`].
    pub async fn low_res(&self) -> Result<Vec<f32>> {
        self.values(&self.tensors()?.low_res).await
    }

    async fn values(&self, results: &Tensor) -> Result<Vec<f32>> {
        let gpu = self.model.gpu();
        let [values, stamp] = Snapshot::take(gpu, [results, self.stamp()]).await?;
        self.check(&stamp.read_as(gpu).await?)?;
        values.read(gpu).await
    }

    pub(crate) fn stamp(&self) -> &Tensor {
        &self.slot.stamp
    }

    /// Checks the words of the frame's stamp.
    pub(crate) fn check(&self, stamp: &[u32]) -> Result<()> {
        match *stamp {
            [serial, ..] if serial != self.serial => {
                let reason = "its commands have not been executed";
                Err(Error::gpu("reading a frame", reason))
            }
            [_, 0, ..] => Ok(()),
            _ => {
                let reason = "a number is not finite: weights or planes are too large";
                Err(Error::gpu(RENDERING, reason))
            }
        }
    }
}

impl Avatar {
    /// Renders a frame on black. The work is submitted, not waited for.
    ///
    /// # Errors
    /// See [`Avatar::record`].
    pub fn render(&self, drive: &Drive) -> Result<Frame> {
        self.render_with(drive, &RenderOptions::default())
    }

    /// Renders a frame with options.
    ///
    /// # Errors
    /// See [`Avatar::record`].
    pub fn render_with(&self, drive: &Drive, options: &RenderOptions) -> Result<Frame> {
        let gpu = self.model().gpu();
        gpu.scoped(RENDERING, || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let frame = Checked::new(self, drive)?.record(&mut encoder, options, Times::None)?;
            self.model().submit(encoder);
            Ok(frame)
        })
    }

    /// Records a frame into the host application's command encoder, to be submitted with the rest
    /// of its work.
    ///
    /// Any number of recordings may be pending, to be submitted in any order or not at all: each
    /// brings all of its own input. Keep the frame until every other encoder that reads it has been
    /// submitted: once dropped, its memory serves later recordings.
    ///
    /// The encoder has to be of the model's device. That of another device of the same
    /// [`wgpu::Instance`] is refused when it is finished; one of another instance makes wgpu panic,
    /// which nothing here can foresee.
    ///
    /// # Errors
    /// [`Error::Argument`] if the drive does not fit the model ([`Drive::resolve`]);
    /// [`Error::Limit`] and [`Error::Gpu`] from the device.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        drive: &Drive,
        options: &RenderOptions,
    ) -> Result<Frame> {
        let input = Checked::new(self, drive)?;
        let gpu = self.model().gpu();
        gpu.scoped(RENDERING, || input.record(encoder, options, Times::None))
    }

    /// Like [`Avatar::record`], with the host's timestamps before and after the frame: wgpu-profiler's
    /// `compute_pass_timestamp_writes` are such.
    ///
    /// # Errors
    /// See [`Avatar::record`]; [`Error::Gpu`] if the query set is not one of the device.
    pub fn record_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        drive: &Drive,
        options: &RenderOptions,
        timestamps: wgpu::ComputePassTimestampWrites<'_>,
    ) -> Result<Frame> {
        let input = Checked::new(self, drive)?;
        let gpu = self.model().gpu();
        gpu.scoped(RENDERING, || {
            input.record(encoder, options, Times::Pass(timestamps))
        })
    }

    /// Renders a frame, waits for it and returns the time of every kernel.
    ///
    /// # Errors
    /// See [`Avatar::profile_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&self, drive: &Drive, options: &RenderOptions) -> Result<(Frame, Profile)> {
        pollster::block_on(self.profile_async(drive, options))
    }

    /// Renders a frame and, once it is done, returns the time of every kernel.
    ///
    /// Without [timestamps](crate::Gpu::has_timestamps) that takes many submissions: recordings
    /// that the host submits itself must not come in between.
    ///
    /// # Errors
    /// See [`Avatar::record`]; in a browser, [`Error::Gpu`] without timestamps.
    pub async fn profile_async(
        &self,
        drive: &Drive,
        options: &RenderOptions,
    ) -> Result<(Frame, Profile)> {
        let gpu = self.model().gpu();
        let mut timer = Timer::new(gpu)?;
        let frame = gpu.scoped(RENDERING, || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let input = Checked::new(self, drive)?;
            let _submission = self.model().submission();
            let frame = input.record(&mut encoder, options, Times::Kernels(&mut timer))?;
            timer.submit(encoder)?;
            Ok(frame)
        })?;
        Ok((frame, timer.profile().await?))
    }
}

impl Model {
    /// Renders a frame of every `(avatar, drive)`, any mix of avatars of this model: the same
    /// pictures as one by one.
    ///
    /// All of them are checked before the first is rendered. Up to eight share a submission, and
    /// none is waited for. Every frame has memory of its own until it is dropped; a sequence that
    /// is longer than that memory goes through [`Avatar::play`].
    ///
    /// ```no_run
    /// # use gpavatar::{Avatar, Drive, Gpu, Model, RenderOptions};
    /// # fn example(model: &Model, me: &Avatar, you: &Avatar) -> gpavatar::Result<()> {
    /// let (smiling, resting) = (Drive::neutral().expression("mouthSmileLeft", 0.8), Drive::neutral());
    /// let options = RenderOptions::default();
    /// let frames = model.render_many(&[(me, &smiling), (you, &resting)], &options)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Avatar::record`]; [`Error::Argument`] for an avatar of another model; an
    /// [`Error::Argument`] says which frame it is about, counted from 0.
    pub fn render_many(
        &self,
        frames: &[(&Avatar, &Drive)],
        options: &RenderOptions,
    ) -> Result<Vec<Frame>> {
        let inputs = Checked::all(self, frames)?;
        let gpu = self.gpu();
        gpu.scoped(RENDERING, || {
            let mut rendered = Vec::with_capacity(frames.len());
            for inputs in inputs.chunks(Self::PER_SUBMISSION) {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                for input in inputs {
                    rendered.push(input.record(&mut encoder, options, Times::None)?);
                }
                self.submit(encoder);
            }
            Ok(rendered)
        })
    }
}

/// A drive that fits its avatar.
pub(crate) struct Checked<'a> {
    avatar: &'a Avatar,
    input: RenderInput<'a>,
}

impl<'a> Checked<'a> {
    /// # Errors
    /// [`Error::Argument`] if the drive does not fit the model.
    fn new(avatar: &'a Avatar, drive: &'a Drive) -> Result<Self> {
        let model = avatar.model();
        let points = model.config().points;
        let input = RenderInput::new(drive, points, model.head_stage(), avatar.shape())?;
        Ok(Self { avatar, input })
    }

    /// Frame `index` of several.
    ///
    /// # Errors
    /// See [`Checked::new`]; [`Error::Argument`] if the avatar is another model's.
    pub(crate) fn nth(
        model: &Model,
        index: usize,
        avatar: &'a Avatar,
        drive: &'a Drive,
    ) -> Result<Self> {
        let (expected, found) = ("one of this model", "another model's");
        let input = match avatar.model().is(model) {
            true => Self::new(avatar, drive),
            false => Err(Error::argument("avatar", expected, found)),
        };
        input.map_err(|error| error.of(format_args!("frame {index}")))
    }

    /// # Errors
    /// See [`Checked::nth`].
    pub(crate) fn all(model: &Model, frames: &[(&'a Avatar, &'a Drive)]) -> Result<Vec<Self>> {
        let frames = frames.iter().enumerate();
        let checked = frames.map(|(i, (avatar, drive))| Self::nth(model, i, avatar, drive));
        checked.collect()
    }

    pub(crate) fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        options: &RenderOptions,
        times: Times<'_>,
    ) -> Result<Frame> {
        let model = self.avatar.model();
        let slot = model.renderer().slot(model.gpu(), options.tensors)?;
        let serial = self.record_into(&slot, encoder, options, times)?;
        model.renderer().keep(encoder, &slot);
        Ok(Frame {
            model: model.clone(),
            slot,
            serial,
        })
    }

    /// Records the picture alone, into the slot's texture. Returns the recording's number.
    pub(crate) fn record_into(
        &self,
        slot: &Slot,
        encoder: &mut wgpu::CommandEncoder,
        options: &RenderOptions,
        times: Times<'_>,
    ) -> Result<u32> {
        let (gpu, renderer) = (self.avatar.model().gpu(), self.avatar.model().renderer());
        let bound = (self.avatar.bindings(&self.input.drive.geometry)?, slot);
        renderer.record(gpu, encoder, &self.input, bound, options, times)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
