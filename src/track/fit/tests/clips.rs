//! Clips of a still and of a turning face.

use super::*;
use crate::track::filter::{OneEuro, Rotation, Values};

/// A clip's fits from frame to frame, as they are and smoothed.
fn track(name: &str) -> (Cases<'static>, Vec<Fit>, Vec<Fit>) {
    let cases = cases(name);
    let file = golden();
    let present = file.u8(&format!("{name}.present")).unwrap();
    let mut fitter = cases.fitter(1.0).unwrap();
    let channels = cases.head.parts().channels.iter();
    let mut filters = Values::new(channels.map(|name| OneEuro::of_channel(name)).collect());
    let mut turning = Rotation::new(OneEuro::ROTATION);
    let (mut raw, mut smooth): (Vec<Fit>, Vec<Fit>) = (Vec::new(), Vec::new());
    for (landmarks, present) in cases.noisy(1.0).iter().zip(present) {
        let fit = match (raw.last(), present) {
            (None, _) => fitter.fit(landmarks, Some(&cases.truth[0].shape)).unwrap(),
            (Some(last), 0) => last.clone(),
            (Some(last), _) => {
                let mut fit = last.clone();
                fitter.follow(&mut fit, landmarks).unwrap();
                fit
            }
        };
        let mut soft = fit.clone();
        filters.step(&mut soft.expression, 1.0 / 30.0);
        soft.rotation = turning.step(soft.rotation, 1.0 / 30.0);
        raw.push(fit);
        smooth.push(soft);
    }
    (cases, raw, smooth)
}

#[test]
fn a_still_face_does_not_tremble() {
    let (cases, raw, smooth) = track("still");
    let step = |fits: &[Fit]| {
        let steps = fits[5..]
            .windows(2)
            .map(|pair| degrees(pair[0].rotation, pair[1].rotation));
        steps.sum::<f64>() / (fits.len() - 6) as f64
    };
    let deviation = |fits: &[Fit]| {
        let of = |channel: usize| {
            let values = fits[5..].iter().map(|fit| fit.expression[channel]);
            let count = (fits.len() - 5) as f64;
            let mean = values.clone().sum::<f64>() / count;
            (values.map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt()
        };
        (0..52).map(of).sum::<f64>() / 52.0
    };
    println!(
        "frame to frame {:.3}° -> {:.3}°, channels {:.4} -> {:.4}",
        step(&raw),
        step(&smooth),
        deviation(&raw),
        deviation(&smooth)
    );
    assert_eq!(cases.truth.len(), 40);
    assert!(step(&smooth) < 0.1 && deviation(&smooth) < 0.02);
}

#[test]
fn a_turning_face_hardly_lags_and_still_blinks() {
    let (cases, _, smooth) = track("turning");
    let yaw = |fit: &Fit| {
        fit.rotation
            .z_axis
            .x
            .atan2(-fit.rotation.z_axis.z)
            .to_degrees()
    };
    let truth: Vec<f64> = cases.truth.iter().map(yaw).collect();
    let found: Vec<f64> = smooth.iter().map(yaw).collect();
    // How far the truth has to be moved so that it fits best while it turns.
    let miss = |lag: f64| {
        let errors = (16..24).map(|k| {
            let at = k as f64 - lag;
            let (low, part) = (at.floor() as usize, at.fract());
            (found[k] - truth[low] * (1.0 - part) - truth[low + 1] * part).abs()
        });
        errors.sum::<f64>()
    };
    let lags = (0..100).map(|i| f64::from(i) * 0.05);
    let lag = lags.min_by(|a, b| miss(*a).total_cmp(&miss(*b))).unwrap();
    let blink = cases.head.channel("eyeBlinkLeft").unwrap();
    let peak = smooth
        .iter()
        .map(|fit| fit.expression[blink])
        .fold(0.0, f64::max);
    println!("lag {lag:.2} frames, blink {peak:.2}");
    assert!(lag < 2.0, "{lag}");
    assert!(peak > 0.85, "{peak}");
}
