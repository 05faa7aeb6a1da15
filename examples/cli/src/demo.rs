//! Defaults of the commands: a network, people that it never saw, and motions, which all ship with
//! the repository.

use std::error::Error;
use std::path::{Path, PathBuf};

use gpavatar::import::SourceList;
use gpavatar::track::NetFiles;
use gpavatar::{Camera, Drive, Model, ModelConfig, SyntheticRules, Weights};
use serde::Deserialize;

use crate::tracked::read_json;

const SAMPLES: &str = "weights/samples";

/// A file of this repository, which crates inside it use, too.
pub fn file(path: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .ancestors()
        .find(|folder| folder.join(SAMPLES).is_dir());
    root.unwrap_or(here).join(path)
}

/// The network with its head model.
pub fn weights() -> PathBuf {
    file("weights/demo.safetensors")
}

/// The tracker's networks.
///
/// # Errors
/// If they are missing, with the command that brings them, or broken.
pub fn nets() -> gpavatar::Result<NetFiles> {
    let [task, segmentation] = ["face_landmarker.task", "selfie_segmentation.tflite"]
        .map(|name| file("weights/track").join(name));
    NetFiles::open(task, Some(&segmentation))
}

/// Made-up weights of the released sizes.
///
/// # Errors
/// If the table of their statistics is missing or broken.
pub fn released() -> gpavatar::Result<Weights> {
    let path = file("tests/golden/checkpoint_released.tsv");
    let table = std::fs::read_to_string(&path).map_err(|source| gpavatar::Error::Io {
        action: "read",
        path,
        source,
    })?;
    Weights::synthetic(ModelConfig::default(), 1, SyntheticRules::parse(&table)?)
}

/// A head at rest before the camera, or points in about the places of a head's.
pub fn at_rest(model: &Model) -> Drive {
    match model.head() {
        Some(_) => Drive::neutral().camera(view()),
        None => given_points(model),
    }
}

/// The same points, given as such.
pub fn given_points(model: &Model) -> Drive {
    if let Some(head) = model.head() {
        return Drive::points(head.parts().template.clone()).camera(view());
    }
    // A Fibonacci spiral around an ellipsoid.
    let count = model.config().points;
    let golden_angle = std::f32::consts::PI * (3.0 - 5.0f32.sqrt());
    let point = |i: u32| {
        let height = 1.0 - (2 * i + 1) as f32 / count as f32;
        let (sin, cos) = (golden_angle * i as f32).sin_cos();
        let radius = (1.0 - height * height).sqrt();
        [0.5 * radius * cos, 0.75 * height, 0.6 * radius * sin]
    };
    Drive::points((0..count).map(point).collect()).camera(view())
}

/// The camera of both: from the front.
pub fn view() -> Camera {
    Camera::orbit(12.0, 0.0, 0.0)
}

/// A few seconds of a talking head.
pub fn motion() -> PathBuf {
    file("weights/motions/talking.json")
}

/// A person that the network never saw.
#[derive(Deserialize)]
pub struct Sample {
    pub name: String,
    /// Pictures, and identity coefficients of the network's head model.
    #[serde(flatten)]
    pub list: SourceList,
}

/// The content of samples.json.
#[derive(Deserialize)]
struct Samples {
    samples: Vec<Sample>,
}

impl Sample {
    /// Everyone.
    ///
    /// # Errors
    /// If the list is missing or broken.
    pub fn all() -> Result<Vec<Self>, Box<dyn Error>> {
        let path = file(SAMPLES).join("samples.json");
        let list: Samples = read_json(&path)?;
        if list.samples.is_empty() {
            let path = path.display();
            return Err(format!("{path}: expected at least one sample, found none").into());
        }
        Ok(list.samples)
    }

    /// The one of this name, or the first.
    ///
    /// # Errors
    /// If nobody has the name, and as for [`Sample::all`].
    pub fn named(name: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let all = Self::all()?;
        let names: Vec<String> = all.iter().map(|sample| sample.name.clone()).collect();
        let wanted = |sample: &Self| name.is_none_or(|name| sample.name == name);
        let found = all.into_iter().find(wanted);
        found.ok_or_else(|| {
            let (names, name) = (names.join(", "), name.unwrap_or_default());
            format!("sample: expected one of {names}, found {name:?}").into()
        })
    }

    /// Its pictures.
    pub fn pictures(&self) -> gpavatar::Result<Vec<gpavatar::SourceImage>> {
        let folder = file(SAMPLES);
        let sources = self.list.sources.iter();
        sources.map(|source| source.open(&folder)).collect()
    }
}

#[cfg(test)]
mod tests;
