//! Nearest points of a sample, and the global sums of their weights.

use glam::Vec3;

use super::parallel_rows;

/// One of the points nearest to a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Index of the point.
    pub index: usize,
    /// Its squared distance to the sample.
    pub dist2: f32,
}

/// The `count` points nearest to each position, nearest first and the lower index first where
/// distances tie: `[positions][count]`. There must be at least `count` points.
pub fn nearest(positions: &[Vec3], points: &[Vec3], count: usize) -> Vec<Neighbour> {
    debug_assert!(points.len() >= count);
    let nothing = Neighbour {
        index: 0,
        dist2: f32::INFINITY,
    };
    let mut neighbours = vec![nothing; positions.len() * count];
    parallel_rows(&mut neighbours, count, |i, nearest| {
        for (index, point) in points.iter().enumerate() {
            let dist2 = positions[i].distance_squared(*point);
            if dist2 < nearest[count - 1].dist2 {
                let rank = nearest.partition_point(|n| n.dist2 <= dist2);
                nearest[rank..].rotate_right(1);
                nearest[rank] = Neighbour { index, dist2 };
            }
        }
    });
    neighbours
}

/// 1/d², with d² kept at or above 1e-12 for a sample that lies on a point.
pub fn inverse_square(dist2: f32) -> f32 {
    1.0 / dist2.max(1e-12)
}

/// Σ 1/d² over all samples, for the nearest points, the second nearest, and so on: `[count]`.
pub fn weight_sums(neighbours: &[Neighbour], count: usize) -> Vec<f32> {
    let mut sums = vec![0.0; count];
    for nearest in neighbours.chunks_exact(count) {
        for (sum, neighbour) in sums.iter_mut().zip(nearest) {
            *sum += f64::from(inverse_square(neighbour.dist2));
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}
