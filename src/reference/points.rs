//! Nearest points of a sample, and the global sums of their weights.

use glam::Vec3;

use super::parallel_rows;
use crate::stage::points::{Layout, NOBODY, members};

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

/// How many distances a search computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistanceTests {
    /// To points.
    pub points: u64,
    /// To boxes around clusters of points.
    pub boxes: u64,
}

/// What [`nearest`] finds, searched for as the kernel of that name does, and what that took.
///
/// Each run of `segment` positions is followed by itself. Its first position looks into the nearest
/// cluster first; later ones know that their farthest neighbour is no farther than the farthest of
/// those just found. Clusters whose box is farther than that are skipped.
pub fn nearest_in_clusters(
    positions: &[Vec3],
    segment: usize,
    points: &[Vec3],
    count: usize,
) -> (Vec<Neighbour>, DistanceTests) {
    let clusters = Cluster::all(points);
    let walk = Walk {
        clusters: &clusters,
        points,
        count,
        found: Vec::new(),
        tests: DistanceTests::default(),
    };
    let mut walks = vec![walk; positions.len().div_ceil(segment)];
    parallel_rows(&mut walks, 1, |i, walk| {
        let run = positions.chunks(segment).nth(i).unwrap_or_default();
        walk[0].follow(run);
    });
    let mut tests = DistanceTests::default();
    for walk in &walks {
        tests.points += walk.tests.points;
        tests.boxes += walk.tests.boxes;
    }
    (
        walks.into_iter().flat_map(|walk| walk.found).collect(),
        tests,
    )
}

/// Points that are close together, and the box around them.
struct Cluster {
    members: Vec<usize>,
    low: Vec3,
    high: Vec3,
}

impl Cluster {
    fn all(points: &[Vec3]) -> Vec<Self> {
        let coordinates: Vec<[f32; 3]> = points.iter().map(|p| p.to_array()).collect();
        let capacity = Layout::new(points.len() as u32).capacity as usize;
        let cluster = |places: &[u32]| {
            let used = places.iter().filter(|&&member| member != NOBODY);
            let members: Vec<usize> = used.map(|&member| member as usize).collect();
            let corner = |pick: fn(Vec3, Vec3) -> Vec3| {
                let inside = members.iter().map(|&i| points[i]);
                inside.reduce(pick).unwrap_or_default()
            };
            Self {
                low: corner(Vec3::min),
                high: corner(Vec3::max),
                members,
            }
        };
        members(&coordinates)
            .chunks(capacity)
            .map(cluster)
            .collect()
    }
}

/// The search along one run of positions.
#[derive(Clone)]
struct Walk<'a> {
    clusters: &'a [Cluster],
    points: &'a [Vec3],
    count: usize,
    /// `[positions][count]`.
    found: Vec<Neighbour>,
    tests: DistanceTests,
}

impl Walk<'_> {
    fn follow(&mut self, run: &[Vec3]) {
        for (i, &at) in run.iter().enumerate() {
            let mut limit = f32::INFINITY;
            let mut first = None;
            if i == 0 {
                let distances = self.clusters.iter().map(|c| Self::box_distance(c, at));
                let nearest = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
                first = nearest.map(|(cluster, _)| cluster);
                self.tests.boxes += self.clusters.len() as u64;
            } else {
                let known = &self.found[self.found.len() - self.count..];
                let distances = known
                    .iter()
                    .map(|n| at.distance_squared(self.points[n.index]));
                // Rounding may differ between the two places that compute a distance.
                limit = distances.fold(0.0, f32::max) * 1.00001;
                self.tests.points += self.count as u64;
            }
            let nobody = Neighbour {
                index: usize::MAX,
                dist2: limit,
            };
            let mut list = vec![nobody; self.count];
            if let Some(cluster) = first {
                self.scan(cluster, at, &mut list);
            }
            for (index, cluster) in self.clusters.iter().enumerate() {
                if Some(index) == first {
                    continue;
                }
                self.tests.boxes += 1;
                if Self::box_distance(cluster, at) <= list[self.count - 1].dist2 {
                    self.scan(index, at, &mut list);
                }
            }
            self.found.extend(list);
        }
    }

    fn box_distance(cluster: &Cluster, at: Vec3) -> f32 {
        let outside = (cluster.low - at).max(at - cluster.high).max(Vec3::ZERO);
        outside.length_squared()
    }

    fn scan(&mut self, cluster: usize, at: Vec3, list: &mut [Neighbour]) {
        let members = &self.clusters[cluster].members;
        self.tests.points += members.len() as u64;
        for &index in members {
            let dist2 = at.distance_squared(self.points[index]);
            let rank = list.partition_point(|n| (n.dist2, n.index) < (dist2, index));
            if rank < list.len() {
                list[rank..].rotate_right(1);
                list[rank] = Neighbour { index, dist2 };
            }
        }
    }
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
