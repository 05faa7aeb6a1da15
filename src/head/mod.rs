//! The head's morphable model: blend shapes, joints and skinning, as data and per-frame joint
//! maths.

#[cfg(any(feature = "import", feature = "track"))]
mod arkit;
mod file;
mod maths;
mod parts;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(any(feature = "import", feature = "track"))]
pub use arkit::ARKIT;
pub use maths::HeadModel;
#[cfg(feature = "import")]
pub(crate) use maths::dissimilarity;
pub(crate) use maths::{PosedJoints, check_coefficients, check_finite};
pub use parts::HeadModelParts;
pub(crate) use parts::first_repeated;
