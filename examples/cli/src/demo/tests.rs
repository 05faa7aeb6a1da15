//! The files that ship go together.

use gpavatar::{HeadModel, Motion, Weights};

use super::{Sample, file, weights};
use crate::testing::files;

/// The motions that ship with the repository, with their names.
fn motions() -> Vec<(String, Motion)> {
    let directory = file("weights/motions");
    let names = files(&directory).into_iter();
    let names = names.filter(|name| name.ends_with(".json"));
    let open = |name: String| {
        let motion = Motion::open(directory.join(&name)).unwrap();
        (name, motion)
    };
    names.map(open).collect()
}

#[test]
fn what_ships_goes_together() {
    let network = Weights::open(weights()).unwrap();
    let head = HeadModel::open(weights()).unwrap();
    let motions = motions();
    for (name, motion) in &motions {
        for drive in motion.drives() {
            let resolved = drive.resolve(Some(&head), network.config().points as usize);
            assert!(resolved.is_ok(), "{name}: {:?}", resolved.err());
        }
    }
    assert!(motions.len() >= 4);

    let samples = Sample::all().unwrap();
    assert!(samples.len() >= 6);
    assert!(samples.iter().any(|sample| sample.list.sources.len() == 3));
    for sample in &samples {
        assert_eq!(
            sample.list.shape.len(),
            head.shape_count(),
            "{}",
            sample.name
        );
        for picture in sample.pictures().unwrap() {
            picture.homography(network.config().source_size).unwrap();
        }
    }
    assert_eq!(Sample::named(None).unwrap().name, samples[0].name);
    let third = &samples[2].name;
    assert_eq!(Sample::named(Some(third)).unwrap().name, *third);
    let error = Sample::named(Some("nobody")).err().unwrap().to_string();
    let named = error.contains(&samples[1].name) && error.contains("nobody");
    assert!(named, "{error}");
}

#[test]
fn shipped_motions_stay_in_range_and_can_be_repeated() {
    for (name, motion) in motions() {
        assert_eq!(motion.licence(), "MIT OR Apache-2.0", "{name}");
        let frames = motion.frames();
        for value in frames.iter().flat_map(|frame| &frame.expression) {
            assert!((0.0..=1.0).contains(value), "{name}");
        }
        let step = |i: usize| {
            let [from, to] = [i, (i + 1) % frames.len()].map(|i| &frames[i].expression);
            let differences = from.iter().zip(to).map(|(a, b)| (a - b).abs());
            differences.fold(0.0, f32::max)
        };
        let last = frames.len() - 1;
        let largest = (0..last).map(step).fold(0.0, f32::max);
        assert!(step(last) <= largest, "{name} jumps when it begins again");
    }
}
