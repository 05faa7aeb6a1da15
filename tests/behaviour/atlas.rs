//! Several avatars in the tiles of one texture.

use gpavatar::{Atlas, Avatar, Drive, RenderOptions};

use crate::common::refused;
use crate::common::tiny::{self, SEEDED, drives, gpu, mix, people};

/// The first `count` tiles of an atlas's picture.
fn tiles(atlas: &Atlas, count: usize) -> Vec<Vec<u8>> {
    let picture = atlas.to_image().unwrap();
    let (side, [columns, rows]) = (atlas.tile_size(), atlas.grid());
    assert_eq!(picture.dimensions(), (side * columns, side * rows));
    let tile = |index| {
        let [x, y] = atlas.tile(index).unwrap();
        let tile = image::imageops::crop_imm(&picture, x, y, side, side);
        tile.to_image().into_raw()
    };
    (0..count).map(tile).collect()
}

#[test]
fn tiles_of_an_atlas_are_the_frames_of_their_avatars() {
    let model = tiny::model();
    let (people, drives) = (people(&model), drives(5));
    let mixed = mix(&people, &drives);
    let atlas = Atlas::new(&model, [4, 4]).unwrap();
    assert_eq!((atlas.grid(), atlas.tile_size()), ([4, 4], 32));
    assert_eq!(atlas.tile(0), Some([0, 0]));
    assert_eq!(atlas.tile(6), Some([2 * 32, 32]));
    assert_eq!((atlas.tile(15), atlas.tile(16)), (Some([96, 96]), None));
    assert_eq!(atlas.tile(usize::MAX), None);
    let empty = vec![0; 32 * 32 * 4];
    assert!(tiles(&atlas, 16).iter().all(|tile| *tile == empty));

    let one = |(avatar, drive): &(&Avatar, &Drive)| {
        let frame = avatar.render_with(drive, &SEEDED).unwrap();
        frame.to_image().unwrap().into_raw()
    };
    let mut expected: Vec<_> = mixed.iter().map(one).collect();
    expected.push(empty);
    atlas.render(&mixed, &SEEDED).unwrap();
    assert_eq!(tiles(&atlas, 16), expected);

    // Other frames, recorded into the host's command buffer. The tiles beyond them stay.
    let reversed: Vec<_> = mixed[..5].iter().rev().copied().collect();
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    atlas.record(&mut encoder, &reversed, &SEEDED).unwrap();
    atlas.record(&mut encoder, &[], &SEEDED).unwrap();
    gpu().queue().submit([encoder.finish()]);
    expected[..5].reverse();
    assert_eq!(tiles(&atlas, 16), expected);
}

#[test]
fn atlases_without_tiles_or_larger_than_a_texture() {
    let model = tiny::model();
    for (grid, size) in [([0, 3], "0 x 3"), ([3, 0], "3 x 0"), ([0, 0], "0 x 0")] {
        let parts = ["grid of the atlas", "at least one column", size];
        refused::argument(Atlas::new(&model, grid), &parts);
    }
    for grid in [[257, 1], [1, 257], [u32::MAX, 1], [u32::MAX; 2]] {
        let parts = ["an atlas of ", "max_texture_dimension_2d of at least"];
        refused::limit(Atlas::new(&model, grid), &parts);
    }
    let atlas = Atlas::new(&model, [2, 3]).unwrap();
    let (avatar, drive) = (tiny::avatar(&model), tiny::drive());
    let parts = ["frames", "each of 2 x 3 tiles", "found 7"];
    let frames = vec![(&avatar, &drive); 7];
    let options = RenderOptions::default();
    refused::argument(atlas.render(&frames, &options), &parts);
}
