//! The programs of the crate's diagram: pictures to planes, and a drive to a picture.

mod encoder;
mod renderer;
mod slots;
mod uniforms;

pub(crate) use encoder::Encoder;
pub(crate) use renderer::{RenderInput, Renderer};
pub(crate) use slots::{Slot, Tensors};
#[cfg(test)]
pub(crate) use uniforms::camera_uniform;

#[cfg(test)]
mod tests;
