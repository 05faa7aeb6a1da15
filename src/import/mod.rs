//! Reads the files of the GPAvatar authors and of face trackers.
//!
//! | file                                    | holds                    | read by                |
//! |-----------------------------------------|--------------------------|------------------------|
//! | `one_model.ckpt`, or as `.safetensors`  | the released weights     | [`Checkpoint`]         |
//! | `generic_model.pkl`, `flame2023*.pkl`   | FLAME, a head model      | [`head_model`]         |
//! | the same as `.pt`, `.npz`, `.safetensors` |                        | [`head_model`]         |
//! | `lightning.pkl`, `smoothed.pkl`, `.npz` | a tracked video          | [`motion`]             |
//! | `.csv`, `.tsv`, `.json`, `.xml`         | a recording of a face    | [`motion`]             |
//! | `tracked_result.pth`, `sources.json`    | tracked source pictures  | [`Sources`]            |
//! | any of these, and this crate's own      | a list of what is inside | [`Contents`]           |
//!
//! No Python is needed, and none is run: pickles are read as data, never executed.
//! Files are not trusted: sizes are checked against the file before memory is allocated, and every
//! fault becomes an error. Reading a file takes less than eight times its size and 64 MiB, in a time
//! that grows with its size.
//!
//! The command `gpavatar import` does the same on the command line.

mod archive;
mod array;
mod budget;
mod checkpoint;
mod contents;
mod document;
mod flame;
mod motion;
mod numpy;
mod pickle;
mod sources;
mod torch;

pub use checkpoint::Checkpoint;
pub use contents::{Contents, ContentsEntry, ContentsValue, Statistics};
#[cfg(not(target_arch = "wasm32"))]
pub use flame::head_model;
#[cfg(feature = "track")]
pub use flame::head_triangles_from_bytes;
#[cfg(feature = "track")]
pub(crate) use flame::landmark_rows;
pub use flame::{HeadOptions, head_model_from_bytes};
#[cfg(not(target_arch = "wasm32"))]
pub use motion::motion;
pub use motion::{HeadRotation, ImportedMotion, MotionOptions, RateSource, motion_from_bytes};
pub use sources::{SourceEntry, SourceList, Sources};
