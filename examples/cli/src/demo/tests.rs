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
            let fits = drive.resolve(Some(&head), network.config().points as usize);
            fits.map(drop)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(motions.len() >= 4);

    let samples = Sample::all().unwrap();
    assert!(samples.len() >= 6);
    assert!(samples.iter().any(|sample| sample.sources.len() == 3));
    for sample in &samples {
        assert_eq!(sample.shape.len(), head.shape_count(), "{}", sample.name);
        for picture in sample.pictures().unwrap() {
            picture.homography(network.config().source_size).unwrap();
        }
    }
    assert_eq!(Sample::named(None).unwrap().name, samples[0].name);
    assert_eq!(
        Sample::named(Some(&samples[2].name)).unwrap().name,
        samples[2].name
    );
    let error = Sample::named(Some("nobody")).err().unwrap().to_string();
    assert!(
        error.contains(&samples[1].name) && error.contains("nobody"),
        "{error}"
    );
}

#[test]
fn shipped_motions_stay_in_range_and_can_be_repeated() {
    for (name, motion) in motions() {
        assert_eq!(motion.licence(), "MIT OR Apache-2.0", "{name}");
        let frames = motion.frames();
        let values = frames.iter().flat_map(|frame| &frame.expression);
        assert!(
            values.into_iter().all(|v| (0.0..=1.0).contains(v)),
            "{name}"
        );
        let step = |i: usize| {
            let [from, to] = [i, (i + 1) % frames.len()].map(|i| &frames[i].expression);
            from.iter()
                .zip(to)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max)
        };
        let last = frames.len() - 1;
        let largest = (0..last).map(step).fold(0.0, f32::max);
        assert!(step(last) <= largest, "{name} jumps when it begins again");
    }
}
