//! A directory of numbered pictures, an animation and contact sheets, complete or absent.

use std::path::{Path, PathBuf};
use std::{fs, io};

use gpavatar::{Error, Result};
use image::RgbaImage;
use tempfile::TempDir;

use crate::animation::Animation;
use crate::backdrop::Backdrop;
use crate::film::is_film;
use crate::sheet::{self, Cell};

#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Directory to write to; of reenact also a film: .mp4, .mov, .mkv, .webm or .gif
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Behind the head: black, transparent or a colour (#rrggbb)
    #[arg(long, default_value = "black")]
    pub background: Backdrop,
    /// Width of the contact sheet in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(64..=16384))]
    sheet_width: u32,
    /// Pictures in a row of the contact sheet
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    columns: u32,
    /// Pictures on the contact sheet at most, evenly spread over all
    #[arg(long, value_name = "N", default_value_t = 48,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    sheet_pictures: u32,
}

impl OutputArgs {
    /// Starts an album in the chosen directory, or in one below `out`.
    pub fn album(&self, name: &str) -> Result<Album> {
        let out = self.out.clone();
        Album::create(out.unwrap_or_else(|| Path::new("out").join(name)))
    }

    /// What was chosen.
    pub fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    /// The film to write instead.
    pub fn film(&self) -> Option<&Path> {
        self.out.as_deref().filter(|path| is_film(path))
    }

    /// A contact sheet of these groups of pictures.
    pub fn sheet(&self, groups: &[&[Cell]]) -> RgbaImage {
        sheet::sheet(groups, self.columns, self.sheet_width)
    }

    /// Which of `count` pictures the contact sheet shows.
    pub fn on_sheet(&self, count: usize) -> Vec<usize> {
        evenly(count, self.sheet_pictures as usize)
    }
}

/// At most `most` of the numbers below `count`, evenly spread from the first on.
pub fn evenly(count: usize, most: usize) -> Vec<usize> {
    let kept = count.min(most);
    (0..kept).map(|i| i * count / kept).collect()
}

/// Pictures on their way into a directory.
///
/// Everything is written beside its destination and moved there by [`Album::finish`]. An album that
/// is dropped before leaves the directory as it was.
pub struct Album {
    staging: TempDir,
    // Dropped after `staging`, which lies in it.
    out: Destination,
    /// Numbered pictures so far.
    count: usize,
    /// Pixels of the largest one.
    pixels: u32,
    /// Names of the other files.
    others: Vec<String>,
}

/// A directory, removed if it is new and nothing is in it.
struct Destination {
    path: PathBuf,
    new: bool,
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.new {
            // Fails, and leaves it, if it is not empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Where the numbered pictures are.
const FRAMES: &str = "frames";
/// Where they are written.
const STAGING: &str = ".partial";

impl Album {
    /// Whether a directory has a whole album, of which `last` was added last.
    pub fn is_complete(out: &Path, last: &str) -> bool {
        out.join(last).exists() && !out.join(STAGING).exists()
    }

    pub fn create(out: impl Into<PathBuf>) -> Result<Self> {
        let path = out.into();
        let out = Destination {
            new: !path.exists(),
            path,
        };
        create_directory(&out.path)?;
        // It may be left from a program that was killed.
        let staging = out.path.join(STAGING);
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &staging, error));
            }
            _ => {}
        }
        let named = tempfile::Builder::new()
            .prefix(STAGING)
            .rand_bytes(0)
            .tempdir_in(&out.path);
        Ok(Self {
            staging: named.map_err(|error| failed("create", &staging, error))?,
            out,
            count: 0,
            pixels: 0,
            others: Vec::new(),
        })
    }

    /// Adds the next numbered picture.
    pub fn push(&mut self, picture: &RgbaImage) -> Result<()> {
        create_directory(&self.staging.path().join(FRAMES))?;
        write_png(&self.frame(self.count), picture)?;
        self.count += 1;
        self.pixels = self.pixels.max(picture.width() * picture.height());
        Ok(())
    }

    /// Numbered pictures so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds a picture of another kind.
    pub fn save(&mut self, name: &str, picture: &RgbaImage) -> Result<()> {
        write_png(&self.staging.path().join(name), picture)?;
        self.others.push(name.to_owned());
        Ok(())
    }

    /// The numbered picture `index`, which has been added.
    pub fn picture(&self, index: usize) -> Result<RgbaImage> {
        let path = self.frame(index);
        let picture = image::open(&path).map_err(|error| broken("read", &path, error))?;
        Ok(picture.into_rgba8())
    }

    /// Adds an endless animation of the numbered pictures in this order, `seconds` each.
    pub fn animate(
        &mut self,
        name: &str,
        order: impl IntoIterator<Item = usize>,
        seconds: f64,
    ) -> Result<()> {
        let path = self.staging.path().join(name);
        let mut animation = Animation::create(&path, self.pixels, seconds)?;
        for index in order {
            animation.push(self.picture(index)?)?;
        }
        animation.finish()?;
        self.others.push(name.to_owned());
        Ok(())
    }

    /// Moves everything to its place and removes what an earlier, longer album left there. Returns
    /// the directory of the numbered pictures, if there are any, and the other files.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        let frames = self.out.path.join(FRAMES);
        let mut written = Vec::new();
        if self.count > 0 {
            create_directory(&frames)?;
            written.push(frames.clone());
        }
        let numbered = (0..self.count).map(|i| Path::new(FRAMES).join(frame_name(i)));
        for name in numbered.chain(self.others.iter().map(PathBuf::from)) {
            let path = self.out.path.join(&name);
            let moved = fs::rename(self.staging.path().join(&name), &path);
            moved.map_err(|error| failed("write", &path, error))?;
        }
        for stale in (self.count..).map(|i| frames.join(frame_name(i))) {
            match fs::remove_file(&stale) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                removed => removed.map_err(|error| failed("remove", &stale, error))?,
            }
        }
        written.extend(self.others.iter().map(|name| self.out.path.join(name)));
        Ok(written)
    }

    fn frame(&self, index: usize) -> PathBuf {
        self.staging.path().join(FRAMES).join(frame_name(index))
    }
}

fn frame_name(index: usize) -> String {
    format!("{index:04}.png")
}

pub fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| failed("create", path, error))
}

fn write_png(path: &Path, picture: &RgbaImage) -> Result<()> {
    let saved = picture.save(path);
    saved.map_err(|error| broken("write", path, error))
}

pub fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

pub fn broken(action: &'static str, path: &Path, error: image::ImageError) -> Error {
    failed(action, path, io::Error::other(error))
}

#[cfg(test)]
mod tests;
