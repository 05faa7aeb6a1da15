//! Animatable 3D head avatars from one or a few photos, on any GPU.

mod camera;
mod config;
mod error;
mod file;
mod gpu;
mod head;
mod motion;
#[cfg(any(test, feature = "reference"))]
pub mod reference;
mod source;
mod weights;

pub use camera::*;
pub use config::*;
pub use error::{Error, Result};
pub use gpu::*;
pub use head::*;
pub use motion::*;
pub use source::*;
pub use weights::*;
