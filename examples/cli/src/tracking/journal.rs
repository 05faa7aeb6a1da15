//! What was tracked of a film, kept until its motion is written: a line of JSON for each frame.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gpavatar::Result;
use gpavatar::glam::{DMat3, DVec2, DVec3};
use gpavatar::track::{Fit, HeadPose};
use serde::{Deserialize, Serialize};

use super::performance::Seen;
use crate::album::failed;

/// The frames of one film so far, each on the disk as soon as it is tracked.
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// What has to be the same for frames to be of use.
#[derive(PartialEq, Deserialize, Serialize)]
pub struct Subject {
    film: PathBuf,
    /// Of a folder, how many files it has.
    bytes: u64,
    rate: f64,
    /// What else the faces depend on.
    options: String,
}

/// A frame's face.
#[derive(Deserialize, Serialize)]
struct Line {
    scores: Vec<f32>,
    presence: f32,
    rotation: [f64; 9],
    origin: [f64; 2],
    unit: f64,
    fit: Option<FitLine>,
}

#[derive(Deserialize, Serialize)]
struct FitLine {
    shape: Vec<f64>,
    expression: Vec<f64>,
    jaw: [f64; 3],
    rotation: [f64; 9],
    translation: [f64; 3],
    residual: f64,
}

impl Subject {
    /// A film that is read at a rate.
    ///
    /// # Errors
    /// If it is not there.
    pub fn new(film: &Path, rate: f64, options: String) -> Result<Self> {
        let bytes = || match film.is_dir() {
            true => Ok(fs::read_dir(film)?.count() as u64),
            false => Ok(fs::metadata(film)?.len()),
        };
        Ok(Self {
            film: film.to_owned(),
            bytes: bytes().map_err(|error| failed("read", film, error))?,
            rate,
            options,
        })
    }
}

impl Journal {
    /// Opens the journal beside `output`, and reads the frames that it has of this film. One of
    /// another film starts anew, which is said.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(output: &Path, subject: &Subject) -> Result<(Self, Vec<Option<Seen>>)> {
        let mut path = output.as_os_str().to_owned();
        path.push(".tracked");
        let path = PathBuf::from(path);
        let opened = Self::read(&path, subject);
        let (file, frames) = opened.map_err(|error| failed("write", &path, error))?;
        Ok((Self { path, file }, frames))
    }

    fn read(path: &Path, subject: &Subject) -> io::Result<(File, Vec<Option<Seen>>)> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut file = (File::options().create(true).truncate(false).write(true)).open(path)?;
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let same = serde_json::from_slice::<Subject>(first).is_ok_and(|of| of == *subject);
        let (mut frames, mut whole) = (Vec::new(), 0);
        if same {
            whole = first.len();
            // The last line may be cut.
            for line in lines.take_while(|line| line.ends_with(b"\n")) {
                let Some(frame) = frame_of(line) else {
                    break;
                };
                whole += line.len();
                frames.push(frame);
            }
        } else if !text.is_empty() {
            let path = path.display();
            eprintln!("{path} is of another film or other options: tracking starts anew");
        }
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::Start(whole as u64))?;
        if !same {
            write_line(&mut file, subject)?;
        }
        Ok((file, frames))
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, seen: Option<&Seen>) -> Result<()> {
        let line = seen.map(Line::of);
        let written = write_line(&mut self.file, &line);
        written.map_err(|error| failed("write", &self.path, error))
    }

    /// Removes the file.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|error| failed("remove", &self.path, error))
    }
}

/// The face of a line, or that there was none; nothing if it is no such line.
fn frame_of(line: &[u8]) -> Option<Option<Seen>> {
    match serde_json::from_slice::<Option<Line>>(line).ok()? {
        Some(line) => line.seen().map(Some),
        None => Some(None),
    }
}

fn write_line(file: &mut File, content: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(content)?;
    line.push(b'\n');
    file.write_all(&line)
}

impl Line {
    fn of(seen: &Seen) -> Self {
        Self {
            scores: seen.scores.to_vec(),
            presence: seen.presence,
            rotation: seen.pose.rotation.to_cols_array(),
            origin: seen.pose.origin.to_array(),
            unit: seen.pose.unit,
            fit: seen.fit.as_ref().map(|fit| FitLine {
                shape: fit.shape.clone(),
                expression: fit.expression.clone(),
                jaw: fit.jaw.to_array(),
                rotation: fit.rotation.to_cols_array(),
                translation: fit.translation.to_array(),
                residual: fit.residual,
            }),
        }
    }

    /// None if there are not as many scores as there have to be.
    fn seen(self) -> Option<Seen> {
        Some(Seen {
            scores: self.scores.try_into().ok()?,
            presence: self.presence,
            pose: HeadPose {
                rotation: DMat3::from_cols_array(&self.rotation),
                origin: DVec2::from_array(self.origin),
                unit: self.unit,
            },
            fit: self.fit.map(|fit| Fit {
                shape: fit.shape,
                expression: fit.expression,
                jaw: DVec3::from_array(fit.jaw),
                rotation: DMat3::from_cols_array(&fit.rotation),
                translation: DVec3::from_array(fit.translation),
                residual: fit.residual,
                poor: false,
            }),
        })
    }
}

#[cfg(test)]
mod tests;
