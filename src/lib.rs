//! Animatable 3D head avatars from one or a few photos, on any GPU and in the browser.
//!
//! One forward pass reconstructs a head from photographs; after that it is driven with any
//! expression, pose and camera. The method is GPAvatar (Chu et al., "Generalizable and Precise Head
//! Avatar from Image(s)", ICLR 2024, [arXiv 2401.10215](https://arxiv.org/abs/2401.10215)); here
//! every kernel of it is handwritten WGSL, run through [`wgpu`].
//!
//! ```text
//! once per model   weights file ─→ Weights (checked) ─→ folded, packed ─→ Model
//!
//! once per avatar  pictures ─→ warp ─→ encoder ─→ attention ─→ Avatar
//!                                                                │ tri-planes
//! every frame      Drive ─→ head ─→ points ─────────┐            │
//!                    └────→ rays ─→ nearest points ─┴─→ radiance field ─→ composite
//!                             ↑                                              │   │
//!                             └──────── importance sampling (fine pass) ─────┘   │
//!                                                    Frame ←─ output ←─ super-resolver
//! ```
//!
//! ```no_run
//! use gpavatar::{Avatar, Camera, Drive, Gpu, Model, SourceImage};
//!
//! let gpu = Gpu::new()?;
//! let model = Model::open(&gpu, "weights.safetensors")?;
//! let avatar = Avatar::from_images(&model, &[SourceImage::open("me.png")?])?;
//! for azimuth in (-40..=40).step_by(10) {
//!     let drive = Drive::neutral()
//!         .expression("jawOpen", 0.6)
//!         .camera(Camera::orbit(10.0, 5.0, azimuth as f32));
//!     let frame = avatar.render(&drive)?;
//!     frame.to_image()?.save(format!("{azimuth}.png")).expect("a writable directory");
//! }
//! # Ok::<(), gpavatar::Error>(())
//! ```
//!
//! # Embedding
//!
//! [`Gpu::from_device`] runs on the host application's device, [`Avatar::record`] records into its
//! command encoder, and [`Frame::view`] is a texture to draw with: nothing polls, blocks or leaves
//! the device. A frame is one command buffer, and after the first one nothing is allocated or
//! compiled. Reading back is async ([`Frame::read`], [`Tensor::read`]); functions that block
//! ([`Gpu::new`], [`Frame::to_image`]) exist natively only. Only [`GpuOptions::from_env`] reads the
//! environment, and nothing is measured or cached unless [`ModelOptions::tuning`] or
//! [`GpuOptions::pipeline_cache`] asks for it.
//!
//! The page [`embedding`] says more: versions that share a device, colours and alpha, ownership and memory, threads, failures.
//!
//! # Many at a time
//!
//! [`Model::render_many`] and [`Avatar::build_many`] record several frames or avatars into one
//! command buffer and wait for none of them. [`Avatar::play`] renders a sequence while its pictures
//! are read back, with a bounded number of frames in flight, which also bounds memory.
//! [`Atlas`] renders several avatars into the tiles of one texture. Results are byte for byte the
//! same as one at a time.
//!
//! # Where things live
//!
//! A kernel `shaders/STAGE/NAME.wgsl` is dispatched by `src/stage/STAGE.rs` and has a scalar twin in
//! `src/reference/STAGE.rs` (feature `reference`). The build script composes and checks all WGSL
//! and reflects bindings, constants and uniform structs, so that nothing is written twice.
//! Weights are folded where the algebra is exact, then packed into the kernels' layouts. A stage
//! plans its dispatches into a program; `src/pipeline` composes stages into the two programs of the
//! diagram, which are recorded anew for every picture and frame. Only `src/gpu` talks to wgpu about
//! pipelines and bind groups. `src/options` holds every option.
//!
//! # Features
//!
//! Default ones, for `default-features = false` to leave out:
//!
//! - `vulkan`, `gles`, `metal`, `dx12`, `webgpu`: the backends of [`wgpu`]. A host's own wgpu brings its
//!   backends, so that a crate which is only given devices needs none of these.
//! - `png`, `jpeg`, `gif`, `webp`, `bmp`, `tiff`: decoders for [`SourceImage::open`], and encoders for
//!   what [`Frame::to_image`] returns.
//!
//! Others:
//!
//! - `candidates`: kernels from disk in place of the library's own, to be compared with them.
//! - `import`: module `import` reads the GPAvatar authors' checkpoint, FLAME head models, tracked
//!   videos and recordings of faces.
//! - `profiler`: GPU timestamps in [`Avatar::profile`]; without it profiles use the wall clock.
//! - `reference`: the scalar twins of all kernels, in `f32` and `f64`.
//! - `track`: module `track` turns photographs and videos of people into sources and drives.

#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod atlas;
mod avatar;
/// Parts of the build script: candidates are composed at run time, and cargo runs no tests for build
/// scripts.
#[cfg(any(test, feature = "candidates"))]
#[allow(dead_code, reason = "the build script reflects more")]
mod build {
    pub mod compose;
    #[cfg(feature = "candidates")]
    pub mod reflect;
}
mod camera;
mod clusters;
mod config;
mod drive;
#[cfg(doc)]
#[doc = include_str!("../examples/EMBEDDING.md")]
pub mod embedding {}
mod error;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod frame;
mod gpu;
mod hash;
mod head;
#[cfg(feature = "import")]
pub mod import;
mod json;
mod model;
mod motion;
mod options;
mod pipeline;
mod playback;
#[cfg(any(test, feature = "reference"))]
pub mod reference;
mod sniff;
mod source;
mod stage;
mod stand_in;
#[cfg(feature = "track")]
pub mod track;
mod weights;

pub use atlas::Atlas;
pub use avatar::Avatar;
pub use camera::Camera;
pub use config::{
    Attention, ConvConfig, ConvKind, Level, LinearConfig, ModelConfig, PointWeighting, ResBlock,
    StyleUnetConfig, StyleUnetLayers, TensorSpec,
};
pub use drive::{Drive, Geometry, ResolvedDrive};
pub use error::{Error, Result};
pub use frame::Frame;
/// Vectors and matrices of this crate's API, in the version it was built with.
#[doc(no_inline)]
pub use glam;
#[cfg(feature = "candidates")]
pub use gpu::Candidate;
pub use gpu::{Choice, Gpu, KernelTime, Profile, Tensor};
pub use head::{HeadModel, HeadModelParts};
/// Decoded pictures, in the version this crate was built with.
#[doc(no_inline)]
pub use image;
pub use model::Model;
pub use motion::{Motion, MotionFrame};
pub use options::{
    AdapterKind, AvatarOptions, Background, GpuOptions, ModelOptions, Noise, PipelineCache,
    Precision, Progress, RenderOptions, ShaderChecks, Tuning,
};
pub use playback::Playback;
pub use source::SourceImage;
pub use stand_in::stand_in;
pub use weights::{FloatFormat, SyntheticRules, TensorFile, TensorWriter, Weights};
/// The GPU interface that this crate is built on, in the version it was built with.
#[doc(no_inline)]
pub use wgpu;
