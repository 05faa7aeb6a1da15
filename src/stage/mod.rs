//! The stages of the pipeline, one file for each folder of `shaders/`, under the same name.
//!
//! A stage owns its weights and plans its dispatches; `pipeline` composes the stages.

pub(crate) mod field;
pub(crate) mod fusion;
pub(crate) mod head;
pub(crate) mod output;
pub(crate) mod points;
pub(crate) mod rays;
pub(crate) mod source;
pub(crate) mod style_unet;
#[cfg(test)]
pub(crate) mod testing;
