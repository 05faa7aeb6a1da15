//! Films: read frame by frame, written when complete.
//!
//! Animated GIFs and folders of PNGs need nothing else. All others go through the programs ffmpeg
//! and ffprobe, by pipes: no more than a frame is in memory.

mod ffmpeg;
mod recorder;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use gpavatar::{Error, Result};
use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, RgbaImage};

use crate::album::{broken, failed};
pub use recorder::{Recorder, Sound, is_film};

/// Frames per second of a folder, which does not say.
const USUAL: f64 = 25.0;
/// Frames per second of a camera.
const CAMERA: f64 = 30.0;

/// A film that is read frame by frame.
pub struct Film {
    path: PathBuf,
    rate: f64,
    count: Option<usize>,
    /// Codec of its sound.
    sound: Option<String>,
    frames: Box<dyn Frames>,
    read: usize,
}

/// Where frames come from.
trait Frames {
    /// Takes the next frame.
    fn next(&mut self, frame: &mut RgbaImage) -> Result<Next>;
}

enum Next {
    Frame,
    End,
    /// Something is wrong with the rest of the film.
    Cut(String),
}

impl Film {
    /// Opens a film, a GIF or a folder of PNGs. With `fps`, other films are sampled at that rate;
    /// a GIF's or a folder's pictures are taken to follow at that rate.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there, [`Error::Format`] if it is no film, [`Error::Argument`] if
    /// reading it takes ffmpeg and there is none.
    pub fn open(path: &Path, fps: Option<f64>) -> Result<Self> {
        let missing = |error| failed("read", path, error);
        let mut film = Self {
            path: path.to_owned(),
            rate: fps.unwrap_or(USUAL),
            count: None,
            sound: None,
            frames: Box::new(Folder(Vec::new().into_iter())),
            read: 0,
        };
        if fs::metadata(path).map_err(missing)?.is_dir() {
            let pictures = pngs(path).map_err(missing)?;
            film.count = Some(pictures.len());
            film.frames = Box::new(Folder(pictures.into_iter()));
        } else if is_gif(path).map_err(missing)? {
            let (count, rate) = measured(path)?;
            film.count = Some(count);
            film.rate = fps.unwrap_or(rate);
            film.frames = Box::new(Gif(frames_of(path)?));
        } else {
            let facts = ffmpeg::probe(path)?;
            film.rate = fps.unwrap_or(facts.rate);
            let frames = facts.seconds.map(|seconds| seconds * film.rate);
            film.count = frames.map(|frames| frames.round() as usize);
            film.sound = facts.sound;
            let input = ["-i".into(), ffmpeg::url(path)];
            film.frames = Box::new(ffmpeg::Reader::open(path, &input, film.rate)?);
        }
        Ok(film)
    }

    /// Opens a camera, which is a film without an end: `FORMAT:DEVICE` as ffmpeg names them, or the
    /// platform's first one. Frames that nobody takes in time are dropped, and the ones before stay.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is not named so, or there is no ffmpeg.
    pub fn camera(device: Option<&str>, fps: Option<f64>) -> Result<Self> {
        let first = match std::env::consts::OS {
            "linux" => Some("v4l2:/dev/video0"),
            "macos" => Some("avfoundation:0"),
            _ => None,
        };
        let device = device.or(first).unwrap_or_default();
        let Some((format, name)) = device.split_once(':') else {
            return Err(Error::Argument {
                what: "--webcam".into(),
                expected:
                    "FORMAT:DEVICE as ffmpeg names them, such as v4l2:/dev/video0, avfoundation:0 \
                           or dshow:video=NAME"
                        .into(),
                found: format!("{device:?}"),
            });
        };
        let rate = fps.unwrap_or(CAMERA);
        let mut input: Vec<OsString> = vec!["-f".into(), format.into()];
        if format == "avfoundation" {
            // Its default is a rate that most cameras do not have.
            input.extend(["-framerate".into(), rate.to_string().into()]);
        }
        input.extend(["-i".into(), name.into()]);
        let path = PathBuf::from(device);
        Ok(Self {
            frames: Box::new(ffmpeg::Reader::open(&path, &input, rate)?),
            path,
            rate,
            count: None,
            sound: None,
            read: 0,
        })
    }

    /// Frames per second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// How many frames there should be, if that is known.
    pub fn count(&self) -> Option<usize> {
        self.count
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its sound from second `start` on, for `length` seconds or to its end.
    pub fn sound(&self, start: f64, length: Option<f64>) -> Option<Sound> {
        Some(Sound {
            film: self.path.clone(),
            codec: self.sound.clone()?,
            start,
            length,
        })
    }

    /// Takes the next frame, on black, and its size. False after the last one. A film that is cut or
    /// damaged ends with its last whole frame, which is said.
    ///
    /// # Errors
    /// [`Error::Format`] if there is not one frame, [`Error::Io`] if a picture of a folder cannot be
    /// read.
    pub fn next(&mut self, frame: &mut RgbaImage) -> Result<bool> {
        let reason = match self.frames.next(frame)? {
            Next::Frame => {
                self.read += 1;
                put_on_black(frame);
                return Ok(true);
            }
            Next::End if self.read > 0 => return Ok(false),
            Next::End => "it has no frames".into(),
            Next::Cut(reason) => reason,
        };
        if self.read == 0 {
            return Err(no_film(&self.path, reason));
        }
        let path = self.path.display();
        eprintln!(
            "{path} is cut or damaged ({reason}): it ends with frame {}, its last whole one",
            self.read
        );
        Ok(false)
    }
}

fn no_film(path: &Path, reason: String) -> Error {
    Error::Format {
        what: path.display().to_string(),
        format: "film",
        reason,
    }
}

/// What lies below transparent pixels can be anything.
fn put_on_black(frame: &mut RgbaImage) {
    for pixel in frame.pixels_mut() {
        if pixel[3] < 255 {
            let alpha = u16::from(pixel[3]);
            pixel.0 = pixel.0.map(|value| (u16::from(value) * alpha / 255) as u8);
            pixel[3] = 255;
        }
    }
}

/// The pictures of a folder.
struct Folder(std::vec::IntoIter<PathBuf>);

impl Frames for Folder {
    fn next(&mut self, frame: &mut RgbaImage) -> Result<Next> {
        let Some(path) = self.0.next() else {
            return Ok(Next::End);
        };
        let picture = image::open(&path).map_err(|error| broken("read", &path, error))?;
        *frame = picture.into_rgba8();
        Ok(Next::Frame)
    }
}

/// What a folder holds, by name.
pub fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The PNGs of a folder, by name.
fn pngs(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = entries(folder)?;
    let png = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("png"))
    };
    paths.retain(png);
    Ok(paths)
}

struct Gif(image::Frames<'static>);

impl Frames for Gif {
    fn next(&mut self, frame: &mut RgbaImage) -> Result<Next> {
        Ok(match self.0.next() {
            None => Next::End,
            Some(Err(error)) => Next::Cut(error.to_string()),
            Some(Ok(next)) => {
                *frame = next.into_buffer();
                Next::Frame
            }
        })
    }
}

fn is_gif(path: &Path) -> std::io::Result<bool> {
    use std::io::Read;
    let mut start = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut start)?;
    Ok(start == *b"GIF8")
}

fn frames_of(path: &Path) -> Result<image::Frames<'static>> {
    let file = File::open(path).map_err(|error| failed("read", path, error))?;
    let decoder = GifDecoder::new(BufReader::new(file));
    let decoder = decoder.map_err(|error| no_film(path, error.to_string()))?;
    Ok(decoder.into_frames())
}

/// How many frames a GIF has, and their mean rate: each has its own delay. Frames without any are
/// shown for a tenth of a second, as browsers do.
fn measured(path: &Path) -> Result<(usize, f64)> {
    let (mut count, mut seconds) = (0, 0.0);
    // What comes after a damaged frame is not read either.
    for frame in frames_of(path)?.map_while(image::ImageResult::ok) {
        let (over, under) = frame.delay().numer_denom_ms();
        seconds += match over {
            0 => 0.1,
            _ => f64::from(over) / f64::from(under) / 1000.0,
        };
        count += 1;
    }
    Ok((count, count.max(1) as f64 / seconds.max(0.01)))
}

#[cfg(test)]
mod tests;
