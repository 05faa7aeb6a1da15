//! The reference in `f64`, from the same `f32` inputs: what the network computes without rounding.

#![allow(
    clippy::duplicate_mod,
    reason = "one source of the formulas in two precisions"
)]

use glam::{DMat3 as Mat3, DMat4 as Mat4, DVec3 as Vec3};

pub use tensor::{Tensor, load, parallel_rows, reals};

/// The numbers that the reference computes with.
pub type Real = f64;

#[path = "field.rs"]
pub mod field;
#[path = "fusion.rs"]
pub mod fusion;
#[path = "head.rs"]
pub mod head;
#[path = "output.rs"]
pub mod output;
#[path = "pipeline.rs"]
pub mod pipeline;
#[path = "points.rs"]
pub mod points;
#[path = "rays.rs"]
pub mod rays;
#[path = "shared.rs"]
pub mod shared;
#[path = "source.rs"]
pub mod source;
#[path = "style_unet.rs"]
pub mod style_unet;
#[path = "tensor.rs"]
mod tensor;
#[cfg(feature = "track")]
#[path = "track.rs"]
pub mod track;
