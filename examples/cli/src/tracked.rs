//! Pictures with the cameras that a face tracker found for them.

use std::path::{Path, PathBuf};

use gpavatar::{Camera, Result, SourceImage};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads a JSON file; errors name it.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let json = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let parsed = json.and_then(|json| serde_json::from_str(&json).map_err(|e| e.to_string()));
    parsed.map_err(|reason| format!("{}: {reason}", path.display()))
}

/// A picture in a folder and its tracked camera, as lists of them have it in JSON.
#[derive(Deserialize)]
pub struct TrackedPicture {
    picture: PathBuf,
    /// World-to-camera matrix `[R | T]`.
    transform: [[f32; 4]; 3],
}

impl TrackedPicture {
    /// Reads the picture.
    pub fn open(&self, folder: &Path) -> Result<SourceImage> {
        let picture = SourceImage::open(folder.join(&self.picture))?;
        Ok(picture.tracked(Camera::from_transform(self.transform)))
    }
}
