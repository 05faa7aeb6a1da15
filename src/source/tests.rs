use super::*;
use crate::error::refused;
use crate::file::Scratch;
use crate::weights::TensorFile;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, Rgb, codecs};
use std::fs;
use std::io::Cursor;

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
                let [x, y] = [column, row].map(|i| 2.0 * i as f64 + 0.5);
                let at = apply(&homography, x, y);
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
            let inside =
                (0..2).all(|axis| (margin[axis]..margin[axis] + picture[axis]).contains(&at[axis]));
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
    for (width, height, size) in [(40, 20, 10), (512, 512, 512), (700, 900, 511), (7, 9, 1024)] {
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
            assert_eq!(x / w - 0.5, i as f32);
            assert_eq!(y / w - 0.5, (size - 1 - i) as f32);
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
    let expected: Vec<f32> = expected.map(|&v| f32::from(v) / 255.0).collect();
    assert_eq!(view.data, expected);
}

#[test]
fn a_tracked_picture_and_one_of_the_right_size_are_not_resampled() {
    let tracked = golden_source(0);
    for source in [&tracked, &blank(64, 64)] {
        assert!(matches!(source.fitted(64), Cow::Borrowed(same) if same == source));
    }
}

#[test]
fn a_view_without_pixels_is_an_error() {
    let nothing = blank(8, 8).fitted(0).into_owned();
    refused!(nothing.homography(0), Argument);
}

#[test]
fn a_camera_without_a_view_of_the_square_is_an_error() {
    let edge_on = Camera::look_at([10.0, 0.0, 0.0], [0.0; 3], [0.0, 1.0, 0.0]);
    let inside = Camera::orbit(0.5, 0.0, 60.0);
    let too_far = Camera::orbit(1e6, 0.0, 0.0);
    let singular = Camera::from_transform([[0.0; 4]; 3]);
    let almost_edge_on = Camera::orbit(10.0, 0.0, 90.0);
    for camera in [edge_on, almost_edge_on, inside, too_far, singular] {
        let picture = blank(512, 512).tracked(camera);
        refused!(picture.homography(512), Argument);
    }
    for size in [0, 1] {
        refused!(blank(8, 8).homography(size), Argument);
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
        let result = SourceImage::from_rgba8(width, height, vec![0; bytes]);
        refused!(result, Argument);
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
        // Cut inside the header; decoders differ in their treatment of half the pixels.
        bad.push(bytes[..12].to_vec());
    }
    let (_, mut png) = encoded().swap_remove(0);
    png.truncate(png.len() - 20);
    bad.push(png);
    for bytes in bad {
        let path = scratch.path("portrait.png");
        fs::write(&path, &bytes).unwrap();
        let error = refused!(SourceImage::open(&path), Format);
        assert!(error.contains("portrait.png"), "{error}");
    }
    refused!(SourceImage::open(scratch.path("missing.png")), Io);
}

#[test]
fn no_cut_or_flipped_byte_panics() {
    for (_, bytes) in encoded() {
        for i in 0..bytes.len() {
            // It need not decode; returning is the test.
            let _ = SourceImage::from_bytes(&bytes[..i]);
            let mut flipped = bytes.clone();
            flipped[i] ^= 0xff;
            let _ = SourceImage::from_bytes(&flipped);
        }
    }
}

#[test]
fn a_picture_of_more_than_8192_pixels_is_reduced() {
    let mut bytes = Vec::new();
    let width = SourceImage::MAX_SIDE + 1;
    let encoder = codecs::png::PngEncoder::new(&mut bytes);
    let row: Vec<u8> = (0..width)
        .map(|x| if x % 2 == 0 { 100 } else { 201 })
        .collect();
    let written = encoder.write_image(&row, width, 1, ExtendedColorType::L8);
    written.unwrap();
    let picture = SourceImage::from_bytes(&bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (4097, 1));
    // Averages of two columns, the last one of its own.
    assert_eq!(picture.pixels()[..4], [151, 151, 151, 255]);
    assert_eq!(picture.pixels()[4 * 4096..], [100, 100, 100, 255]);

    let wide = fixture("wide.jpg");
    let picture = SourceImage::from_bytes(&wide).unwrap();
    assert_eq!((picture.width(), picture.height()), (4128, 80));
}

fn fixture(name: &str) -> Vec<u8> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pictures");
    fs::read(format!("{directory}/{name}")).unwrap()
}

#[test]
fn a_small_file_does_not_become_a_large_picture() {
    // A GIF with a screen of 8192 x 8192 and one pixel.
    let gif =
        b"GIF89a\0\x20\0\x20\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let error = refused!(SourceImage::from_bytes(gif), Format);
    assert!(
        error.contains("8192 x 8192 pixels take 268435456 bytes"),
        "{error}"
    );
    // A blank PNG of 16 bits.
    let mut png = Vec::new();
    let side = 5000u32;
    let blank = vec![0; 8 * (side * side) as usize];
    let (best, filter) = (
        codecs::png::CompressionType::Best,
        codecs::png::FilterType::NoFilter,
    );
    let encoder = codecs::png::PngEncoder::new_with_quality(&mut png, best, filter);
    encoder
        .write_image(&blank, side, side, ExtendedColorType::Rgba16)
        .unwrap();
    let error = refused!(SourceImage::from_bytes(&png), Format);
    assert!(error.contains("5000 x 5000"), "{error}");
}

#[test]
fn a_profile_that_unfolds_to_much_is_left_out() {
    let mut bytes = Vec::new();
    let mut encoder = codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(vec![b'A'; 100 << 20]).unwrap();
    encoder
        .write_image(&[1, 2, 3], 1, 1, ExtendedColorType::Rgb8)
        .unwrap();
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    let picture = SourceImage::from_bytes(&bytes).unwrap();
    assert_eq!(picture.pixels(), [1, 2, 3, 255]);
}

#[test]
fn colours_are_converted_to_srgb() {
    // A quarter of red and skin in Display P3. LittleCMS gives these.
    for (name, tolerance) in [("p3.png", 3), ("p3.jpg", 3)] {
        let picture = SourceImage::from_bytes(&fixture(name)).unwrap();
        let at = |x: u32, y: u32| &picture.pixels()[4 * (y * picture.width() + x) as usize..][..3];
        let [width, height] = [picture.width(), picture.height()];
        for (found, expected) in [
            (at(width / 8, height / 8), [250, 31, 49]),
            (at(width - 1, height - 1), [234, 169, 135]),
        ] {
            let close = found
                .iter()
                .zip(expected)
                .all(|(a, b)| a.abs_diff(b) <= tolerance);
            assert!(close, "{name}: {found:?} {expected:?}");
        }
    }
    // All formats have a place for a profile.
    let p3 = fixture("p3.png");
    let mut decoder = codecs::png::PngDecoder::new(Cursor::new(&p3)).unwrap();
    let profile = image::ImageDecoder::icc_profile(&mut decoder)
        .unwrap()
        .unwrap();
    let red = [230, 60, 60].repeat(128 * 128);
    let encode = |bytes: &mut Cursor<Vec<u8>>, format: &str| -> image::ImageResult<()> {
        macro_rules! written {
            ($encoder:expr) => {{
                let mut encoder = $encoder;
                encoder.set_icc_profile(profile.clone()).unwrap();
                encoder.write_image(&red, 128, 128, ExtendedColorType::Rgb8)
            }};
        }
        match format {
            "webp" => written!(codecs::webp::WebPEncoder::new_lossless(bytes)),
            "tiff" => written!(codecs::tiff::TiffEncoder::new(bytes)),
            _ => written!(codecs::jpeg::JpegEncoder::new_with_quality(bytes, 100)),
        }
    };
    for format in ["webp", "tiff", "jpeg"] {
        let mut bytes = Cursor::new(Vec::new());
        encode(&mut bytes, format).unwrap();
        let picture = SourceImage::from_bytes(&bytes.into_inner()).unwrap();
        let found = &picture.pixels()[..3];
        let close = found
            .iter()
            .zip([250u8, 31, 49])
            .all(|(a, b)| a.abs_diff(b) <= 4);
        assert!(close, "{format}: {found:?}");
    }
    // A profile of sRGB changes no byte, a broken one neither.
    let rgb: Vec<u8> = (0..=255).flat_map(|v| [v, 255 - v, v / 2]).collect();
    let srgb = moxcms::ColorProfile::new_srgb().encode().unwrap();
    for profile in [srgb, b"no profile".to_vec()] {
        let mut bytes = Vec::new();
        let mut encoder = codecs::png::PngEncoder::new(&mut bytes);
        encoder.set_icc_profile(profile).unwrap();
        encoder
            .write_image(&rgb, 16, 16, ExtendedColorType::Rgb8)
            .unwrap();
        let picture = SourceImage::from_bytes(&bytes).unwrap();
        let (pixels, _) = picture.pixels().as_chunks::<4>();
        assert!(pixels.iter().flat_map(|pixel| &pixel[..3]).eq(&rgb));
    }
}

#[test]
fn a_truncated_picture_is_an_error_unless_leniency_is_asked_for() {
    let scratch = Scratch::new("source-truncated");
    let gradient = image::RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8 * 4, y as u8 * 4, 99]));
    for extension in ["png", "jpeg", "gif", "webp", "bmp", "tiff"] {
        let mut bytes = Cursor::new(Vec::new());
        let format = image::ImageFormat::from_extension(extension).unwrap();
        gradient.write_to(&mut bytes, format).unwrap();
        let bytes = bytes.into_inner();
        let path = scratch.path("cut");
        fs::write(&path, &bytes[..bytes.len() * 3 / 4]).unwrap();
        refused!(SourceImage::open(&path), Format);
        // An index at the end leaves nothing of a TIFF.
        if ["png", "jpeg", "bmp"].contains(&extension) {
            let picture = SourceImage::open_lenient(&path).unwrap();
            assert_eq!((picture.width(), picture.height()), (64, 64), "{extension}");
            let found = picture
                .pixels()
                .iter()
                .filter(|value| **value == 99)
                .count();
            assert!(extension == "jpeg" || found > 1000, "{extension}: {found}");
        }
    }
}

#[test]
fn kinds_that_are_not_read_are_named_with_a_way_to_convert_them() {
    for (brand, name, tool) in [
        ("avif", "AVIF", "avifdec"),
        ("heic", "HEIC", "heif-convert"),
        ("mif1", "HEIC", "heif-convert"),
    ] {
        let bytes = [b"\0\0\0\x18ftyp", brand.as_bytes(), &[0; 40]].concat();
        let error = refused!(SourceImage::from_bytes(&bytes), Format);
        assert!(error.contains(name) && error.contains(tool), "{error}");
    }
}

#[test]
fn a_tiff_with_an_empty_sample_format_does_not_panic() {
    let error = refused!(
        SourceImage::from_bytes(&fixture("empty_sample_format.tiff")),
        Format
    );
    assert!(!error.is_empty());
}

#[test]
fn exif_orientation_is_applied() {
    // A TIFF header with the one entry "orientation = 6": turn right by 90 degrees.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut bytes = Vec::new();
    let mut encoder = codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).unwrap();
    let written = encoder.write_image(&[10, 20, 30], 3, 1, ExtendedColorType::L8);
    written.unwrap();
    let image = SourceImage::from_bytes(&bytes).unwrap();
    assert_eq!((image.width(), image.height()), (1, 3));
    assert_eq!(image.pixels()[..4], [10, 10, 10, 255]);
}
