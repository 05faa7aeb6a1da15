//! Pictures of a person and the cameras that a face tracker found for them.

use std::path::Path;

use gpavatar::import::{SourceList, Sources};
use gpavatar::{Camera, SourceImage};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

/// Reads a JSON file; errors name it.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let json = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let json = json
        .as_ref()
        .map(|json| json.trim_start_matches('\u{feff}'));
    let parsed = match json {
        Ok(json) => serde_json::from_str(json).map_err(|error| error.to_string()),
        Err(error) => Err(error.clone()),
    };
    parsed.map_err(|reason| format!("{}: {reason}", path.display()))
}

/// Reads a camera's matrix of 3 or 4 rows, for serde.
pub fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[[f32; 4]; 3], D::Error> {
    let rows = Vec::<[f32; 4]>::deserialize(deserializer)?;
    let camera = Camera::from_rows(&rows).map_err(D::Error::custom)?;
    Ok(camera.transform)
}

/// The pictures at these paths, each a picture, or a list or folder of several; and the person's
/// shape, if a list has it.
pub fn sources(
    paths: &[impl AsRef<Path>],
    lenient: bool,
) -> gpavatar::Result<(Vec<SourceImage>, Vec<f32>)> {
    let (mut pictures, mut shape) = (Vec::new(), Vec::new());
    for path in paths {
        let path = path.as_ref();
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() || ["json", "pth", "pt"].iter().any(|list| extension == *list) {
            let sources = Sources::open(path)?;
            pictures.extend(sources.images);
            shape = sources.shape;
        } else if lenient {
            pictures.push(SourceImage::open_lenient(path)?);
        } else {
            pictures.push(SourceImage::open(path)?);
        }
    }
    Ok((pictures, shape))
}

/// A file of cameras.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tracked {
    /// The matrix of each picture, or null.
    Cameras(Vec<Option<Vec<[f32; 4]>>>),
    List(SourceList),
}

/// Gives the pictures at `paths` the cameras of a file, and returns the shape that it may have.
///
/// The file is a list of a matrix or null for each picture, or a [`SourceList`], in which each
/// picture is found by the name of its file, or else by its place.
pub fn track(
    pictures: &mut Vec<SourceImage>,
    paths: &[impl AsRef<Path>],
    file: &Path,
) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    let at = file.display();
    let parsed: serde_json::Value = match file.is_dir() {
        true => read_json(&file.join("sources.json"))?,
        false => read_json(file)?,
    };
    let is_list = parsed.is_array();
    let tracked = serde_json::from_value(parsed).map_err(|error| match is_list {
        true => format!("{at}: expected a matrix of 3 or 4 rows of 4 numbers, or null, each"),
        false => {
            format!("{at}: expected a list of cameras, or an object with \"sources\": {error}")
        }
    })?;
    let (cameras, shape) = match tracked {
        Tracked::Cameras(cameras) => {
            let camera = |(i, rows): (usize, Option<Vec<[f32; 4]>>)| {
                let camera = rows.map(|rows| Camera::from_rows(&rows)).transpose();
                camera.map_err(|error| format!("{at}: {i}: {error}"))
            };
            let cameras = cameras.into_iter().enumerate().map(camera);
            (cameras.collect::<Result<Vec<_>, _>>()?, Vec::new())
        }
        Tracked::List(SourceList { shape, sources }) => {
            let name = |path: &Path| path.file_name().map(|name| name.to_owned());
            let by_name = |path: &Path| {
                sources
                    .iter()
                    .find(|entry| name(&entry.picture) == name(path))
            };
            let found: Option<Vec<_>> = paths.iter().map(|path| by_name(path.as_ref())).collect();
            let entries = found.unwrap_or_else(|| sources.iter().collect());
            let camera =
                |entry: &gpavatar::import::SourceEntry| entry.camera().filter(|_| !entry.canonical);
            (entries.into_iter().map(camera).collect(), shape)
        }
    };
    if cameras.len() != pictures.len() {
        let (cameras, sources) = (cameras.len(), pictures.len());
        return Err(format!("{at}: {cameras} cameras for {sources} sources").into());
    }
    let tracked = |(picture, camera): (SourceImage, Option<Camera>)| match camera {
        Some(camera) => picture.tracked(camera),
        None => picture,
    };
    let all = std::mem::take(pictures).into_iter().zip(cameras);
    *pictures = all.map(tracked).collect();
    Ok(shape)
}
