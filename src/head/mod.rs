//! The head's morphable model: blend shapes, joints and skinning, as data and per-frame joint
//! maths.

mod file;
mod flame;
mod maths;
mod parts;
#[cfg(test)]
mod tests;

pub use maths::{HeadModel, PosedJoints};
pub(crate) use maths::{check_coefficients, check_finite};
pub use parts::HeadModelParts;
pub(crate) use parts::first_repeated;
