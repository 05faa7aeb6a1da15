//! Alpha, depth and the low-resolution image.

use gpavatar::reference::{Tensor, output};
use gpavatar::{Background, Camera, Drive, Model, RenderOptions, wgpu};

use crate::common::refused;
use crate::common::tiny::{self, KEPT, Picture, gpu, reference_frame};
use crate::common::{Within, difference};

#[test]
fn pictures_with_alpha_are_the_opaque_ones_over_black() {
    let avatar = tiny::avatar(&tiny::model());
    let config = tiny::config();
    let camera = Camera::orbit(14.0, 10.0, 25.0);
    let points = tiny::points(config.points);
    let drive = Drive::points(points.clone()).camera(camera);
    let opaque = Picture::render(&avatar, &drive);
    assert!(opaque.rgba.chunks_exact(4).all(|pixel| pixel[3] == 255));
    let field = reference_frame(&config, &points, &camera).field();
    for background in [Background::Straight, Background::Premultiplied] {
        let options = RenderOptions { background, ..KEPT };
        let frame = avatar.render_with(&drive, &options).unwrap();
        let found = Picture::of(&frame, gpu());
        assert_eq!(found.image, opaque.image);
        for (found, opaque) in found.rgba.chunks_exact(4).zip(opaque.rgba.chunks_exact(4)) {
            for (found_colour, expected) in found.iter().zip(&opaque[..3]) {
                let on_black = match background {
                    Background::Straight => f32::from(*found_colour) * f32::from(found[3]) / 255.0,
                    _ => f32::from(*found_colour),
                };
                let close = (on_black - f32::from(*expected)).abs() <= 1.0;
                assert!(close, "{background:?}: {found:?} instead of {opaque:?}");
            }
        }

        let side = config.output_size as usize;
        let image = Tensor::new([side, side, 3], found.image.clone());
        let expected = output::display(&image, background, &field);
        let alphas = |rgba: &[u8]| {
            rgba.chunks_exact(4)
                .map(|pixel| pixel[3])
                .collect::<Vec<_>>()
        };
        let (found, expected) = (alphas(&found.rgba), alphas(&expected));
        let close = found
            .iter()
            .zip(&expected)
            .filter(|(f, e)| f.abs_diff(**e) <= 1);
        // Alpha multiplies a ray's rounding by up to the inverse of its foreground's colour.
        assert!(close.count() * 100 >= expected.len() * 99);
        // The made-up network draws something everywhere.
        let translucent = expected.iter().filter(|alpha| **alpha < 224).count();
        let solid = expected.iter().filter(|alpha| **alpha == 255).count();
        assert!(
            translucent > 50 && solid > 50,
            "{translucent} translucent, {solid} solid pixels"
        );
    }
}

#[test]
fn depth_runs_from_zero_to_one() {
    for config in [tiny::config(), tiny::released()] {
        let avatar = tiny::avatar(&Model::new(gpu(), tiny::weights(&config)).unwrap());
        let camera = Camera::orbit(13.0, -20.0, 40.0);
        let points = tiny::points(config.points);
        let found = Picture::render(&avatar, &Drive::points(points.clone()).camera(camera)).depth;
        assert!(found.iter().all(|d| (0.0..=1.0).contains(d)));
        assert!(found.contains(&0.0) && found.iter().any(|d| *d > 0.999));
        let expected = reference_frame(&config, &points, &camera).depth.data;
        // Depths of ten, f32 apart, over a range of about two.
        difference("depth", &found, &expected)
            .within(1e-4, 0.05)
            .all_within(1e-2);
    }
}

#[test]
fn depth_textures_hold_world_units() {
    for config in [tiny::config(), tiny::released()] {
        let avatar = tiny::avatar(&Model::new(gpu(), tiny::weights(&config)).unwrap());
        let camera = Camera::orbit(9.0, -20.0, 40.0).with_focal(6.0);
        let points = tiny::points(config.points);
        let frame = avatar
            .render(&Drive::points(points.clone()).camera(camera))
            .unwrap();
        let side = config.low_res_size;
        let texture = frame.depth_texture();
        assert_eq!([texture.width(), texture.height()], [side; 2]);
        assert_eq!(texture.format(), wgpu::TextureFormat::R32Float);

        // As a host reads it.
        let row = (4 * side).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let device = gpu().device();
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(row * side),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        let layout = wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(row),
            rows_per_image: None,
        };
        let target = wgpu::TexelCopyBufferInfo {
            buffer: &buffer,
            layout,
        };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), target, texture.size());
        gpu().queue().submit([encoder.finish()]);
        buffer.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        gpu().wait("reading").unwrap();
        let view = buffer.get_mapped_range(..).unwrap();
        let rows = view.chunks_exact(row as usize);
        let texels = rows.flat_map(|row| row[..4 * side as usize].chunks_exact(4));
        let found: Vec<f32> = texels
            .map(|texel| f32::from_le_bytes(texel.try_into().unwrap()))
            .collect();

        // The head's cube is within √3 of the origin.
        let near = found.iter().filter(|depth| **depth != 0.0);
        assert!(near.clone().all(|depth| (depth - 9.0).abs() < 1.74));
        assert!(near.count() > 20);
        let expected = reference_frame(&config, &points, &camera).surface.data;
        difference("surface", &found, &expected)
            .within(1e-3, 0.05)
            .all_within(5e-2);
    }
}

#[test]
fn low_resolution_images_that_do_not_fit() {
    let model = tiny::model();
    let not_finite = pollster::block_on(model.super_resolve(&[f32::NAN; 648]));
    let parts = ["low-resolution image", "finite", "NaN at index 0"];
    refused::argument(not_finite, &parts);
    let result = pollster::block_on(model.super_resolve(&[0.0; 7]));
    refused::argument(result, &["low-resolution image", "648 numbers", "7"]);
}
