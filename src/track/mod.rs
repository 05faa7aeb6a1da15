//! From photographs and videos of people to sources and drives (feature `track`).
//!
//! Four small networks find a face, its 478 landmarks, its 52 expression scores and its matte; a
//! Gauss-Newton fit of a head model does the rest. The networks are MediaPipe's Face Landmarker and
//! Selfie Segmentation (© The MediaPipe Authors, Apache License 2.0). Their files are brought by
//! the user ([`NetFiles`]); nothing of them is part of this crate.
//!
//! Pictures are measured in continuous pixels: (0, 0) is the upper left *corner* and pixel (column
//! c, row r) has its centre at (c + ½, r + ½).

mod canonical;
mod cut;
pub(crate) mod detection;
mod driver;
mod embedding;
mod files;
mod filter;
mod fit;
mod follow;
pub(crate) mod graph;
mod landmarks;
pub(crate) mod maths;
mod matte;
mod mixer;
pub(crate) mod nets;
mod neutral;
mod outputs;
mod plan;
mod region;
mod retarget;
mod tracker;

pub use crate::head::ARKIT;
pub use canonical::HeadPose;
pub use detection::Detection;
pub use driver::{DriveLimits, Driver, DriverOptions, FaceFrame};
pub use embedding::{EmbeddedPoint, Embedding, View};
pub use files::{Net, NetFiles};
pub use filter::OneEuro;
pub use fit::{Fit, FitOptions, Fitter};
pub use landmarks::{LANDMARKS, Landmarks};
pub use nets::{Nets, Picture};
pub use neutral::Calibration;
pub use region::Region;
pub use retarget::Retarget;
pub use tracker::{TrackedFace, TrackedStill, Tracker, TrackerOptions};

/// The logistic function 1 / (1 + exp(-x)). Infinite exponentials end at 0.
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
