//! Writing of films.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use gpavatar::{Error, Result};
use image::RgbaImage;
use tempfile::TempPath;

use super::ffmpeg::{Writer, url};
use crate::album::{create_directory, failed};
use crate::animation::Animation;

/// Containers that are written.
const FILMS: [&str; 5] = ["mp4", "mov", "mkv", "webm", "gif"];

/// True if a film is written to this path, by its extension.
pub fn is_film(path: &Path) -> bool {
    FILMS.contains(&&*extension(path))
}

fn extension(path: &Path) -> String {
    let extension = path.extension().unwrap_or_default();
    extension.to_string_lossy().to_lowercase()
}

/// Sound of another film.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    pub film: PathBuf,
    pub codec: String,
    /// Where it starts, in seconds.
    pub start: f64,
    /// Seconds; to its end without.
    pub length: Option<f64>,
}

/// A film on its way into a file, which appears when it is complete.
pub struct Recorder {
    path: PathBuf,
    rate: f64,
    transparent: bool,
    sound: Option<Sound>,
    /// Once there is a picture.
    writing: Option<(Writing, TempPath)>,
}

enum Writing {
    Gif(Animation),
    Ffmpeg(Writer),
}

impl Recorder {
    /// Starts a film of `rate` pictures a second.
    ///
    /// # Errors
    /// [`Error::Argument`] if the container cannot be transparent and the pictures are.
    pub fn create(path: &Path, rate: f64, transparent: bool, sound: Option<Sound>) -> Result<Self> {
        let extension = extension(path);
        if transparent && !["webm", "gif"].contains(&&*extension) {
            return Err(Error::Argument {
                what: path.display().to_string(),
                expected: ".webm, .gif or a directory for a transparent background".into(),
                found: format!(".{extension}"),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            rate,
            transparent,
            sound,
            writing: None,
        })
    }

    /// Adds a picture; all are of one size.
    ///
    /// # Errors
    /// [`Error::Io`] with what ffmpeg says.
    pub fn push(&mut self, picture: &RgbaImage) -> Result<()> {
        if self.writing.is_none() {
            self.writing = Some(self.start(picture)?);
        }
        match &mut self.writing {
            Some((Writing::Gif(animation), _)) => animation.push(picture.clone()),
            Some((Writing::Ffmpeg(writer), _)) => {
                let pushed = writer.push(picture);
                pushed.map_err(|error| failed("write", &self.path, error))
            }
            None => Ok(()),
        }
    }

    /// Ends the film and moves it to its place.
    ///
    /// # Errors
    /// [`Error::Io`] with what ffmpeg says.
    pub fn finish(self) -> Result<PathBuf> {
        let failed = |error| failed("write", &self.path, error);
        let Some((writing, partial)) = self.writing else {
            return Err(failed(std::io::Error::other("there are no pictures")));
        };
        match writing {
            Writing::Gif(animation) => animation.finish()?,
            Writing::Ffmpeg(mut writer) => writer.finish().map_err(failed)?,
        }
        let moved = partial.persist(&self.path);
        moved.map_err(|error| failed(error.error))?;
        Ok(self.path)
    }

    fn start(&self, picture: &RgbaImage) -> Result<(Writing, TempPath)> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        if folder != Path::new("") {
            create_directory(folder)?;
        }
        let name = self.path.file_name().unwrap_or_default();
        let mut partial = OsString::from(".partial-");
        partial.push(name);
        let partial = folder.join(partial);
        // It may be left from a program that was killed.
        let _ = fs::remove_file(&partial);
        let guard = TempPath::try_from_path(&partial);
        let guard = guard.map_err(|error| failed("write", &partial, error))?;
        let (width, height) = picture.dimensions();
        let writing = match &*extension(&self.path) {
            "gif" => {
                let animation = Animation::create(&partial, width * height, 1.0 / self.rate)?;
                Writing::Gif(animation)
            }
            container => {
                let arguments = self.arguments(container);
                let writer = Writer::create(&partial, (width, height), self.rate, &arguments);
                Writing::Ffmpeg(writer?)
            }
        };
        Ok((writing, guard))
    }

    /// What ffmpeg is told about sound, codecs and container.
    fn arguments(&self, container: &str) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut add = |text: &str| arguments.extend(text.split(' ').map(OsString::from));
        if let Some(sound) = &self.sound {
            add(&format!("-ss {:.6}", sound.start));
            if let Some(length) = sound.length {
                add(&format!("-t {length:.6}"));
            }
            add("-i");
            arguments.push(url(&sound.film));
        }
        let mut add = |text: &str| arguments.extend(text.split(' ').map(OsString::from));
        add("-map 0:v");
        if let Some(sound) = &self.sound {
            add("-map 1:a:0 -c:a");
            add(sound_codec(container, &sound.codec));
        }
        add(match self.transparent {
            true => "-pix_fmt yuva420p",
            false => "-pix_fmt yuv420p",
        });
        // Colours have half the resolution, so sides are even.
        add("-vf pad=ceil(iw/2)*2:ceil(ih/2)*2");
        add(match container {
            "webm" => "-crf 18 -b:v 0",
            "mkv" => "-crf 18",
            _ => "-crf 18 -movflags +faststart",
        });
        arguments
    }
}

/// How a container keeps sound of a codec: as it is if it can.
fn sound_codec(container: &str, codec: &str) -> &'static str {
    match (container, codec) {
        ("mkv", _) | ("mp4" | "mov", "aac" | "mp3" | "alac" | "ac3") => "copy",
        ("webm", "opus" | "vorbis") => "copy",
        ("webm", _) => "libopus",
        _ => "aac",
    }
}
