//! Sequences of frames that drive an avatar.

mod file;
mod sequence;
#[cfg(test)]
mod tests;

pub use sequence::{Motion, MotionFrame};
