//! What the examples run on when they are given nothing: a network, people that it never saw, and
//! motions, all of which ship with the crate.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::tracked::TrackedPicture;

const SAMPLES: &str = "weights/samples";

/// A file of this repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The network with its head model.
pub fn weights() -> PathBuf {
    file("weights/demo.safetensors")
}

/// A few seconds of a talking head.
pub fn motion() -> PathBuf {
    file("weights/motions/talking.json")
}

/// A person that the network never saw.
#[derive(Deserialize)]
pub struct Sample {
    pub name: String,
    /// Identity coefficients of the network's head model.
    pub shape: Vec<f32>,
    pub sources: Vec<TrackedPicture>,
}

/// What samples.json holds.
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
        let failed = |reason: String| format!("{}: {reason}", path.display());
        let json = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let list: Samples =
            serde_json::from_str(&json).map_err(|error| failed(error.to_string()))?;
        if list.samples.is_empty() {
            return Err(failed("expected at least one sample, found none".into()).into());
        }
        Ok(list.samples)
    }

    /// The one of this name, or the first.
    ///
    /// # Errors
    /// Those of [`Sample::all`], and if nobody has the name.
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
    ///
    /// # Errors
    /// Those of [`TrackedPicture::open`].
    pub fn pictures(&self) -> gpavatar::Result<Vec<gpavatar::SourceImage>> {
        let folder = file(SAMPLES);
        let open = |source: &TrackedPicture| source.open(&folder);
        self.sources.iter().map(open).collect()
    }
}
