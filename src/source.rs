//! Pictures of a person.

use crate::camera::Camera;
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::file;
use glam::{DMat3, DVec2, DVec3};
use image::{
    ImageBuffer, Rgba, RgbaImage,
    imageops::{self, FilterType},
};
use std::{borrow::Cow, fmt};

mod decode;

/// One picture of a person. An avatar is built from one or several.
///
/// Any size and any aspect ratio up to [`SourceImage::MAX_SIDE`] a side; a larger file is reduced.
/// GPAvatar expects the background to be black; a picture with an alpha channel is composited on
/// black here.
///
/// A picture is either *canonical* (the default) or *tracked*:
/// - A canonical picture shows the head upright and frontal, filling most of it, as after
///   GPAvatar's own preparation. It is only resized, keeping its aspect ratio, centred on black;
///   where that shrinks it, every pixel contributes.
/// - A [tracked](SourceImage::tracked) picture comes with the camera a face tracker found for it,
///   and is warped to the canonical view: the homography that brings the square
///   `(±1, ±1, 0)` of the head's space to the whole output.
#[derive(Clone, PartialEq)]
pub struct SourceImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    camera: Option<Camera>,
}

impl SourceImage {
    /// Largest width or height in pixels, that of a texture on every WebGPU device.
    pub const MAX_SIDE: u32 = 8192;

    /// Reads a picture file: PNG, JPEG, GIF or animated WebP (their first frame), WebP, BMP or
    /// TIFF, told apart by content. An orientation in its EXIF data is applied, and colours are
    /// converted to sRGB from those of an embedded profile of RGB or grey. HEIC, AVIF and JPEG XL are
    /// not read: the error names a program that converts them.
    ///
    /// A picture with a side of more than [`SourceImage::MAX_SIDE`] is reduced by a whole factor.
    /// Pixels as the file has them may take 64 MiB and 512 times the size of the file, at most
    /// 576 MiB; reading takes that, what a decoder needs, and at most 8 bytes for every pixel that is
    /// kept.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; and see [`SourceImage::from_bytes`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&path.display().to_string(), &file::read(path)?, false)
    }

    /// Reads a picture file like [`SourceImage::open`], a truncated one as far as it goes.
    ///
    /// # Errors
    /// As for [`SourceImage::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_lenient(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&path.display().to_string(), &file::read(path)?, true)
    }

    /// The pixels of a picture file, read as by [`SourceImage::open`], with their alpha: what a tracker
    /// takes.
    ///
    /// # Errors
    /// As for [`SourceImage::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_rgba(path: impl AsRef<std::path::Path>) -> Result<RgbaImage> {
        let path = path.as_ref();
        Self::decode_rgba(&path.display().to_string(), &file::read(path)?, false)
    }

    /// Decodes the content of a picture file, as [`SourceImage::open`] does.
    ///
    /// # Errors
    /// [`Error::Format`] if it is corrupt, truncated, none of the known formats or takes too much
    /// memory; [`Error::Argument`] if it has no pixels.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode("source picture", bytes, false)
    }

    /// A picture from `width · height` pixels of 4 bytes: red, green, blue and straight
    /// (not premultiplied) alpha, row by row from the top.
    ///
    /// # Errors
    /// [`Error::Argument`] if a side is zero or more than [`SourceImage::MAX_SIDE`], or the amount
    /// of data does not fit.
    pub fn from_rgba8(width: u32, height: u32, mut data: Vec<u8>) -> Result<Self> {
        check_size("source picture", width, height)?;
        let expected = width as usize * height as usize * 4;
        let length = data.len();
        let ok = length == expected;
        let expected = format_args!("{width} x {height} x 4 = {expected} bytes");
        let found = format_args!("{length} bytes");
        Error::unless(ok, "source picture data", expected, found)?;
        composite_on_black(&mut data);
        Ok(Self {
            width,
            height,
            pixels: data,
            camera: None,
        })
    }

    /// The same picture with the camera a face tracker found for it: a [`Camera`], or its
    /// world-to-camera matrix alone.
    ///
    /// The camera's normalised coordinates `±1` are the picture's edges in both directions, as in
    /// GPAvatar's tracking data, so the picture should be a square crop.
    #[must_use]
    pub fn tracked(mut self, camera: impl Into<Camera>) -> Self {
        self.camera = Some(camera.into());
        self
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: red, green, blue and an alpha of 255, row by row from the top.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The camera of a [tracked](SourceImage::tracked) picture.
    pub fn camera(&self) -> Option<&Camera> {
        self.camera.as_ref()
    }

    /// The input of the warp to a canonical view of `size` pixels a side: a canonical picture
    /// resized to that view, a tracked one as it is.
    ///
    /// The warp reads four pixels for each output pixel, so it would skip most of a large picture,
    /// and it fades the border of one that it enlarges. A fitted picture passes unchanged.
    pub(crate) fn fitted(&self, size: u32) -> Cow<'_, Self> {
        if self.camera.is_some() || (self.width, self.height) == (size, size) {
            return Cow::Borrowed(self);
        }
        let scale = f64::from(size) / f64::from(self.width.max(self.height));
        let [width, height] =
            [self.width, self.height].map(|side| ((f64::from(side) * scale).round() as u32).max(1));
        let picture: ImageBuffer<Rgba<u8>, &[u8]> =
            ImageBuffer::from_raw(self.width, self.height, &*self.pixels)
                .expect("there are four bytes for every pixel");
        let resized = imageops::resize(&picture, width, height, FilterType::Triangle);
        let mut view = RgbaImage::from_pixel(size, size, Rgba([0, 0, 0, 255]));
        let [x, y] = [width, height].map(|side| (i64::from(size) - i64::from(side)) / 2);
        imageops::replace(&mut view, &resized, x, y);
        Cow::Owned(Self {
            width: size,
            height: size,
            pixels: view.into_raw(),
            camera: None,
        })
    }

    /// The matrix that takes a pixel of the canonical view, `size` pixels a side, to the place in
    /// this picture that it shows.
    ///
    /// ```text
    /// (x, y, w) = homography · (column + ½, row + ½, 1)
    /// ```
    ///
    /// is the source position `(x / w, y / w)`, in pixels from the upper left corner, so that the
    /// centres of source pixels, too, lie at `+½`.
    ///
    /// For a tracked picture this is the inverse of the homography that sends the four corners of
    /// the square `(-1,1,0), (1,1,0), (1,-1,0), (-1,-1,0)`, projected by the picture's camera and
    /// truncated towards zero to whole pixels, to `(0,0), (size-1,0), (size-1,size-1), (0,size-1)`:
    /// the warp GPAvatar's training data was made with. For a canonical picture it scales, by the
    /// longer side, about the centre.
    ///
    /// # Errors
    /// [`Error::Argument`] if `size` is less than 2, the camera is [no camera](Camera::validate),
    /// or the square is not wholly in front of it or not seen as a quadrilateral (edge-on, too
    /// small).
    pub fn homography(&self, size: u32) -> Result<[[f64; 3]; 3]> {
        let what = "size of the canonical view";
        Error::unless(size >= 2, what, "at least 2 pixels", size)?;
        let matrix = match &self.camera {
            Some(camera) => {
                let corners = self.corners(camera)?;
                let pixels = corners.map(DVec2::trunc);
                let ok = [corners, pixels].iter().all(is_quadrilateral);
                let what = "camera of the source picture";
                let expected = "the square (±1, ±1, 0) to be seen as a quadrilateral";
                Error::unless(
                    ok,
                    what,
                    expected,
                    format_args!("pixel corners {corners:?}"),
                )?;
                let square = unit_square_to(pixels);
                square * DMat3::from_scale(DVec2::splat(1.0 / f64::from(size - 1)))
            }
            None => {
                let source = DVec2::new(self.width.into(), self.height.into());
                let scale = source.max_element() / f64::from(size);
                let margin = (source - scale * f64::from(size)) / 2.0;
                DMat3::from_translation(margin) * DMat3::from_scale(DVec2::splat(scale))
            }
        };
        Ok(matrix.transpose().to_cols_array_2d())
    }

    /// The corners of the canonical square in this picture, in pixels.
    fn corners(&self, camera: &Camera) -> Result<[DVec2; 4]> {
        camera.validate()?;
        let half = DVec2::new(self.width.into(), self.height.into()) / 2.0;
        let mut corners = [DVec2::ZERO; 4];
        let square = [(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)];
        for (corner, (x, y)) in corners.iter_mut().zip(square) {
            let projected = camera.project(DVec3::new(x, y, 0.0)).ok_or_else(|| {
                let what = "camera of the source picture";
                let expected = "the square (±1, ±1, 0) in front of it";
                Error::argument(what, expected, format_args!("({x}, {y}, 0) behind it"))
            })?;
            *corner = half * (1.0 - projected);
        }
        Ok(corners)
    }
}

impl fmt::Debug for SourceImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceImage")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("camera", &self.camera)
            .finish_non_exhaustive()
    }
}

fn check_size(what: &str, width: u32, height: u32) -> Result<()> {
    let most = SourceImage::MAX_SIDE;
    let expected = format_args!("1 to {most} pixels a side");
    let found = format_args!("{width} x {height}");
    let ok = [width, height].iter().all(|side| (1..=most).contains(side));
    Error::unless(ok, what, expected, found)
}

/// Multiplies colour by alpha, rounding to nearest, and makes every pixel opaque.
pub(crate) fn composite_on_black(rgba: &mut [u8]) {
    let (pixels, _) = rgba.as_chunks_mut::<4>();
    for [colour @ .., alpha] in pixels {
        if *alpha < 255 {
            *colour = colour.map(|c| ((u16::from(c) * u16::from(*alpha) + 127) / 255) as u8);
            *alpha = 255;
        }
    }
}

/// True for the `corners`, in pixels, of a convex quadrilateral each of whose corners spans at least
/// a pixel. Below that, truncation decides its shape.
fn is_quadrilateral(corners: &[DVec2; 4]) -> bool {
    let turns = [0, 1, 2, 3].map(|i| {
        let [a, b, c] = [0, 1, 2].map(|k| corners[(i + k) % 4]);
        (b - a).perp_dot(c - b)
    });
    turns.iter().all(|turn| *turn >= 1.0) || turns.iter().all(|turn| *turn <= -1.0)
}

/// The homography that takes (0,0), (1,0), (1,1), (0,1) to the corners of a quadrilateral
/// (Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3).
fn unit_square_to([p0, p1, p2, p3]: [DVec2; 4]) -> DMat3 {
    let (along, up, rest) = (p1 - p2, p3 - p2, p0 - p1 + p2 - p3);
    let determinant = along.perp_dot(up);
    let g = rest.perp_dot(up) / determinant;
    let h = along.perp_dot(rest) / determinant;
    DMat3::from_cols(
        (p1 - p0 + g * p1).extend(g),
        (p3 - p0 + h * p3).extend(h),
        p0.extend(1.0),
    )
}

#[cfg(test)]
mod tests;
