//! Animated GIFs.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use gpavatar::Result;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};

use crate::album::{broken, failed};

/// An endless animation on its way into a file.
pub struct Animation {
    path: PathBuf,
    encoder: GifEncoder<Shared>,
    file: Shared,
    seconds: f64,
    /// Pictures so far.
    count: usize,
}

/// The encoder writes the file's end when it is dropped, after which the file is still to be flushed.
#[derive(Clone)]
struct Shared(Rc<RefCell<BufWriter<File>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

impl Animation {
    /// Starts an animation of pictures of up to so many `pixels`, `seconds` each.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path, pixels: u32, seconds: f64) -> Result<Self> {
        let file = File::create(path).map_err(|error| failed("create", path, error))?;
        // The encoder samples one in this many pixels to find a picture's 256 colours: enough to
        // find good ones, few enough not to take longer than rendering.
        let speed = (pixels >> 14).clamp(1, 10) as i32;
        let file = Shared(Rc::new(RefCell::new(BufWriter::new(file))));
        let mut encoder = GifEncoder::new_with_speed(file.clone(), speed);
        let endless = encoder.set_repeat(Repeat::Infinite);
        endless.map_err(|error| broken("write", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            encoder,
            file,
            seconds,
            count: 0,
        })
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn push(&mut self, mut picture: RgbaImage) -> Result<()> {
        for pixel in picture.pixels_mut() {
            // A pixel of a GIF is either opaque or transparent.
            pixel[3] = if pixel[3] < 128 { 0 } else { 255 };
        }
        let delay = Delay::from_saturating_duration(delay(self.count, self.seconds));
        let frame = Frame::from_parts(picture, 0, 0, delay);
        let encoded = self.encoder.encode_frame(frame);
        encoded.map_err(|error| broken("write", &self.path, error))?;
        self.count += 1;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        drop(self.encoder);
        let flushed = self.file.flush();
        flushed.map_err(|error| failed("write", &self.path, error))
    }
}

/// How long picture `index` of an animation stays. A GIF counts whole hundredths of a second, so
/// some pictures stay longer than others to keep the total right.
fn delay(index: usize, seconds: f64) -> Duration {
    let end = |pictures: usize| (pictures as f64 * seconds * 100.0).round() as u64;
    Duration::from_millis(10 * (end(index + 1) - end(index)))
}

#[cfg(test)]
mod tests;
