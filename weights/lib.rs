//! The files that gpavatar ships with, inside the program: a small network, a picture of somebody and
//! motions.
//!
//! ```no_run
//! use gpavatar::{Avatar, Camera, Gpu, Model, Motion, SourceImage, Weights};
//!
//! let model = Model::new(&Gpu::new()?, Weights::from_bytes(gpavatar_demo::NETWORK)?)?;
//! let picture = SourceImage::from_bytes(gpavatar_demo::PICTURE)?;
//! let avatar = Avatar::from_images(&model, &[picture.tracked(Camera::orbit(10.6, 2.0, 8.0))])?;
//! let motion = Motion::from_json(gpavatar_demo::TALKING)?;
//! # Ok::<(), gpavatar::Error>(())
//! ```

#![no_std]
#![deny(missing_docs)]

/// A network of 2.9 million parameters with its head model, trained on generated heads: it draws such
/// heads, of 128 x 128 pixels. A safetensors file.
pub static NETWORK: &[u8] = include_bytes!("demo.safetensors");

/// A head that the network never saw, 256 x 256 pixels. Its camera stood 10.6 units away, 2 degrees above
/// the head and 8 to its left: `Camera::orbit(10.6, 2.0, 8.0)`. A PNG file.
pub static PICTURE: &[u8] = include_bytes!("samples/indigo/source_0.png");

/// A motion: it blinks. JSON, like the other motions.
pub static BLINKING: &str = include_str!("motions/blink.json");
/// A motion: one emotion after the other.
pub static EMOTIONS: &str = include_str!("motions/emotions.json");
/// A motion: it looks around.
pub static LOOKING_AROUND: &str = include_str!("motions/look_around.json");
/// A motion: it talks, blinks and turns.
pub static TALKING: &str = include_str!("motions/talking.json");
