//! What several parts of the tracker compute.

use glam::{DMat3, DQuat, DVec3};

/// Rotation matrix for column vectors of an axis-angle vector (Rodrigues).
pub(crate) fn rotation_of(vector: DVec3) -> DMat3 {
    DMat3::from_quat(DQuat::from_scaled_axis(vector))
}

/// Axis-angle vector of a rotation matrix by less than half a turn.
pub(crate) fn vector_of(rotation: DMat3) -> DVec3 {
    let [x, y, z] = rotation.to_cols_array_2d();
    let vector = 0.5 * DVec3::new(y[2] - z[1], z[0] - x[2], x[1] - y[0]);
    let (sin, cos) = (vector.length(), 0.5 * (x[0] + y[1] + z[2] - 1.0));
    match sin < 1e-9 {
        true => vector,
        false => vector * (sin.atan2(cos) / sin),
    }
}

/// The value in the middle, of an even number the mean of two; NaN of none. Changes their order.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let half = values.len() / 2;
    let (below, middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let middle = *middle;
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if below.len() == half && values.len().is_multiple_of(2) => {
            0.5 * (lower + middle)
        }
        _ => middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_vectors_come_back() {
        for vector in [
            DVec3::ZERO,
            DVec3::new(1e-7, 0.0, 0.0),
            DVec3::new(0.3, -1.2, 2.0),
            DVec3::Y * 3.1,
        ] {
            let back = vector_of(rotation_of(vector));
            assert!(back.abs_diff_eq(vector, 1e-9), "{vector} {back}");
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 9.0]), 3.0);
        assert_eq!(median(&mut [7.0]), 7.0);
        assert!(median(&mut []).is_nan());
    }
}
