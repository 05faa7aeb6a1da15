//! From photographs and videos of people to sources and drives (feature `track`).
//!
//! Four small networks find a face, its 478 landmarks, its 52 expression scores and its matte; a
//! Gauss-Newton fit of a head model does the rest. The networks are MediaPipe's Face Landmarker and
//! Selfie Segmentation (© The MediaPipe Authors, Apache License 2.0). Their files are brought by
//! the user ([`NetFiles`]); nothing of them is part of this crate.
//!
//! Pictures are measured in continuous pixels: (0, 0) is the upper left *corner* and pixel (column
//! c, row r) has its centre at (c + ½, r + ½).

mod files;
pub(crate) mod graph;
mod mixer;
pub(crate) mod nets;
mod plan;
mod region;

pub use files::{Net, NetFiles};
pub use nets::{Nets, Picture};
pub use region::Region;

/// The logistic function 1 / (1 + exp(-x)). Infinite exponentials end at 0.
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
