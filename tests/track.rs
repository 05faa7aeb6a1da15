//! Tracking from frame to frame allocates nothing.

mod common;

use std::path::Path;

use common::heap::{Counting, largest, peak};
use common::{golden, golden_path, net_files, tiny};
use gpavatar::glam::DVec2;
use gpavatar::track::{Embedding, FitOptions, Fitter, Picture, Tracker, TrackerOptions};
use gpavatar::{HeadModel, SourceImage};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_fit_that_follows_a_face_allocates_nothing() {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo.safetensors");
    let head = HeadModel::open(weights).unwrap();
    let embedding = Embedding::shipped();
    let mut fitter = Fitter::new(&head, &embedding, FitOptions::of(&head)).unwrap();
    let file = golden("track/fit.safetensors");
    let numbers = file.f32("turning.landmarks").unwrap();
    let shape: Vec<f64> = file.f32("turning.shape").unwrap()[..head.shape_count()]
        .iter()
        .map(|s| f64::from(*s))
        .collect();
    let frames: Vec<Vec<Option<DVec2>>> = numbers
        .chunks_exact(2 * embedding.points().len())
        .map(|frame| {
            let pairs = frame.as_chunks::<2>().0.iter();
            pairs
                .map(|&[x, y]| Some(DVec2::new(x.into(), y.into())))
                .collect()
        })
        .collect();
    assert_eq!(frames.len(), 40);
    let mut fit = fitter.fit(&frames[0], Some(&shape)).unwrap();
    let first = peak(|| fitter.follow(&mut fit, &frames[1]).unwrap());
    let others = peak(|| {
        for landmarks in frames.iter().cycle().skip(2).take(1000) {
            fitter.follow(&mut fit, landmarks).unwrap();
        }
    });
    println!("first {first} bytes, a thousand others {others}");
    assert_eq!(others, 0);
    assert!(!fit.poor, "{fit:?}");
}

/// What is left is wgpu's, whose list of commands is recorded anew for each frame: 24,576 bytes. The
/// smallest buffer of the networks that would be noticed holds the tokens of the expression scores.
#[test]
fn frames_of_a_video_allocate_no_buffers() {
    let gpu = tiny::open();
    let mut tracker = Tracker::new(&gpu, &net_files(), TrackerOptions::default()).unwrap();
    let photo = SourceImage::open_rgba(golden_path("track/astronaut.png")).unwrap();
    let (width, height) = photo.dimensions();
    let mut picture = Picture::new(&gpu, width, height, &photo).unwrap();
    let mut frame = || {
        picture.replace(&gpu, &photo).unwrap();
        pollster::block_on(tracker.frame(&picture, 0.04))
            .unwrap()
            .len()
    };
    let first = largest(|| assert_eq!(frame(), 1));
    for _ in 0..5 {
        frame();
    }
    let others = largest(|| {
        for _ in 0..20 {
            assert_eq!(frame(), 1);
        }
    });
    println!("largest block: {first} bytes, {others} in later frames");
    let tokens = 97 * 64 * size_of::<f32>();
    assert!(
        first > 2 * tokens && others < tokens,
        "{first}, {others} bytes"
    );
}
