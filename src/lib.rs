//! Animatable 3D head avatars from one or a few photos, on any GPU.

mod avatar;
mod camera;
mod config;
mod error;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod frame;
mod gpu;
mod head;
mod json;
mod model;
mod motion;
#[cfg(any(test, feature = "reference"))]
pub mod reference;
mod source;
mod stage;
mod weights;

pub use avatar::*;
pub use camera::*;
pub use config::*;
pub use error::{Error, Result};
pub use frame::Frame;
/// Vectors and matrices of this crate's API, in the version it was built with.
#[doc(no_inline)]
pub use glam;
pub use gpu::*;
pub use head::*;
/// Decoded pictures, in the version this crate was built with.
#[doc(no_inline)]
pub use image;
pub use model::{Model, ModelOptions};
pub use motion::*;
pub use source::*;
pub use weights::*;
/// The graphics API whose devices, encoders and textures a host shares with this crate, in the
/// version it was built with.
#[doc(no_inline)]
pub use wgpu;
