//! Decoding of picture files, within a stated amount of memory, to sRGB.

use std::fmt::Display;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageReader, Limits, RgbaImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::SourceImage;
use crate::error::{Error, Result};
use crate::sniff::{self, Kind};

const FORMAT: &str = "picture (PNG, JPEG, GIF, WebP, BMP or TIFF)";

/// Bytes of pixels that a picture of any file may have, and further ones for each byte of the file.
const FREE: u64 = 64 << 20;
const EACH: u64 = 512;

/// Bytes of pixels that no picture may exceed: 16,384 x 12,288 of 3 bytes.
const MOST: u64 = 576 << 20;

impl SourceImage {
    /// `lenient`: a truncated picture is taken as far as it goes.
    pub(super) fn decode(what: &str, bytes: &[u8], lenient: bool) -> Result<Self> {
        let picture = Self::decode_rgba(what, bytes, lenient)?;
        Self::from_rgba8(picture.width(), picture.height(), picture.into_raw())
    }

    /// The same with straight alpha.
    pub(super) fn decode_rgba(what: &str, bytes: &[u8], lenient: bool) -> Result<RgbaImage> {
        let invalid = |error: &dyn Display| Error::format(what, FORMAT, error.to_string());
        let kind = sniff::kind(bytes);
        if !kind.is_picture() {
            let advice = conversion(kind).unwrap_or_default();
            return Err(invalid(&format_args!("{}{advice}", sniff::reason(bytes))));
        }
        if !lenient && is_cut_jpeg(bytes) {
            return Err(invalid(&"it ends before its picture does: it is truncated"));
        }
        let affordable = MOST.min(FREE.saturating_add(EACH.saturating_mul(bytes.len() as u64)));
        let mut reader = ImageReader::new(Cursor::new(bytes));
        // What decoders take besides the pixels that they are given: with PNG a colour profile, which
        // a few bytes may unfold to.
        let mut limits = Limits::default();
        limits.max_alloc = Some(if kind == Kind::Png { FREE } else { affordable });
        reader.limits(limits);
        let reader = (reader.with_guessed_format()).map_err(|error| invalid(&error))?;
        if let Some(format) = reader.format().filter(|format| !format.reading_enabled()) {
            let feature = format!("{format:?}").to_lowercase();
            return Err(invalid(&format_args!(
                "this program was built without gpavatar's feature `{feature}`, which decodes it"
            )));
        }
        let mut decoder = (reader.into_decoder()).map_err(|error| invalid(&error))?;
        let (width, height) = decoder.dimensions();
        let ok = width > 0 && height > 0;
        let found = format_args!("{width} x {height}");
        Error::unless(ok, what, "at least one pixel", found)?;
        let (colour, size) = (decoder.color_type(), decoder.total_bytes());
        if size > affordable {
            return Err(invalid(&format_args!(
                "its {width} x {height} pixels take {size} bytes, more than a file of {} bytes should \
                 become: at most {affordable}",
                bytes.len()
            )));
        }
        // A picture whose EXIF data or colour profile is broken is still a picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let profile = decoder.icc_profile().ok().flatten();
        let mut pixels = vec![0; size as usize];
        match decoder.read_image(&mut pixels) {
            Err(error) if !lenient => return Err(invalid(&error)),
            _ => {}
        }
        let mut picture = reduced(&pixels, colour, [width, height]).ok_or_else(|| {
            invalid(&format_args!(
                "expected 1 to 4 channels of a known type, found {colour:?}"
            ))
        })?;
        drop(pixels);
        if let Some(profile) = profile {
            to_srgb(&mut picture, &profile);
        }
        let mut picture = DynamicImage::from(picture);
        picture.apply_orientation(orientation);
        Ok(picture.into_rgba8())
    }
}

/// How to convert a picture of a kind that is not read.
fn conversion(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Avif => ", which is not read: convert it, as with `avifdec in.avif out.png`",
        Kind::Heic => ", which is not read: convert it, as with `heif-convert in.heic out.jpg`",
        Kind::Other(name) if name.ends_with("picture") => {
            ", which is not read: convert it to PNG or JPEG, as with `magick`"
        }
        _ => return None,
    })
}

/// True for a JPEG whose marker "end of image" is missing. Decoders fill what is missing with grey.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(b"\xff\xd8") else {
        return false;
    };
    loop {
        // Up to the next marker: entropy-coded data hold none but zeros and restarts.
        let Some(at) = rest.windows(2).position(|pair| {
            pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff | 0xd0..=0xd7 | 0x01)
        }) else {
            return true;
        };
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        if marker == 0xd9 {
            return false;
        }
        // Segments are skipped: they may hold a small picture of their own.
        let length = rest
            .first_chunk()
            .map(|length| usize::from(u16::from_be_bytes(*length)));
        match length.and_then(|length| rest.get(length.max(2)..)) {
            Some(after) => rest = after,
            None => return true,
        }
    }
}

/// The pixels in 8 bits, straight alpha; of a picture with a side of more than
/// [`SourceImage::MAX_SIDE`], averages of squares, on black. None for unknown kinds of pixels.
fn reduced(pixels: &[u8], colour: ColorType, [width, height]: [u32; 2]) -> Option<RgbaImage> {
    let size = usize::from(colour.bytes_per_pixel());
    let row = |y: u32| &pixels[y as usize * width as usize * size..][..width as usize * size];
    rgba(&vec![0; size], colour)?;
    let at =
        |row: &[u8], x: u32| rgba(&row[x as usize * size..][..size], colour).unwrap_or_default();
    let factor = width.max(height).div_ceil(SourceImage::MAX_SIDE);
    if factor == 1 {
        let mut picture = RgbaImage::new(width, height);
        for (y, line) in (0..).zip(picture.rows_mut()) {
            let row = row(y);
            for (x, pixel) in (0..).zip(line) {
                pixel.0 = at(row, x);
            }
        }
        return Some(picture);
    }
    let columns = width.div_ceil(factor);
    let mut picture = RgbaImage::new(columns, height.div_ceil(factor));
    let mut sums = vec![[0u32; 3]; columns as usize];
    for (y, line) in (0..).step_by(factor as usize).zip(picture.rows_mut()) {
        sums.fill([0; 3]);
        let rows = factor.min(height - y);
        for row in (y..y + rows).map(row) {
            for x in 0..width {
                let [colour @ .., alpha] = at(row, x);
                for (sum, value) in sums[(x / factor) as usize].iter_mut().zip(colour) {
                    *sum += u32::from(value) * u32::from(alpha);
                }
            }
        }
        for (x, (pixel, sum)) in (0..).step_by(factor as usize).zip(line.zip(&sums)) {
            let count = rows * factor.min(width - x) * 255;
            let [r, g, b] = sum.map(|sum| ((sum + count / 2) / count) as u8);
            pixel.0 = [r, g, b, 255];
        }
    }
    Some(picture)
}

/// A pixel in 8 bits.
fn rgba(pixel: &[u8], colour: ColorType) -> Option<[u8; 4]> {
    let wide = |i: usize| {
        let value = u16::from_ne_bytes([pixel[2 * i], pixel[2 * i + 1]]);
        ((u32::from(value) + 128) / 257) as u8
    };
    let float = |i: usize| {
        let bytes: [u8; 4] = std::array::from_fn(|k| pixel[4 * i + k]);
        (f32::from_ne_bytes(bytes).clamp(0.0, 1.0) * 255.0).round() as u8
    };
    Some(match (colour, pixel) {
        (ColorType::L8, &[l]) => [l, l, l, 255],
        (ColorType::La8, &[l, a]) => [l, l, l, a],
        (ColorType::Rgb8, &[r, g, b]) => [r, g, b, 255],
        (ColorType::Rgba8, &[r, g, b, a]) => [r, g, b, a],
        (ColorType::L16, _) => [wide(0), wide(0), wide(0), 255],
        (ColorType::La16, _) => [wide(0), wide(0), wide(0), wide(1)],
        (ColorType::Rgb16, _) => [wide(0), wide(1), wide(2), 255],
        (ColorType::Rgba16, _) => [0, 1, 2, 3].map(wide),
        (ColorType::Rgb32F, _) => [float(0), float(1), float(2), 255],
        (ColorType::Rgba32F, _) => [0, 1, 2, 3].map(float),
        _ => return None,
    })
}

/// Largest difference by which a profile counts as sRGB's own.
const UNSEEN: u8 = 2;

/// Converts a picture to sRGB. A profile that is broken, or of another kind of pixels than the
/// decoder gives (CMYK), changes nothing.
fn to_srgb(picture: &mut RgbaImage, profile: &[u8]) {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else {
        return;
    };
    let layout = match profile.color_space {
        DataColorSpace::Rgb => Layout::Rgba,
        DataColorSpace::Gray => Layout::GrayAlpha,
        _ => return,
    };
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let transform = profile.create_transform_8bit(layout, &srgb, Layout::Rgba, options);
    let Ok(transform) = transform else {
        return;
    };
    let convert = |pixels: &[u8]| -> Option<Vec<u8>> {
        let mut converted = vec![0; pixels.len()];
        let (chunks, _) = pixels.as_chunks::<4>();
        let result = match layout {
            Layout::Rgba => transform.transform(pixels, &mut converted),
            _ => {
                let grey: Vec<u8> = chunks.iter().flat_map(|&[l, _, _, a]| [l, a]).collect();
                transform.transform(&grey, &mut converted)
            }
        };
        result.ok().map(|()| converted)
    };
    // Most profiles are sRGB's, and rounding should change no picture that has one.
    let steps = || (0..=255u8).step_by(51);
    let palette: Vec<u8> = match layout {
        Layout::Rgba => steps()
            .flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b, 255])))
            .collect(),
        _ => steps().flat_map(|l| [l, l, l, 255]).collect(),
    };
    let Some(converted) = convert(&palette) else {
        return;
    };
    let mut pairs = palette.iter().zip(&converted);
    if pairs.all(|(a, b)| a.abs_diff(*b) <= UNSEEN) {
        return;
    }
    let rows = 4 * picture.width() as usize * 16;
    for rows in picture.chunks_mut(rows) {
        if let Some(converted) = convert(rows) {
            rows.copy_from_slice(&converted);
        }
    }
}
