//! Stored, seeded and no noise.

use gpavatar::{Avatar, AvatarOptions, Noise, RenderOptions};

use crate::common::tiny::{self, KEPT, Picture, gpu, largest_difference, planes};

#[test]
fn noise_of_the_super_resolver() {
    let avatar = tiny::avatar(&tiny::model());
    let with = |noise| {
        let options = RenderOptions { noise, ..KEPT };
        let frame = avatar.render_with(&tiny::drive(), &options).unwrap();
        Picture::of(&frame, gpu())
    };
    let stored = with(Noise::Stored);
    assert_eq!(with(Noise::Stored), stored);
    let one = with(Noise::Seeded(1));
    assert_eq!(with(Noise::Seeded(1)), one);
    // Seeds that differ in one half or the other.
    let others = [
        Noise::Seeded(2),
        Noise::Seeded(1 + (1 << 32)),
        Noise::Zero,
        Noise::Stored,
    ];
    for noise in others {
        let other = with(noise);
        assert!(other.distance(&one) > 1e-3, "{noise:?}");
        // Only the super-resolver has noise.
        assert_eq!(other.low_res, one.low_res, "{noise:?}");
    }

    // Noise is as strong, and as centred, from a seed as it is in the weights.
    let zero = with(Noise::Zero);
    let strength = |picture: &Picture| {
        let pairs = picture.image.iter().zip(&zero.image);
        let squares = pairs.map(|(a, b)| (a - b).powi(2));
        (squares.sum::<f32>() / picture.image.len() as f32).sqrt()
    };
    let mean = |picture: &Picture| picture.image.iter().sum::<f32>() / picture.image.len() as f32;
    let seeds: Vec<Picture> = (0..24).map(|seed| with(Noise::Seeded(seed))).collect();
    let average = |of: &dyn Fn(&Picture) -> f32| seeds.iter().map(of).sum::<f32>() / 24.0;
    let ratio = average(&strength) / strength(&stored);
    println!("strength of seeded noise over that of stored noise: {ratio}");
    // A few hundred pixels, which the network correlates, make up one sample of the strength.
    assert!((0.7..1.4).contains(&ratio), "{ratio}");
    let shift = average(&mean) - mean(&stored);
    println!("mean of seeded pictures less that of the stored one: {shift}");
    assert!(shift.abs() < strength(&stored), "{shift}");
}

#[test]
fn noise_of_the_encoder() {
    let model = tiny::model();
    let with = |noise| {
        let options = AvatarOptions {
            noise,
            ..AvatarOptions::default()
        };
        planes(&Avatar::with_options(&model, &[tiny::picture(32, 32, 0)], &options).unwrap())
    };
    let one = with(Noise::Seeded(1));
    assert_eq!(with(Noise::Seeded(1)), one);
    assert_eq!(with(Noise::Stored), planes(&tiny::avatar(&model)));
    for noise in [Noise::Seeded(2), Noise::Zero, Noise::Stored] {
        assert!(largest_difference(&with(noise), &one) > 1e-2, "{noise:?}");
    }
}

#[test]
fn noise_of_any_seed_is_finite() {
    let avatar = tiny::avatar(&tiny::model());
    for seed in [0, 1, u64::MAX, 1 << 32] {
        let options = RenderOptions {
            noise: Noise::Seeded(seed),
            ..KEPT
        };
        let frame = avatar.render_with(&tiny::drive(), &options).unwrap();
        assert!(Picture::of(&frame, gpu()).is_finite(), "seed {seed}");
    }
}
