//! Nearest points of a sample, and the global sums of their weights.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Real, Vec3, parallel_rows};
use crate::clusters::{ClusterLayout, NOBODY, members};

/// One of the points nearest to a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Index of the point.
    pub index: usize,
    /// Its squared distance to the sample.
    pub dist2: Real,
}

/// The `count` points nearest to each position, nearest first and the lower index first where
/// distances tie: `[positions][count]`. There must be at least `count` points.
pub fn nearest(positions: &[Vec3], points: &[Vec3], count: usize) -> Vec<Neighbour> {
    debug_assert!(points.len() >= count);
    let nothing = Neighbour {
        index: 0,
        dist2: Real::INFINITY,
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

/// How a kernel walks along the rays.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Positions per ray.
    pub samples: usize,
    /// Positions per thread.
    pub segment: usize,
    /// Neighbouring rays whose threads search together: all scan what any of them needs. The number
    /// of rays is a multiple of it.
    pub together: usize,
}

/// The result of [`nearest`], searched for as the kernels do, and the cost. `positions` are
/// `[ray][sample]`.
///
/// A walk begins in the nearest cluster of the group that is nearest to its first position. From
/// then on the farthest of the last neighbours bounds the search: groups and clusters whose box is
/// farther are skipped. One thread alone is kernel `nearest`, eight together are
/// `nearest_subgroup`.
pub fn nearest_in_clusters(
    positions: &[Vec3],
    walk: Walk,
    points: &[Vec3],
    count: usize,
) -> (Vec<Neighbour>, DistanceTests) {
    let clusters = Cluster::all(points);
    let around = |clusters: &[Cluster]| Bounds {
        low: (clusters.iter().map(|c| c.bounds.low)).fold(Vec3::MAX, Vec3::min),
        high: (clusters.iter().map(|c| c.bounds.high)).fold(Vec3::MIN, Vec3::max),
    };
    let groups = clusters.chunks(ClusterLayout::GROUP as usize).map(around);
    let groups: Vec<Bounds> = groups.collect();
    let (to_points, to_boxes) = (AtomicU64::new(0), AtomicU64::new(0));
    let nothing = Neighbour {
        index: 0,
        dist2: Real::INFINITY,
    };
    let mut neighbours = vec![nothing; positions.len() * count];
    let block = walk.together * walk.samples;
    parallel_rows(&mut neighbours, block * count, |i, found| {
        let mut threads = Threads {
            walk,
            clusters: &clusters,
            groups: &groups,
            points,
            count,
            positions: &positions[i * block..][..block],
            found,
            tests: DistanceTests::default(),
        };
        for first in (0..walk.samples).step_by(walk.segment) {
            threads.follow(first..(first + walk.segment).min(walk.samples));
        }
        to_points.fetch_add(threads.tests.points, Ordering::Relaxed);
        to_boxes.fetch_add(threads.tests.boxes, Ordering::Relaxed);
    });
    let tests = DistanceTests {
        points: to_points.into_inner(),
        boxes: to_boxes.into_inner(),
    };
    (neighbours, tests)
}

/// A box.
struct Bounds {
    low: Vec3,
    high: Vec3,
}

impl Bounds {
    /// Squared distance from the box.
    fn distance(&self, at: Vec3) -> Real {
        let outside = (self.low - at).max(at - self.high).max(Vec3::ZERO);
        outside.length_squared()
    }
}

/// Points that are close together, and the box around them.
struct Cluster {
    members: Vec<usize>,
    bounds: Bounds,
}

impl Cluster {
    fn all(points: &[Vec3]) -> Vec<Self> {
        let coordinates = points.iter().map(|p| p.to_array().map(|c| c as f32));
        let coordinates: Vec<[f32; 3]> = coordinates.collect();
        let capacity = ClusterLayout::new(points.len() as u32).capacity as usize;
        let cluster = |places: &[u32]| {
            let used = places.iter().filter(|&&member| member != NOBODY);
            let members: Vec<usize> = used.map(|&member| member as usize).collect();
            let corner = |pick: fn(Vec3, Vec3) -> Vec3| {
                let inside = members.iter().map(|&i| points[i]);
                inside.reduce(pick).unwrap_or_default()
            };
            let (low, high) = (corner(Vec3::min), corner(Vec3::max));
            Self {
                bounds: Bounds { low, high },
                members,
            }
        };
        let members = members(&coordinates);
        members.chunks(capacity).map(cluster).collect()
    }
}

/// Threads of neighbouring rays that search together.
struct Threads<'a> {
    walk: Walk,
    clusters: &'a [Cluster],
    groups: &'a [Bounds],
    points: &'a [Vec3],
    count: usize,
    /// `[thread][sample]`.
    positions: &'a [Vec3],
    /// `[thread][sample][count]`.
    found: &'a mut [Neighbour],
    tests: DistanceTests,
}

impl Threads<'_> {
    fn follow(&mut self, segment: Range<usize>) {
        // Threads that share loads decide for several boxes at once, and begin where the last
        // search ended.
        let shared = self.walk.together > 1;
        let at_once = if shared { 32 } else { 1 };
        let (clusters, groups) = (self.clusters, self.groups);
        let members = |group: usize| {
            let size = ClusterLayout::GROUP as usize;
            group * size..((group + 1) * size).min(clusters.len())
        };
        let mut seed = 0;
        for sample in segment.clone() {
            let start = sample == segment.start;
            for thread in 0..self.walk.together {
                let limit = if start {
                    Real::INFINITY
                } else {
                    self.limit(thread, sample)
                };
                self.list(thread, sample).fill(Neighbour {
                    index: usize::MAX,
                    dist2: limit,
                });
            }
            if start {
                let at = self.positions[sample];
                let nearest = |boxes: &mut dyn Iterator<Item = (usize, &Bounds)>| {
                    let distances = boxes.map(|(index, bounds)| (index, bounds.distance(at)));
                    let nearest = distances.min_by(|a, b| a.1.total_cmp(&b.1));
                    nearest.map_or(0, |(index, _)| index)
                };
                let group = members(nearest(&mut groups.iter().enumerate()));
                let boxes = groups.len() + group.len();
                seed = nearest(&mut group.map(|cluster| (cluster, &clusters[cluster].bounds)));
                self.tests.boxes += (self.walk.together * boxes) as u64;
            }
            let known = (start || shared).then_some(seed);
            if let Some(known) = known {
                self.scan(known, sample);
            }
            for first in (0..groups.len()).step_by(at_once) {
                let some = first..(first + at_once).min(groups.len());
                let near: Vec<usize> = some
                    .filter(|&group| self.wants(&groups[group], sample))
                    .collect();
                for group in near {
                    let others = members(group).filter(|&cluster| Some(cluster) != known);
                    if !shared {
                        for cluster in others {
                            if self.wants(&clusters[cluster].bounds, sample) {
                                self.scan(cluster, sample);
                            }
                        }
                        continue;
                    }
                    let wanted: Vec<usize> = others
                        .filter(|&cluster| self.wants(&clusters[cluster].bounds, sample))
                        .collect();
                    for cluster in wanted {
                        // Points found since may have lowered the limit.
                        if self.wants(&clusters[cluster].bounds, sample) {
                            self.scan(cluster, sample);
                            seed = cluster;
                        }
                    }
                }
            }
        }
    }

    /// The neighbours of a thread's sample, nearest first.
    fn list(&mut self, thread: usize, sample: usize) -> &mut [Neighbour] {
        let place = thread * self.walk.samples + sample;
        &mut self.found[place * self.count..][..self.count]
    }

    /// An upper bound of the distances to look for: the largest to the neighbours of the sample
    /// before.
    fn limit(&mut self, thread: usize, sample: usize) -> Real {
        let at = self.positions[thread * self.walk.samples + sample];
        self.tests.points += self.count as u64;
        let points = self.points;
        let known = self.list(thread, sample - 1).iter();
        let distances = known.map(|neighbour| at.distance_squared(points[neighbour.index]));
        // Rounding may differ between the two places that compute a distance.
        distances.fold(0.0, Real::max) * 1.00001
    }

    /// Whether a box is near enough for some thread.
    fn wants(&mut self, bounds: &Bounds, sample: usize) -> bool {
        let mut wanted = false;
        for thread in 0..self.walk.together {
            let at = self.positions[thread * self.walk.samples + sample];
            self.tests.boxes += 1;
            let farthest = self.list(thread, sample).last().map_or(0.0, |n| n.dist2);
            wanted |= bounds.distance(at) <= farthest;
        }
        wanted
    }

    /// Lets all threads scan the points of a cluster.
    fn scan(&mut self, cluster: usize, sample: usize) {
        let (clusters, points) = (self.clusters, self.points);
        for thread in 0..self.walk.together {
            let at = self.positions[thread * self.walk.samples + sample];
            let members = &clusters[cluster].members;
            self.tests.points += members.len() as u64;
            for &index in members {
                let dist2 = at.distance_squared(points[index]);
                let list = self.list(thread, sample);
                let rank = list.partition_point(|n| (n.dist2, n.index) < (dist2, index));
                if rank < list.len() {
                    list[rank..].rotate_right(1);
                    list[rank] = Neighbour { index, dist2 };
                }
            }
        }
    }
}

/// 1/d², with d² kept at or above 1e-12 for a sample that lies on a point.
pub fn inverse_square(dist2: Real) -> Real {
    1.0 / dist2.max(1e-12)
}

/// Σ 1/d² over all samples, for the nearest points, the second nearest, and so on: `[count]`.
pub fn weight_sums(neighbours: &[Neighbour], count: usize) -> Vec<Real> {
    let mut sums = vec![0.0; count];
    for nearest in neighbours.chunks_exact(count) {
        for (sum, neighbour) in sums.iter_mut().zip(nearest) {
            *sum += f64::from(inverse_square(neighbour.dist2));
        }
    }
    sums.into_iter().map(|sum| sum as Real).collect()
}
