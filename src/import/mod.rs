//! The files of the GPAvatar authors and of face trackers, turned into files of this crate.
//!
//! | file                                    | holds                    | read by                |
//! |-----------------------------------------|--------------------------|------------------------|
//! | `one_model.ckpt`                        | the released weights     | [`Checkpoint`]         |
//! | `generic_model.pkl`, `flame2023*.pkl`   | FLAME, a head model      | [`head_model`]         |
//! | the same as `.npz` or `.safetensors`    |                          | [`head_model`]         |
//! | `lightning.pkl`, `smoothed.pkl`         | a tracked video          | [`motion`]             |
//! | `.csv` of Live Link Face                | expressions from ARKit   | [`motion`]             |
//! | `tracked_result.pth`                    | tracked source pictures  | [`Sources`]            |
//! | any of these, and this crate's own      |                          | [`Contents`]           |
//!
//! No Python is needed, and none is run: the pickles inside these files are read as data, whatever
//! they ask to be executed. Files are not trusted: what a file says of its sizes is checked against
//! the file before memory is allocated, and whatever is wrong with it becomes an error.
//!
//! `examples/import.rs` makes commands of these functions.

mod archive;
mod array;
mod checkpoint;
mod contents;
mod document;
mod head;
mod live_link;
mod motion;
mod numpy;
mod pickle;
mod sources;
mod torch;

pub use checkpoint::Checkpoint;
pub use contents::{Contents, ContentsEntry, ContentsValue, Statistics};
#[cfg(not(target_arch = "wasm32"))]
pub use head::head_model;
pub use head::{HeadOptions, head_model_from_bytes};
#[cfg(not(target_arch = "wasm32"))]
pub use motion::motion;
pub use motion::{MotionOptions, motion_from_bytes};
pub use sources::Sources;
