//! Tracked source pictures.

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::array::Array;
use super::budget::opened;
use super::document::Document;
use super::pickle::{Node, beginning};
use crate::camera::Camera;
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::json;
#[cfg(not(target_arch = "wasm32"))]
use crate::sniff::{self, Kind};
use crate::source::SourceImage;

const FORMAT: &str = "set of tracked source pictures";
#[cfg(not(target_arch = "wasm32"))]
const VERSION: u32 = 1;
/// The list in a folder of sources.
#[cfg(not(target_arch = "wasm32"))]
const LIST: &str = "sources.json";

/// A list of the pictures of a person in JSON, with their cameras and the person's shape: the one
/// format for tracked sources.
///
/// ```json
/// {
///   "version": 1,
///   "shape": [0.1, "…"],
///   "sources": [
///     {"picture": "left.png", "transform": [[1, 0, 0, 0], "…"]},
///     {"picture": "source_0.png", "canonical": true, "frame": "f_0", "transform": ["…"]}
///   ]
/// }
/// ```
///
/// Only `sources` and the `picture` of each are required, and the `version` of a file of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceList {
    /// The person's identity coefficients; none for the mean of the head model.
    #[serde(default)]
    pub shape: Vec<f32>,
    /// The pictures.
    pub sources: Vec<SourceEntry>,
}

/// A picture in a [`SourceList`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "AnyEntry")]
pub struct SourceEntry {
    /// Its file, relative to the list.
    pub picture: PathBuf,
    /// True for a picture that is already warped to the view that the network expects. Then its
    /// camera is that of the photo it was made from.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub canonical: bool,
    /// Its name in the tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
    /// Its camera: the world-to-camera matrix `[R | T]` of a [`Camera`], 3 or 4 rows of 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<[[f32; 4]; 3]>,
}

/// An entry as files have it.
#[derive(Deserialize)]
struct AnyEntry {
    #[serde(default)]
    picture: Option<PathBuf>,
    /// What a canonical picture is called in older files.
    #[serde(default)]
    image: Option<PathBuf>,
    #[serde(default)]
    canonical: Option<bool>,
    #[serde(default)]
    frame: Option<String>,
    #[serde(default)]
    transform: Option<Rows>,
}

/// The rows of a camera's matrix.
#[derive(Deserialize)]
#[serde(try_from = "Vec<[f32; 4]>")]
struct Rows([[f32; 4]; 3]);

impl TryFrom<Vec<[f32; 4]>> for Rows {
    type Error = String;

    fn try_from(rows: Vec<[f32; 4]>) -> Result<Self, String> {
        let transform = Camera::rows(rows.as_flattened());
        let expected = Camera::EXPECTED_ROWS;
        transform
            .map(Self)
            .map_err(|found| format!("transform: expected {expected}, found {found}"))
    }
}

impl From<AnyEntry> for SourceEntry {
    fn from(entry: AnyEntry) -> Self {
        let canonical = entry.canonical.unwrap_or(entry.picture.is_none());
        Self {
            picture: entry.picture.or(entry.image).unwrap_or_default(),
            canonical,
            frame: entry.frame,
            transform: entry.transform.map(|Rows(transform)| transform),
        }
    }
}

impl SourceEntry {
    /// The camera.
    pub fn camera(&self) -> Option<Camera> {
        self.transform.map(Camera::from_transform)
    }

    /// Reads the picture, which is [tracked](SourceImage::tracked) if it has a camera and is not
    /// canonical.
    ///
    /// # Errors
    /// As for [`SourceImage::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(&self, folder: impl AsRef<Path>) -> Result<SourceImage> {
        let picture = SourceImage::open(folder.as_ref().join(&self.picture))?;
        Ok(match self.camera().filter(|_| !self.canonical) {
            Some(camera) => picture.tracked(camera),
            None => picture,
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl SourceList {
    /// Reads a list, or the `sources.json` of a folder.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is no such list.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = Self::path(path.as_ref());
        let what = path.display().to_string();
        let bytes = crate::file::read(&path)?;
        if sniff::kind(&bytes) != Kind::Json {
            return Err(sniff::refused(what, FORMAT, &bytes));
        }
        let text = sniff::text(&bytes).map_err(|reason| Error::format(&what, FORMAT, reason))?;
        let Index { list, .. } = json::versioned(&what, FORMAT, &text, VERSION)?;
        let unnamed = |entry: &SourceEntry| entry.picture.as_os_str().is_empty();
        match list.sources.iter().position(unnamed) {
            None => Ok(list),
            Some(i) => {
                let reason = format!("sources[{i}]: expected a picture, found none");
                Err(Error::format(what, FORMAT, reason))
            }
        }
    }

    /// The file of a list or of a folder with one.
    fn path(path: &Path) -> PathBuf {
        match path.is_dir() {
            true => path.join(LIST),
            false => path.to_owned(),
        }
    }
}

/// The pictures of a person with the results of a tracker: a [`SourceList`] with its pictures, or
/// the `tracked_result.pth` of GPAvatar's tracker.
///
/// ```no_run
/// use gpavatar::{Avatar, AvatarOptions, Model, import::Sources};
///
/// # fn example(model: &Model) -> gpavatar::Result<()> {
/// let sources = Sources::open("me")?; // a folder with sources.json, or tracked_result.pth
/// let options = AvatarOptions { shape: sources.shape.clone(), ..Default::default() };
/// let avatar = Avatar::with_options(model, &sources.images, &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sources {
    /// The pictures. Those of `tracked_result.pth` are canonical, that is, already warped to the
    /// view that the network expects; others are [tracked](SourceImage::tracked).
    pub images: Vec<SourceImage>,
    /// The camera of each, or of the photo that it was made from.
    pub cameras: Vec<Option<Camera>>,
    /// The name of each.
    pub frames: Vec<String>,
    /// The person's identity coefficients.
    pub shape: Vec<f32>,
}

impl Sources {
    /// Reads a [`SourceList`] and its pictures, a folder with its `sources.json`, or a
    /// `tracked_result.pth`.
    ///
    /// # Errors
    /// [`Error::Io`] if it or a picture cannot be read; and see [`SourceList::open`],
    /// [`SourceEntry::open`] and [`from_bytes`](Self::from_bytes).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_dir() {
            let bytes = crate::file::read(path)?;
            if sniff::kind(&bytes) != Kind::Json {
                return Self::from_bytes(path.display().to_string(), &bytes);
            }
        }
        let SourceList { shape, sources } = SourceList::open(path)?;
        let list = SourceList::path(path);
        let folder = list.parent().unwrap_or(Path::new(""));
        let images = sources.iter().map(|entry| entry.open(folder));
        let name = |(i, entry): (usize, &SourceEntry)| {
            let frame = entry.frame.clone();
            frame.unwrap_or_else(|| i.to_string())
        };
        Ok(Self {
            images: images.collect::<Result<_>>()?,
            cameras: sources.iter().map(SourceEntry::camera).collect(),
            frames: sources.iter().enumerate().map(name).collect(),
            shape,
        })
    }

    /// Reads the content of a `tracked_result.pth`; `what` names it in error messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a dictionary with `feature_image` `[V, 3, H, W]` of
    /// values from 0 to 1 (or bytes), `feature_shape` and `frame_trans`, `[V, 3, 4]` or `[V, 4, 4]`;
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
            cameras: tracked.cameras.into_iter().map(Some).collect(),
            frames: tracked.frames,
            shape: tracked.shape,
        })
    }

    /// Writes the pictures as `source_0.png`, `source_1.png`, … and the rest as `sources.json`, a
    /// [`SourceList`], to a directory, which must not exist or be empty. It appears when all of it
    /// is written. [`Sources::open`] reads it again.
    ///
    /// # Errors
    /// [`Error::Io`], also if the directory is not empty.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(&self, directory: impl AsRef<Path>) -> Result<()> {
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
                sources.push(SourceEntry {
                    picture: name.into(),
                    canonical: image.camera().is_none(),
                    frame: Some(frame.clone()),
                    transform: camera.map(|camera| camera.transform),
                });
            }
            let document = Index {
                version: VERSION,
                list: SourceList {
                    shape: self.shape.clone(),
                    sources,
                },
            };
            let json = serde_json::to_string_pretty(&document)
                .map_err(|error| Error::format(LIST, "JSON", error.to_string()))?;
            let path = directory.join(LIST);
            std::fs::write(&path, json).map_err(file::failed("write", &path))
        })
    }
}

/// A [`SourceList`] in a file of its own.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    #[serde(flatten)]
    list: SourceList,
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
        let (bytes, budget) = opened(bytes.into())?;
        let document = Document::within(&bytes, &budget)?;
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
        // The numbers, and four bytes for three of them.
        budget.take((size_of::<f32>() + 2) * images.len())?;
        let pixels = pixels(&images, height * width);
        let pixels = pixels.map_err(|reason| format!("feature_image: {reason}"))?;
        let [width, height] = [width, height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));

        let transforms = array("frame_trans")?;
        let [_, rows, _] = transforms.expect_shape("frame_trans", [Some(count), None, Some(4)])?;
        budget.take(size_of::<f32>() * transforms.len())?;
        let transforms = transforms.f32()?;
        let cameras = transforms.chunks(4 * rows.max(1)).map(|rows| {
            let transform = Camera::rows(rows).map_err(|found| {
                format!(
                    "frame_trans: expected {}, found {found}",
                    Camera::EXPECTED_ROWS
                )
            })?;
            Ok(Camera::from_transform(transform))
        });
        let cameras = cameras.collect::<Result<Vec<_>, String>>()?;
        if cameras.len() != count {
            let found = cameras.len();
            return Err(format!(
                "frame_trans: expected {count} cameras, found {found}"
            ));
        }

        let shape = array("feature_shape")?;
        if shape.len() != shape.shape().last().copied().unwrap_or(1) {
            let found = shape.shape();
            return Err(format!("feature_shape: expected one row, found {found:?}"));
        }
        budget.take(size_of::<f32>() * shape.len())?;
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
            cameras,
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
