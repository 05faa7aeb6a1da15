//! Tracked source pictures.

use safetensors::Dtype;
use serde::Serialize;

use super::array::Array;
use super::document::Document;
use super::pickle::{Node, beginning};
use crate::camera::Camera;
use crate::error::{Error, Result};
use crate::source::SourceImage;

const FORMAT: &str = "set of tracked source pictures";
const VERSION: u32 = 1;

/// The pictures of a person with the results of GPAvatar's tracker, its `tracked_result.pth`.
///
/// The pictures are canonical, that is, already warped to the view that the network expects. The
/// cameras are those of the original photos.
///
/// ```no_run
/// use gpavatar::{Avatar, AvatarOptions, Model, import::Sources};
///
/// # fn example(model: &Model) -> gpavatar::Result<()> {
/// let sources = Sources::open("tracked_result.pth")?;
/// let options = AvatarOptions { shape: sources.shape.clone(), ..Default::default() };
/// let avatar = Avatar::with_options(model, &sources.images, &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sources {
    /// The canonical pictures.
    pub images: Vec<SourceImage>,
    /// The camera of each.
    pub cameras: Vec<Camera>,
    /// The name of each.
    pub frames: Vec<String>,
    /// The person's identity coefficients.
    pub shape: Vec<f32>,
}

impl Sources {
    /// Reads a `tracked_result.pth`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; and see [`from_bytes`](Self::from_bytes).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(path.display().to_string(), &crate::file::read(path)?)
    }

    /// Reads the content of a `tracked_result.pth`; `what` names it in error messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a dictionary with `feature_image` `[V, 3, H, W]` of
    /// values from 0 to 1 (or bytes), `feature_shape` and `frame_trans` `[V, 3, 4]`;
    /// [`Error::Argument`] if the size of a picture is out of range (see
    /// [`SourceImage::from_rgba8`]) or a camera is not [valid](Camera::validate).
    pub fn from_bytes(what: impl Into<String>, bytes: &[u8]) -> Result<Self> {
        let tracked = Tracked::read(bytes).map_err(|reason| Error::format(what, FORMAT, reason))?;
        let [width, height] = [tracked.width, tracked.height];
        let pixels = tracked.pixels.into_iter();
        let images = pixels.map(|pixels| SourceImage::from_rgba8(width, height, pixels));
        tracked.cameras.iter().try_for_each(Camera::validate)?;
        Ok(Self {
            images: images.collect::<Result<_>>()?,
            cameras: tracked.cameras,
            frames: tracked.frames,
            shape: tracked.shape,
        })
    }

    /// Writes the pictures as `source_0.png`, `source_1.png`, … and the rest as `sources.json` to a
    /// directory, which must not exist or be empty. It appears when all of it is written.
    ///
    /// ```json
    /// {
    ///   "version": 1,
    ///   "shape": [0.1, "…"],
    ///   "sources": [
    ///     {"image": "source_0.png", "frame": "f_0", "transform": [[1, 0, 0, 0], "…"]}
    ///   ]
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], also if the directory is not empty.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(&self, directory: impl AsRef<std::path::Path>) -> Result<()> {
        use crate::file;
        use image::ExtendedColorType;
        use std::io;

        let mut sources = Vec::new();
        file::create_directory(directory.as_ref(), |directory| {
            let described = self.images.iter().zip(&self.cameras).zip(&self.frames);
            for (i, ((image, camera), frame)) in described.enumerate() {
                let name = format!("source_{i}.png");
                let path = directory.join(&name);
                let (pixels, format) = (image.pixels(), ExtendedColorType::Rgba8);
                image::save_buffer(&path, pixels, image.width(), image.height(), format)
                    .map_err(io::Error::other)
                    .map_err(file::failed("write", &path))?;
                sources.push(IndexEntry {
                    image: name,
                    frame,
                    transform: camera.transform,
                });
            }
            let document = Index {
                version: VERSION,
                shape: &self.shape,
                sources,
            };
            let json = serde_json::to_string_pretty(&document)
                .map_err(|error| Error::format("sources.json", "JSON", error.to_string()))?;
            let path = directory.join("sources.json");
            std::fs::write(&path, json).map_err(file::failed("write", &path))
        })
    }
}

/// `sources.json`
#[cfg(not(target_arch = "wasm32"))]
#[derive(Serialize)]
struct Index<'a> {
    version: u32,
    shape: &'a [f32],
    sources: Vec<IndexEntry<'a>>,
}

#[cfg(not(target_arch = "wasm32"))]
#[derive(Serialize)]
struct IndexEntry<'a> {
    image: String,
    frame: &'a str,
    transform: [[f32; 4]; 3],
}

/// The content of a file.
struct Tracked {
    width: u32,
    height: u32,
    /// Red, green, blue and alpha of each picture.
    pixels: Vec<Vec<u8>>,
    cameras: Vec<Camera>,
    frames: Vec<String>,
    shape: Vec<f32>,
}

impl Tracked {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let document = Document::parse(bytes)?;
        let array = |name: &str| -> Result<Array, String> {
            let array = document.entry(name);
            (array.map_err(|reason| format!("{name}: {reason}"))?)
                .ok_or_else(|| format!("expected an entry {name}, found none"))
        };
        let images = array("feature_image")?;
        let [count, _, height, width] =
            images.expect_shape("feature_image", [None, Some(3), None, None])?;
        if images.len() == 0 {
            let found = images.shape();
            return Err(format!(
                "feature_image: expected shape [any, 3, any, any], found {found:?} without pixels"
            ));
        }
        let pixels = pixels(&images, height * width);
        let pixels = pixels.map_err(|reason| format!("feature_image: {reason}"))?;
        let [width, height] = [width, height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));

        let transforms = array("frame_trans")?;
        transforms.expect_shape("frame_trans", [Some(count), Some(3), Some(4)])?;
        let transforms = transforms.f32()?;
        let (rows, _) = transforms.as_chunks::<4>();
        let (transforms, _) = rows.as_chunks::<3>();

        let shape = array("feature_shape")?;
        if shape.len() != shape.shape().last().copied().unwrap_or(1) {
            let found = shape.shape();
            return Err(format!("feature_shape: expected one row, found {found:?}"));
        }
        let keys = document.root().get("frame_key").and_then(Node::elements);
        let mut keys = keys.into_iter().flatten();
        let frame = |i: usize| match keys.next().and_then(Node::text) {
            Some(key) => beginning(key).to_owned(),
            None => i.to_string(),
        };
        Ok(Self {
            width,
            height,
            pixels,
            cameras: transforms
                .iter()
                .map(|&t| Camera::from_transform(t))
                .collect(),
            frames: (0..count).map(frame).collect(),
            shape: shape.f32()?,
        })
    }
}

/// Interleaves planes of red, green and blue, `plane` pixels each, and adds an alpha of 255.
fn pixels(images: &Array, plane: usize) -> Result<Vec<Vec<u8>>, String> {
    let values = images.f32()?;
    let byte: &dyn Fn(f32) -> u8 = match images.dtype() {
        Dtype::U8 => &|value| value as u8,
        _ => {
            // Resampling may overshoot; values up to 255 would all be white.
            if let Some(value) = values.iter().find(|value| !(-0.5..=1.5).contains(*value)) {
                return Err(format!("expected values from 0 to 1, found {value}"));
            }
            &|value| (value * 255.0).round() as u8
        }
    };
    let images = values.chunks_exact(3 * plane);
    Ok(images
        .map(|image| {
            let channel = |c: usize, i: usize| byte(image[c * plane + i]);
            let pixels = (0..plane).map(|i| [channel(0, i), channel(1, i), channel(2, i), 255]);
            pixels.flatten().collect()
        })
        .collect())
}

#[cfg(test)]
mod tests;
