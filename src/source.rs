//! Pictures of a person, as an avatar is built from.

#[cfg(not(target_arch = "wasm32"))]
use crate::file;
use crate::{Camera, Error, Result};
use glam::{DMat3, DVec2, DVec3};
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageReader, Limits, Rgba, RgbaImage,
    imageops::{self, FilterType},
    metadata::Orientation,
};
use std::{borrow::Cow, fmt, io::Cursor};

const FORMAT: &str = "picture (PNG, JPEG, GIF, WebP, BMP or TIFF)";

/// One picture of a person: what an avatar is built from.
///
/// Any size and any aspect ratio up to [`SourceImage::MAX_SIDE`] a side. GPAvatar expects the
/// background to be black; a picture with an alpha channel is composited on black here.
///
/// A picture is either *canonical* (the default) or *tracked*:
/// - A canonical picture shows the head upright and frontal, filling most of it, as after
///   GPAvatar's own preparation. It is only resized, keeping its aspect ratio, centred on black;
///   where that shrinks it, every pixel counts.
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
    /// Largest width or height in pixels: what every WebGPU device can hold in one texture.
    pub const MAX_SIDE: u32 = 8192;

    /// Reads a picture file: PNG, JPEG, GIF or animated WebP (their first frame), WebP, BMP or
    /// TIFF, told apart by content. An orientation in its EXIF data is applied.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, else those of [`SourceImage::from_bytes`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&path.display().to_string(), &file::read(path)?)
    }

    /// Decodes the content of a picture file, as [`SourceImage::open`] does.
    ///
    /// # Errors
    /// [`Error::Format`] if it is corrupt, truncated or none of the known formats;
    /// [`Error::Argument`] if it has no pixels or more than [`SourceImage::MAX_SIDE`] a side.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode("source picture", bytes)
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
        if data.len() != expected {
            return Err(Error::argument(
                "source picture data",
                format!("{width} x {height} x 4 = {expected} bytes"),
                format!("{} bytes", data.len()),
            ));
        }
        composite_on_black(&mut data);
        Ok(Self {
            width,
            height,
            pixels: data,
            camera: None,
        })
    }

    fn decode(what: &str, bytes: &[u8]) -> Result<Self> {
        let invalid = |error: &dyn fmt::Display| Error::format(what, FORMAT, error.to_string());
        let mut reader = ImageReader::new(Cursor::new(bytes));
        // The sides are checked below, with a message that says what was found; this bounds what a
        // decoder allocates besides.
        reader.limits(Limits::default());
        let mut decoder = (reader.with_guessed_format())
            .map_err(|error| invalid(&error))?
            .into_decoder()
            .map_err(|error| invalid(&error))?;
        let (width, height) = decoder.dimensions();
        check_size(what, width, height)?;
        // A picture whose EXIF data is broken is still a picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder).map_err(|error| invalid(&error))?;
        image.apply_orientation(orientation);
        let image = image.into_rgba8();
        Self::from_rgba8(image.width(), image.height(), image.into_raw())
    }

    /// The same picture with the camera a face tracker found for it: a [`Camera`], or its
    /// world-to-camera matrix alone.
    ///
    /// As GPAvatar's tracking data has it, the camera's normalised coordinates `±1` are the
    /// picture's edges in both directions, so it should be a square crop.
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

    /// This picture as the warp to a canonical view of `size` pixels a side takes it: a canonical
    /// picture resized to just that view, a tracked one as it is.
    ///
    /// A warp reads four pixels for each of its own, so it would skip most of a large picture, and
    /// it fades the border of one that it enlarges. What is fitted passes through it unchanged.
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
        if size < 2 {
            return Err(Error::argument(
                "size of the canonical view",
                "at least 2 pixels",
                size.to_string(),
            ));
        }
        let matrix = match &self.camera {
            Some(camera) => {
                let corners = self.corners(camera)?;
                let pixels = corners.map(DVec2::trunc);
                if ![corners, pixels].iter().all(is_quadrilateral) {
                    return Err(Error::argument(
                        "camera of the source picture",
                        "the square (±1, ±1, 0) to be seen as a quadrilateral",
                        format!("pixel corners {corners:?}"),
                    ));
                }
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

    /// Where the corners of the canonical square fall in this picture, in pixels.
    fn corners(&self, camera: &Camera) -> Result<[DVec2; 4]> {
        camera.validate()?;
        let half = DVec2::new(self.width.into(), self.height.into()) / 2.0;
        let mut corners = [DVec2::ZERO; 4];
        let square = [(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)];
        for (corner, (x, y)) in corners.iter_mut().zip(square) {
            let projected = camera.project(DVec3::new(x, y, 0.0)).ok_or_else(|| {
                Error::argument(
                    "camera of the source picture",
                    "the square (±1, ±1, 0) in front of it",
                    format!("({x}, {y}, 0) behind it"),
                )
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
    let sides = 1..=SourceImage::MAX_SIDE;
    if sides.contains(&width) && sides.contains(&height) {
        return Ok(());
    }
    Err(Error::argument(
        what,
        format!("1 to {} pixels a side", SourceImage::MAX_SIDE),
        format!("{width} x {height}"),
    ))
}

/// Multiplies colour by alpha, rounding to nearest, and makes every pixel opaque.
fn composite_on_black(rgba: &mut [u8]) {
    let (pixels, _) = rgba.as_chunks_mut::<4>();
    for [colour @ .., alpha] in pixels {
        if *alpha < 255 {
            *colour = colour.map(|c| ((u16::from(c) * u16::from(*alpha) + 127) / 255) as u8);
            *alpha = 255;
        }
    }
}

/// Whether pixel `corners` go round a convex quadrilateral, as a square seen through a pinhole
/// does, of which every corner spans at least a pixel (beyond that, truncation decides its shape).
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
mod tests {
    use super::*;
    use crate::{TensorFile, file::Scratch};
    use image::{ExtendedColorType, ImageEncoder, codecs};
    use std::fs;

    fn apply(homography: &[[f64; 3]; 3], x: f64, y: f64) -> DVec2 {
        let [x, y, w] = homography.map(|row| DVec3::from(row).dot(DVec3::new(x, y, 1.0)));
        DVec2::new(x, y) / w
    }

    fn golden_source(i: usize) -> SourceImage {
        let golden = TensorFile::golden("geometry.safetensors");
        let transform = golden.f32(&format!("warp{i}.transform")).unwrap();
        let transform: [[f32; 4]; 3] = bytemuck::cast_slice(&transform).try_into().unwrap();
        let picture = format!("{}/tests/golden/source_{i}.png", env!("CARGO_MANIFEST_DIR"));
        SourceImage::open(picture).unwrap().tracked(transform)
    }

    fn blank(width: u32, height: u32) -> SourceImage {
        SourceImage::from_rgba8(width, height, vec![0; (width * height * 4) as usize]).unwrap()
    }

    #[test]
    fn corners_match_the_authors() {
        let golden = TensorFile::golden("geometry.safetensors");
        for i in 0..2 {
            let source = golden_source(i);
            let expected = golden.f32(&format!("warp{i}.corners")).unwrap();
            let corners = source.corners(source.camera().unwrap()).unwrap();
            for (corner, expected) in corners.iter().zip(expected.chunks_exact(2)) {
                let expected = DVec2::new(expected[0].into(), expected[1].into());
                // The authors projected in f32: a few roundings at magnitude 600.
                assert!(corner.abs_diff_eq(expected, 5e-4), "{corner} {expected}");
            }
        }
    }

    /// Resamples as documented and compares with the picture the authors' code made.
    #[test]
    fn warped_pictures_match_the_authors() {
        let golden = TensorFile::golden("geometry.safetensors");
        for i in 0..2 {
            let source = golden_source(i);
            let homography = source.homography(512).unwrap();
            let half = golden.f32(&format!("warp{i}.image_half")).unwrap();
            let (mut worst, mut total) = (0.0f64, 0.0);
            for row in 0..256 {
                for column in 0..256 {
                    let at = apply(
                        &homography,
                        2.0 * column as f64 + 0.5,
                        2.0 * row as f64 + 0.5,
                    );
                    let (colour, coverage) = bilinear(&source, at - 0.5);
                    for channel in 0..3 {
                        let expected = f64::from(half[(channel * 256 + row) * 256 + column]);
                        let error = (colour[channel] * coverage - expected).abs();
                        worst = worst.max(error);
                        total += error;
                    }
                }
            }
            // The authors' sampling grid is f32: 1e-4 of a pixel across edges of contrast 1.
            assert!(worst < 3e-4, "warp{i}: worst error {worst}");
            assert!(total / f64::from(3 * 256 * 256) < 1e-6, "warp{i}: {total}");
        }
    }

    /// Colour in [0, 1] and coverage at `at`, where pixel centres have whole coordinates.
    fn bilinear(source: &SourceImage, at: DVec2) -> ([f64; 3], f64) {
        let (base, mut colour, mut coverage) = (at.floor(), [0.0; 3], 0.0);
        for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            let texel = base + DVec2::new(dx, dy);
            let inside = texel.cmpge(DVec2::ZERO).all()
                && texel.x < source.width.into()
                && texel.y < source.height.into();
            if inside {
                let weight = (1.0 - (at - texel).abs()).element_product();
                let first = (texel.y as usize * source.width as usize + texel.x as usize) * 4;
                coverage += weight;
                for (colour, pixel) in colour.iter_mut().zip(&source.pixels[first..]) {
                    *colour += weight * f64::from(*pixel) / 255.0;
                }
            }
        }
        (colour, coverage)
    }

    #[test]
    fn a_tracked_homography_meets_the_truncated_corners() {
        let source = golden_source(1);
        let homography = source.homography(64).unwrap();
        let corners = source.corners(source.camera().unwrap()).unwrap();
        let output = [(0.0, 0.0), (63.0, 0.0), (63.0, 63.0), (0.0, 63.0)];
        for (corner, (x, y)) in corners.into_iter().zip(output) {
            // f64 rounding at magnitude 600.
            assert!(apply(&homography, x, y).abs_diff_eq(corner.trunc(), 1e-9));
        }
    }

    #[test]
    fn a_canonical_picture_is_fitted_and_centred() {
        let homography = blank(40, 20).homography(10).unwrap();
        for (output, expected) in [
            ((5.0, 5.0), (20.0, 10.0)),
            ((0.0, 5.0), (0.0, 10.0)),
            ((10.0, 7.5), (40.0, 20.0)),
            ((5.0, 0.0), (20.0, -10.0)),
        ] {
            let found = apply(&homography, output.0, output.1);
            assert!(found.abs_diff_eq(expected.into(), 1e-12), "{found}");
        }
        let same = blank(10, 10).homography(10).unwrap();
        assert_eq!(same, DMat3::IDENTITY.to_cols_array_2d());
    }

    fn grey(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> SourceImage {
        let image = image::GrayImage::from_fn(width, height, |x, y| image::Luma([value(x, y)]));
        let rgba = DynamicImage::from(image).into_rgba8();
        SourceImage::from_rgba8(width, height, rgba.into_raw()).unwrap()
    }

    #[test]
    fn a_fitted_picture_is_as_bright_at_its_border_as_inside() {
        for (width, height, size, picture) in [
            (40, 20, 10, [10, 5]),
            (3, 5, 8, [5, 8]),
            (8, 8, 7, [7, 7]),
            (100, 1, 10, [10, 1]),
        ] {
            let fitted = grey(width, height, |_, _| 200).fitted(size).into_owned();
            assert_eq!((fitted.width(), fitted.height()), (size, size));
            let margin = picture.map(|side| (size - side) / 2);
            for (i, pixel) in (0..).zip(fitted.pixels().as_chunks::<4>().0) {
                let at = [i % size, i / size];
                let inside = (0..2)
                    .all(|axis| (margin[axis]..margin[axis] + picture[axis]).contains(&at[axis]));
                let value = if inside { 200 } else { 0 };
                assert_eq!(*pixel, [value, value, value, 255], "{at:?} of {fitted:?}");
            }
        }
    }

    #[test]
    fn shrinking_averages_over_all_pixels() {
        // One bright column in eight, where bilinear samples eight columns apart never read.
        let fitted = grey(64, 64, |x, _| if x % 8 == 0 { 255 } else { 0 })
            .fitted(8)
            .into_owned();
        for row in fitted.pixels().chunks_exact(8 * 4) {
            // A triangle that reaches over 16 columns gives each phase of the pattern the weight
            // 1/8, except at the borders, where it is cut off.
            for pixel in row[4..7 * 4].as_chunks::<4>().0 {
                assert_eq!(*pixel, [32, 32, 32, 255]);
            }
        }
    }

    #[test]
    fn a_fitted_picture_passes_the_warp_unchanged() {
        for (width, height, size) in [(40, 20, 10), (512, 512, 512), (700, 900, 511), (7, 9, 1024)]
        {
            let fitted = grey(width, height, |x, y| (x * 7 + y * 31) as u8)
                .fitted(size)
                .into_owned();
            let homography = fitted.homography(size).unwrap();
            assert_eq!(homography, DMat3::IDENTITY.to_cols_array_2d());
            // As the kernel computes, in f32: it reads one pixel, whose neighbours have no weight.
            let rows = homography.map(|row| row.map(|value| value as f32));
            for i in 0..size {
                let centre = [i as f32 + 0.5, (size - i) as f32 - 0.5, 1.0];
                let [x, y, w] = rows.map(|row| (0..3).map(|k| row[k] * centre[k]).sum::<f32>());
                assert_eq!(
                    (x / w - 0.5, y / w - 0.5),
                    (i as f32, (size - 1 - i) as f32)
                );
            }
        }
        let config = crate::ModelConfig {
            source_size: 32,
            ..Default::default()
        };
        let source = grey(50, 40, |x, y| (x * 7 + y * 31) as u8);
        let view = crate::reference::pipeline::prepare(&config, &source).unwrap();
        let fitted = source.fitted(32);
        let (pixels, _) = fitted.pixels().as_chunks::<4>();
        let expected = pixels.iter().flat_map(|pixel| &pixel[..3]);
        assert!(
            view.data
                .iter()
                .copied()
                .eq(expected.map(|&v| f32::from(v) / 255.0))
        );
    }

    #[test]
    fn a_tracked_picture_and_one_of_the_right_size_are_not_resampled() {
        let tracked = golden_source(0);
        for (source, size) in [(&tracked, 64), (&blank(64, 64), 64)] {
            assert!(matches!(source.fitted(size), Cow::Borrowed(same) if same == source));
        }
    }

    #[test]
    fn a_view_without_pixels_is_an_error() {
        let nothing = blank(8, 8).fitted(0).into_owned();
        assert!(matches!(nothing.homography(0), Err(Error::Argument { .. })));
    }

    #[test]
    fn a_camera_without_a_view_of_the_square_is_an_error() {
        let edge_on = Camera::look_at([10.0, 0.0, 0.0], [0.0; 3], [0.0, 1.0, 0.0]);
        let inside = Camera::orbit(0.5, 0.0, 60.0);
        let too_far = Camera::orbit(1e6, 0.0, 0.0);
        let singular = Camera::from_transform([[0.0; 4]; 3]);
        let almost_edge_on = Camera::orbit(10.0, 0.0, 90.0);
        for camera in [edge_on, almost_edge_on, inside, too_far, singular] {
            let error = blank(512, 512).tracked(camera).homography(512).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
        for size in [0, 1] {
            let error = blank(8, 8).homography(size).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
    }

    #[test]
    fn alpha_is_composited_on_black() {
        let data = vec![255, 100, 3, 255, 255, 100, 3, 128, 255, 100, 3, 0];
        let image = SourceImage::from_rgba8(3, 1, data).unwrap();
        let expected = [255, 100, 3, 255, 128, 50, 2, 255, 0, 0, 0, 255];
        assert_eq!(image.pixels(), expected);
    }

    #[test]
    fn sizes_and_amounts_are_checked() {
        for (width, height, bytes) in [
            (0, 4, 0),
            (4, 0, 0),
            (SourceImage::MAX_SIDE + 1, 1, 4 * (8192 + 1)),
            (u32::MAX, u32::MAX, 16),
            (2, 2, 15),
            (2, 2, 12),
        ] {
            let error = SourceImage::from_rgba8(width, height, vec![0; bytes]).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
    }

    /// A 3 x 2 picture with a different colour in every pixel, in every format that is read.
    fn encoded() -> Vec<(&'static str, Vec<u8>)> {
        let rgb: Vec<u8> = (0..18).map(|i| i * 14).collect();
        let buffer = image::RgbImage::from_raw(3, 2, rgb).unwrap();
        ["png", "jpeg", "gif", "webp", "bmp", "tiff"]
            .map(|extension| {
                let mut bytes = Cursor::new(Vec::new());
                let format = image::ImageFormat::from_extension(extension).unwrap();
                buffer.write_to(&mut bytes, format).unwrap();
                (extension, bytes.into_inner())
            })
            .into()
    }

    #[test]
    fn every_format_is_told_apart_by_content() {
        let scratch = Scratch::new("source-formats");
        for (extension, bytes) in encoded() {
            let path = scratch.path("picture.wrong_extension");
            fs::write(&path, &bytes).unwrap();
            let image = SourceImage::open(&path).unwrap();
            assert_eq!((image.width(), image.height()), (3, 2), "{extension}");
            assert_eq!(image, SourceImage::from_bytes(&bytes).unwrap());
            if extension != "jpeg" && extension != "gif" {
                assert_eq!(image.pixels()[8..12], [84, 98, 112, 255], "{extension}");
                assert_eq!(image.pixels()[16..20], [168, 182, 196, 255], "{extension}");
            }
        }
    }

    #[test]
    fn a_corrupt_picture_is_an_error_that_names_the_file() {
        let scratch = Scratch::new("source-corrupt");
        let mut bad = vec![Vec::new(), b"not a picture at all, just some text".to_vec()];
        for (_, bytes) in encoded() {
            // Cut inside the header: what decoders do with half the pixels is their affair.
            bad.push(bytes[..12].to_vec());
        }
        let (_, mut png) = encoded().swap_remove(0);
        png.truncate(png.len() - 20);
        bad.push(png);
        for bytes in bad {
            let path = scratch.path("portrait.png");
            fs::write(&path, &bytes).unwrap();
            let error = SourceImage::open(&path).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{error}");
            assert!(error.to_string().contains("portrait.png"), "{error}");
        }
        let missing = SourceImage::open(scratch.path("missing.png")).unwrap_err();
        assert!(matches!(missing, Error::Io { .. }), "{missing}");
    }

    #[test]
    fn no_cut_or_flipped_byte_panics() {
        for (_, bytes) in encoded() {
            for i in 0..bytes.len() {
                // Whether it still decodes depends on the byte; that it returns is the test.
                let _ = SourceImage::from_bytes(&bytes[..i]);
                let mut flipped = bytes.clone();
                flipped[i] ^= 0xff;
                let _ = SourceImage::from_bytes(&flipped);
            }
        }
    }

    #[test]
    fn a_huge_picture_is_refused_before_it_is_decoded() {
        let mut bytes = Vec::new();
        let (width, height) = (SourceImage::MAX_SIDE + 1, 1);
        codecs::png::PngEncoder::new(&mut bytes)
            .write_image(
                &vec![0; width as usize],
                width,
                height,
                ExtendedColorType::L8,
            )
            .unwrap();
        let error = SourceImage::from_bytes(&bytes).unwrap_err();
        assert!(error.to_string().contains("8193 x 1"), "{error}");
    }

    #[test]
    fn exif_orientation_is_applied() {
        // A TIFF header with the one entry "orientation = 6": turn right by 90 degrees.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let mut bytes = Vec::new();
        let mut encoder = codecs::png::PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif).unwrap();
        encoder
            .write_image(&[10, 20, 30], 3, 1, ExtendedColorType::L8)
            .unwrap();
        let image = SourceImage::from_bytes(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (1, 3));
        assert_eq!(image.pixels()[..4], [10, 10, 10, 255]);
    }
}
