use glam::DVec4;

use super::*;
use crate::weights::TensorFile;

fn golden(file: &TensorFile, name: &str) -> Vec<f64> {
    file.f32(name)
        .unwrap()
        .iter()
        .map(|v| f64::from(*v))
        .collect()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    let pairs = found.iter().zip(expected);
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("{worst:.2e} of {tolerance:.0e}");
    assert!(worst <= tolerance, "{worst} > {tolerance}");
}

#[test]
fn signals_with_irregular_steps_match_the_golden_ones() {
    let file = TensorFile::golden("track/filter.safetensors");
    let [input, output, times] =
        ["in", "out", "time"].map(|name| golden(&file, &format!("signal.{name}")));
    let mut filter = Values::new(vec![OneEuro::new(1.0, 0.5, 1.0); 4]);
    let (mut before, mut found) = (0.0, Vec::new());
    for (row, time) in input.chunks(4).zip(&times) {
        let mut row = row.to_vec();
        filter.step(&mut row, time - before);
        before = *time;
        found.extend(row);
    }
    assert_close(&found, &output, 1e-5);
}

#[test]
fn clips_match_the_golden_ones() {
    let file = TensorFile::golden("track/filter.safetensors");
    let dt = 1.0 / 30.0;
    for clip in ["still", "turning"] {
        let read = |field: &str| golden(&file, &format!("{clip}.{field}"));
        let mut channels = Values::new(vec![OneEuro::CHANNEL; 52]);
        let mut found = Vec::new();
        for row in read("raw.expression").chunks(52) {
            let mut row = row.to_vec();
            channels.step(&mut row, dt);
            found.extend(row);
        }
        assert_close(&found, &read("smooth.expression"), 1e-4);

        let mut rotation = Rotation::new(OneEuro::ROTATION);
        let mut place = Values::new(vec![OneEuro::PLACE; 3]);
        let mut found = Vec::new();
        for matrix in read("raw.transform").chunks(12) {
            let rows = [0, 1, 2].map(|i| DVec4::from_slice(&matrix[4 * i..]));
            let turn = DMat3::from_cols_array_2d(&rows.map(|row| row.truncate().to_array()));
            // The rows became columns.
            let turn = rotation.step(turn.transpose(), dt);
            let mut at = rows.map(|row| row.w);
            place.step(&mut at, dt);
            for (i, at) in at.into_iter().enumerate() {
                found.extend(turn.row(i).to_array());
                found.push(at);
            }
        }
        assert_close(&found, &read("smooth.transform"), 1e-4);
    }
}

#[test]
fn a_gap_starts_anew_and_time_that_stands_still_changes_nothing() {
    let mut values = Values::new(vec![OneEuro::CHANNEL]);
    let mut at = |value: f64, dt: f64| {
        let mut row = [value];
        values.step(&mut row, dt);
        row[0]
    };
    assert_eq!(at(1.0, 0.03), 1.0);
    let moved = at(2.0, 0.03);
    assert!(1.0 < moved && moved < 2.0, "{moved}");
    for dt in [0.0, -1.0, f64::NAN] {
        assert_eq!(at(9.0, dt), moved);
    }
    assert_eq!(at(5.0, 0.6), 5.0);

    let mut rotation = Rotation::new(OneEuro::ROTATION);
    let turn = |angle: f64| DMat3::from_rotation_y(angle);
    assert_eq!(rotation.step(turn(0.1), 0.03), turn(0.1));
    let moved = rotation.step(turn(0.3), 0.03);
    assert_eq!(rotation.step(turn(0.9), f64::NAN), moved);
    assert_eq!(rotation.step(turn(0.7), 0.6), turn(0.7));
    rotation.restart();
    assert_eq!(rotation.step(turn(0.2), 0.03), turn(0.2));
}

#[test]
fn an_expression_is_held_then_decays() {
    assert_eq!(after_loss(0.0), 1.0);
    assert_eq!(after_loss(0.5), 1.0);
    assert!((after_loss(0.8) - (-1f64).exp()).abs() < 1e-12);
    assert!(after_loss(60.0) < 1e-9);
}
