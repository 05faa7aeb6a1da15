//! The network in plain scalar Rust: the oracle of the GPU kernels.
//!
//! Every file mirrors one folder of `shaders/` and every public function one kernel, under the same
//! name. The code follows the equations, unfolded and from the checkpoint's own weights. It is slow
//! but can be checked by eye; only the innermost loops are arranged for vectorisation. [`pipeline`]
//! is the whole model; [`golden`] and [`parity`] compare the GPU pipeline with the authors'
//! network.
//!
//! Images and feature maps are `[height, width, channels]`, tri-planes one map with
//! `3 * plane_channels` channels (plane `p`, channel `c` at `p * plane_channels + c`). Per-sample
//! quantities run ray by ray, sample by sample.
//!
//! Everything computes in `f32`, like the kernels, and once more in `f64`: [`double`] compiles the
//! same files with another [`Real`]. What the two differ by is rounding.
//!
//! Functions trust the shapes they are given (checked in debug builds only); values that come
//! from a user are checked where they enter, in [`pipeline`].

#![allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "conversions between the precisions do nothing where both are f32"
)]

pub mod double;
pub mod exact;
pub mod field;
pub mod fusion;
pub mod golden;
pub mod head;
pub mod output;
pub mod parity;
pub mod pipeline;
pub mod points;
pub mod rays;
pub mod shared;
pub mod source;
pub mod style_unet;
mod tensor;
#[cfg(feature = "track")]
pub mod track;
#[cfg(feature = "track")]
pub mod track_fits;
#[cfg(feature = "track")]
pub mod track_parity;

use glam::{Mat3, Mat4, Vec3};

pub use tensor::{Tensor, load, parallel_rows, reals};

/// Inputs of tests: weights whose pictures show errors, and points all over the cube.
pub use crate::stand_in::{ball, half_transparent};

/// The numbers that the reference computes with.
pub type Real = f32;
