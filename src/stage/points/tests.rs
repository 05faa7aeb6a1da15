use std::collections::HashSet;

use glam::Vec3;
use proptest::prelude::*;
use proptest::sample::select;

use super::cells::Room;
use super::*;
use crate::clusters::{NOBODY, members};
use crate::gpu::{Gpu, Resource};
use crate::options::Formats;
use crate::reference::points as twin;
use crate::stage::testing::*;
use crate::weights::pack;

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    let points = lattice_points(1, 100, 32);
    let scene = lattice_samples(1, 5, 11, 32);
    for search in [
        Search::new(gpu, &ModelConfig::default()),
        Search::Clusters,
        Search::Cells(grid(1, &[(1000, 0), (8, 20)])),
    ] {
        let variant = Variant { gpu, search };
        let found = variant.search(PointWeighting::Released, &points, &scene);
        found.assert_equals_twin(&points, &scene);
    }
}

// ---- clusters ------------------------------------------------------------------------------

/// The members of all clusters, without unused places.
fn clusters(points: &[[f32; 3]]) -> Vec<Vec<u32>> {
    let layout = ClusterLayout::new(points.len() as u32);
    let members = members(points);
    assert_eq!(members.len() as u32, layout.clusters * layout.capacity);
    let clusters = members.chunks_exact(layout.capacity as usize);
    clusters
        .map(|places| {
            let used = places.iter().take_while(|&&member| member != NOBODY);
            let used: Vec<u32> = used.copied().collect();
            assert!(places[used.len()..].iter().all(|&member| member == NOBODY));
            used
        })
        .collect()
}

fn extent(points: &[[f32; 3]], members: &[u32]) -> [[f32; 3]; 2] {
    let corner = |pick: fn(f32, f32) -> f32, start: f32| {
        [0, 1, 2].map(|axis| {
            let coordinates = members.iter().map(|&i| points[i as usize][axis]);
            coordinates.fold(start, pick)
        })
    };
    [
        corner(f32::min, f32::INFINITY),
        corner(f32::max, f32::NEG_INFINITY),
    ]
}

fn some_points(kind: u32, seed: u64, count: usize) -> Vec<[f32; 3]> {
    let points = random_vectors(seed, "points", count).into_iter();
    let shape = |Vec3 { x, y, z }| match kind {
        0 => [x, y, z],
        // Identical, collinear along an axis and across, and with many duplicates.
        1 => [0.25, -0.5, 0.75],
        2 => [x, 0.5, 0.5],
        3 => [x, x, -x],
        _ => [x, y, z].map(|v| (v * 2.0).round() / 2.0),
    };
    points.map(shape).collect()
}

#[test]
fn clusters_hold_every_point_once() {
    // Around the sizes at which clusters begin, and a full head.
    let counts = select(vec![
        1, 2, 7, 8, 31, 32, 33, 63, 64, 65, 96, 97, 300, 512, 1000, 5022, 5023,
    ]);
    let cases = (any::<u64>(), 0u32..5, counts);
    check(40, cases, |(seed, kind, count)| {
        let points = some_points(kind, seed, count);
        let clusters = clusters(&points);
        let all = clusters.concat();
        let different: HashSet<u32> = all.iter().copied().collect();
        assert_eq!((all.len(), different.len()), (count, count));
        assert!(all.iter().all(|&point| (point as usize) < count));
        for members in &clusters {
            assert!(!members.is_empty() && members.is_sorted());
        }
    });
}

#[test]
fn clusters_are_compact() {
    let points = some_points(0, 5, 5023);
    let clusters = clusters(&points);
    let boxes = clusters.iter().map(|members| extent(&points, members));
    let boxes: Vec<_> = boxes.collect();
    for (i, [low, high]) in boxes.iter().enumerate() {
        // Cuts lie between points, so boxes may touch but not overlap.
        for [other_low, other_high] in &boxes[..i] {
            let apart =
                |axis: usize| high[axis] <= other_low[axis] || other_high[axis] <= low[axis];
            assert!((0..3).any(apart));
        }
        // 314 clusters in a cube: cells of 2 / 314^⅓ = 0.29, halved along their longest side.
        let lengths = (0..3).map(|axis| high[axis] - low[axis]);
        let longest = lengths.fold(0.0, f32::max);
        assert!(longest < 0.6, "cluster {i} is {longest} long");
    }
}

#[test]
fn bounds_are_those_of_the_moved_points() {
    let counts = select(vec![1, 8, 33, 65, 300, 1000]);
    check(6, (any::<u64>(), counts), |(seed, count)| {
        let members = members(&some_points(0, seed, count));
        // The points have moved since they were clustered.
        let points = some_points(0, seed + 1, count);
        let config = ModelConfig {
            points: count as u32,
            ..ModelConfig::default()
        };
        let outside = input(gpu(), &members);
        let planned = run(gpu(), &[("members", Resource::Tensor(&outside))], |b| {
            let positions = input(gpu(), &pack::vec4s(&points));
            Points::cluster(b, &config, positions).unwrap()
        });
        let clustered: Vec<[f32; 4]> = read(gpu(), &planned.clustered);
        let bounds: Vec<[[f32; 4]; 2]> = read(gpu(), &planned.bounds);
        let capacity = planned.layout.capacity as usize;
        let clusters = clustered.chunks_exact(capacity);
        let clusters = members.chunks_exact(capacity).zip(clusters);
        let (of_clusters, of_groups) = bounds.split_at(planned.layout.clusters as usize);
        for ((members, places), bounds) in clusters.zip(of_clusters) {
            for (&member, &[x, y, z, index]) in members.iter().zip(places) {
                if member == NOBODY {
                    assert!([x, y, z].iter().all(|v| (1e18..2e18).contains(v)));
                    assert_eq!(index, 65535.0);
                } else {
                    assert_eq!([x, y, z], points[member as usize]);
                    assert_eq!(index, member as f32);
                }
            }
            let used: Vec<u32> = members.iter().copied().filter(|m| *m != NOBODY).collect();
            let expected = extent(&points, &used);
            assert_eq!(bounds.map(|[x, y, z, _]| [x, y, z]), expected);
        }
        assert_eq!(of_groups.len() as u32, planned.layout.groups());
        let groups = of_clusters.chunks(ClusterLayout::GROUP as usize);
        for (group, clusters) in of_groups.iter().zip(groups) {
            let corner = |corner: usize, pick: fn(f32, f32) -> f32| {
                let corners = clusters.iter().map(|bounds| bounds[corner]);
                corners.reduce(|a, b| std::array::from_fn(|i| pick(a[i], b[i])))
            };
            assert_eq!(Some(group[0]), corner(0, f32::min));
            assert_eq!(Some(group[1]), corner(1, f32::max));
        }
    });
}

// ---- cells ---------------------------------------------------------------------------------

/// The lists of the finest cells, `None` for a cell without one, and the cells along an axis.
fn cell_lists(points: &[[f32; 3]], levels: &CellLevels) -> (Vec<Option<Vec<u32>>>, u32) {
    let count = points.len() as u32;
    let cells = run(gpu(), &[], |b| {
        let positions = input(gpu(), &pack::vec4s(points));
        Cells::list(b, levels, count, &positions).unwrap()
    });
    let records: Vec<[u32; 4]> = read(gpu(), &cells.records);
    let finest = cells.finest;
    let lists = (0..finest.side.pow(3)).map(|cell| {
        let [row, length, ..] = records[(finest.first + cell * finest.stride) as usize];
        if length == kernels::layout::NO_LIST {
            return None;
        }
        // Kernels read whole rows.
        let rows = &records[row as usize..][..length.div_ceil(4) as usize];
        let places = rows.concat();
        assert!(places.iter().all(|&point| point < count));
        let (list, unused) = places.split_at(length as usize);
        assert!(list.is_sorted_by(|a, b| a < b));
        assert!(unused.iter().all(|&point| point == 0));
        Some(list.to_vec())
    });
    (lists.collect(), finest.side)
}

/// Checks that the lists have all points that are among the eight nearest of these positions.
#[track_caller]
fn assert_lists_suffice(points: &[[f32; 3]], levels: &CellLevels, positions: &[Vec3]) {
    let (lists, side) = cell_lists(points, levels);
    let points: Vec<_> = points.iter().map(|&p| Vec3::from(p)).collect();
    let count = points.len().min(8);
    let expected = twin::nearest(positions, &points, count);
    for (at, expected) in positions.iter().zip(expected.chunks_exact(count)) {
        let place = ((*at + 1.0) * 0.5 * side as f32).as_uvec3();
        let place = place.min(glam::UVec3::splat(side - 1));
        let cell = (place.z * side + place.y) * side + place.x;
        if let Some(list) = &lists[cell as usize] {
            for neighbour in expected {
                let listed = list.binary_search(&(neighbour.index as u32));
                assert!(listed.is_ok(), "{neighbour:?} at {at}, cell {cell}");
            }
        }
    }
}

#[test]
fn cells_list_all_points_that_can_be_nearest() {
    // Inside cells, and on their corners.
    let mut positions = random_vectors(7, "positions", 3000);
    positions.extend(snapped_vectors(7, "corners", 500, 4.0));
    let counts = select(vec![1usize, 7, 8, 9, 24, 25, 300, 2000]);
    // One level and several; with room for all lists, for some, and for some at the first.
    let rooms = select(vec![
        vec![(8192, 0)],
        vec![(8192, 0), (512, 0)],
        vec![(8192, 0), (128, 128), (64, 32)],
        vec![(500, 0), (32, 10), (12, 20)],
    ]);
    // Also points that are all far outside of the cube, or next to each other.
    let scales = select(vec![1.0f32, 0.01, 30.0, 1e4]);
    let cases = (any::<u64>(), 0u32..5, counts, scales, 1u32..=3, rooms);
    check(24, cases, |(seed, kind, count, scale, side, rooms)| {
        let points = some_points(kind, seed, count).into_iter();
        let points: Vec<_> = points.map(|p| p.map(|v| v * scale)).collect();
        assert_lists_suffice(&points, &grid(side, &rooms), &positions);
    });
}

#[test]
fn cells_of_a_whole_head_have_short_lists() {
    // On a sphere, where a head's skin is as dense.
    let points = random_vectors(8, "points", 5023).into_iter();
    let points: Vec<_> = points.map(|p| (0.5 * p.normalize()).to_array()).collect();
    let levels = CellLevels::new(&ModelConfig::default());
    assert_lists_suffice(&points, &levels, &random_vectors(8, "positions", 3000));
    let (lists, side) = cell_lists(&points, &levels);
    assert_eq!(side, 32);
    let lengths = lists.iter().map(|list| list.as_ref().map(Vec::len));
    let mut lengths: Vec<usize> = lengths.map(|length| length.unwrap()).collect();
    lengths.sort_unstable();
    println!(
        "median {}, 95 % {}",
        lengths[lengths.len() / 2],
        lengths[lengths.len() / 20 * 19]
    );
    assert!(lengths[lengths.len() / 2] < 40);
    assert!(lengths[lengths.len() / 20 * 19] < 120);
}

// ---- nearest points ------------------------------------------------------------------------

/// Samples on a lattice, sorted on each ray.
///
/// With points on such a lattice, too, all squared distances are small integers in units of its
/// cells: no device rounds them, many are equal, and the twin's answer is the only one.
fn lattice_samples(seed: u64, side: usize, samples: usize, steps: u32) -> Sampling {
    let mut scene = Sampling::on_lattice(seed, side, samples, steps);
    for depths in scene.depths.chunks_exact_mut(samples) {
        depths.sort_by(f32::total_cmp);
    }
    scene
}

fn lattice_points(seed: u64, count: usize, steps: u32) -> Vec<Vec3> {
    snapped_vectors(seed, "points", count, steps as f32)
}

/// Results of the kernels.
struct Found {
    /// `[sample][rank]`
    indices: Vec<[u32; 8]>,
    /// By rank.
    sums: Option<[f32; 8]>,
}

/// A search on a device.
struct Variant<'a> {
    gpu: &'a Gpu,
    search: Search,
}

impl Variant<'_> {
    /// Unless the sums need all samples, also checks that the search skips exactly the samples outside
    /// the cube.
    fn search(&self, weighting: PointWeighting, points: &[Vec3], scene: &Sampling) -> Found {
        let gpu = self.gpu;
        let rays = scene.directions.len();
        let side = rays.isqrt() as u32;
        let config = ModelConfig {
            points: points.len() as u32,
            point_weighting: weighting,
            ..ModelConfig::default()
        };
        let layout = params::Rays {
            side,
            count: rays as u32,
            stride: 3,
            ..Default::default()
        };
        let triples: Vec<_> = points.iter().map(Vec3::to_array).collect();
        let members = input(gpu, &members(&triples));
        let outside = [("members", Resource::Tensor(&members))];
        let plan = |b: &mut ProgramBuilder<'_>| {
            let (globals, rays, pass) = scene.on(gpu, layout);
            let positions = input(gpu, &pack::vec4s(&triples));
            let points = Points::prepare(b, &config, positions, self.search.clone()).unwrap();
            points.nearest(b, &config, &globals, &rays, &pass).unwrap()
        };
        let whole = ProgramBuilder::new(gpu, Formats::F32).whole();
        let found = run_built(whole, &outside, plan);
        let words: Vec<[u32; 4]> = read(gpu, &found.tensor);
        let (samples, rest) = words.split_at(scene.depths.len());
        if weighting == PointWeighting::Paper {
            let found = run(gpu, &outside, plan);
            let words: Vec<[u32; 4]> = read(gpu, &found.tensor);
            for (i, (at, searched)) in scene.positions().iter().zip(samples).enumerate() {
                let in_cube = at.abs().max_element() < 1.0;
                let expected = if in_cube { *searched } else { [0; 4] };
                assert_eq!(words[i], expected, "sample {i} at {at}");
            }
        }
        let unpack =
            |words: &[u32; 4]| std::array::from_fn(|k| words[k / 2] >> (16 * (k % 2)) & 0xffff);
        let sums = &rest[found.sums_at as usize - samples.len()..];
        Found {
            indices: samples.iter().map(unpack).collect(),
            sums: (weighting == PointWeighting::Released)
                .then(|| bytemuck::cast([sums[0], sums[1]])),
        }
    }
}

impl Found {
    /// For points and samples on a lattice.
    #[track_caller]
    fn assert_equals_twin(&self, points: &[Vec3], scene: &Sampling) {
        let positions = scene.positions();
        let count = points.len().min(8);
        let expected = twin::nearest(&positions, points, count);
        let pairs = self.indices.iter().zip(expected.chunks_exact(count));
        for (sample, (found, expected)) in pairs.enumerate() {
            let expected: Vec<u32> = expected.iter().map(|n| n.index as u32).collect();
            // Ranks that nobody has name a point all the same.
            let expected = (&expected[..], &[points.len() as u32 - 1; 8][count..]);
            let at = positions[sample];
            assert_eq!(found.split_at(count), expected, "sample {sample} at {at}");
        }
        if let Some(sums) = self.sums {
            let expected = twin::weight_sums(&expected, count);
            // Up to a few hundred positive terms, one after the other.
            assert_close("sums", &sums[..count], &expected, |k| 1e-5 * expected[k]);
            // Unused places are at a distance of 1e18.
            assert!(sums[count..].iter().all(|sum| (0.0..1e-30).contains(sum)));
        }
    }
}

/// A grid with places of each cell, and of the pool per cell, for every level.
fn grid(side: u32, rooms: &[(u32, u32)]) -> CellLevels {
    let rooms = rooms.iter().map(|&(own, pooled)| Room { own, pooled });
    CellLevels {
        side,
        rooms: rooms.collect(),
    }
}

/// All searches.
fn variants() -> Vec<Variant<'static>> {
    let gpu = gpu();
    let mut variants = vec![Variant {
        gpu: software(),
        search: Search::Clusters,
    }];
    if subgroups().has_subgroups() {
        variants.push(Variant {
            gpu: subgroups(),
            search: Search::Subgroups,
        });
    }
    // One level and several; lists that are too long at the lower levels, and at all.
    for levels in [
        grid(3, &[(8192, 0)]),
        grid(2, &[(8192, 0), (128, 128), (64, 32)]),
        grid(3, &[(8192, 0), (12, 8), (5, 4)]),
        grid(2, &[(16, 0), (11, 0)]),
    ] {
        let search = Search::Cells(levels);
        variants.push(Variant { gpu, search });
    }
    variants
}

#[test]
fn the_nearest_points_are_found_exactly() {
    let counts = select(vec![1usize, 3, 7, 8, 9, 33, 65, 100, 257, 1000]);
    // Coarse lattices make most distances equal, and put samples on points.
    let steps = select(vec![1u32, 2, 8, 32]);
    let cases = (any::<u64>(), counts, steps, 2usize..=9, 2usize..=40);
    check(24, cases, |(seed, count, steps, side, samples)| {
        let points = lattice_points(seed, count, steps);
        let scene = lattice_samples(seed, side, samples, steps);
        for variant in variants() {
            for weighting in [PointWeighting::Released, PointWeighting::Paper] {
                let found = variant.search(weighting, &points, &scene);
                found.assert_equals_twin(&points, &scene);
            }
        }
    });
}

#[test]
fn the_nearest_of_a_whole_head_are_found_exactly() {
    let points = lattice_points(3, 5023, 32);
    let scene = lattice_samples(3, 8, 32, 32);
    for variant in variants() {
        let found = variant.search(PointWeighting::Released, &points, &scene);
        found.assert_equals_twin(&points, &scene);
    }
}

#[test]
fn identical_points_are_found_by_index() {
    let points = vec![Vec3::new(0.25, -0.5, 0.75); 100];
    let mut scene = lattice_samples(4, 4, 9, 4);
    // The first ray goes through the points.
    scene.directions[0] = Vec3::X;
    scene.origin = Vec3::new(0.0, -0.5, 0.75);
    scene.depths[..9].copy_from_slice(&[-1.0, -0.5, 0.0, 0.25, 0.25, 0.25, 0.5, 1.0, 2.0]);
    for variant in variants() {
        let found = variant.search(PointWeighting::Released, &points, &scene);
        assert_eq!(found.indices, vec![[0, 1, 2, 3, 4, 5, 6, 7]; 16 * 9]);
        found.assert_equals_twin(&points, &scene);
    }
}

#[test]
fn samples_far_away_find_their_nearest_points() {
    // Half units, so that squares of two thousand of them are exact.
    let points = lattice_points(5, 300, 2);
    let mut scene = lattice_samples(5, 3, 10, 1);
    scene.origin = Vec3::new(0.5, -1.0, 1.5);
    for (ray, direction) in scene.directions.iter_mut().enumerate() {
        *direction = [Vec3::X, Vec3::NEG_Y, Vec3::Z][ray % 3];
    }
    for (i, t) in scene.depths.iter_mut().enumerate() {
        *t = if i % 2 == 0 { 1000.0 } else { -1000.0 } + (i % 7) as f32;
    }
    for variant in variants() {
        let found = variant.search(PointWeighting::Paper, &points, &scene);
        found.assert_equals_twin(&points, &scene);
        assert!(found.sums.is_none());
    }
}

#[test]
fn the_nearest_points_are_found_at_any_position() {
    let counts = select(vec![8usize, 50, 700]);
    let cases = (any::<u64>(), counts, 2usize..=6, 2usize..=33);
    check(8, cases, |(seed, count, side, samples)| {
        let points = random_vectors(seed, "points", count);
        let depths = random(seed, "depths", side * side * samples);
        let scene = Sampling {
            origin: 3.0 * random_vectors(seed, "origin", 1)[0],
            directions: random_vectors(seed, "directions", side * side),
            samples,
            depths: depths.iter().map(|t| 4.0 * t).collect(),
        };
        let positions = scene.positions();
        let expected = twin::nearest(&positions, &points, 8);
        for variant in variants() {
            let found = variant.search(PointWeighting::Paper, &points, &scene);
            for (sample, indices) in found.indices.iter().enumerate() {
                assert_eq!(HashSet::from(*indices).len(), 8, "{indices:?}");
                let distances =
                    indices.map(|i| positions[sample].distance_squared(points[i as usize]));
                let expected = expected[8 * sample..][..8].iter();
                let expected: Vec<f32> = expected.map(|n| n.dist2).collect();
                // Devices may round a position, up to seven from the origin, once less than the
                // twin.
                assert_close(&format!("sample {sample}"), &distances, &expected, |k| {
                    8.0 * f32::EPSILON * (expected[k] + 7.0 * expected[k].sqrt())
                });
            }
        }
    });
}

#[test]
fn weights_are_summed_over_all_workgroups() {
    for count in [1usize, 2, 63, 64, 65, 1000] {
        let partials = random(6, "partials", 8 * count).into_iter();
        let partials: Vec<f32> = partials.map(|v| v + 1.0).collect();
        let kernel = (&kernels::WEIGHT_SUMS, []);
        let found = computed(gpu(), Formats::F32, 8, kernel, |dispatch| {
            dispatch
                .uniform("size", params::WeightSums::from(count as u32))
                .bind("partials", &input(gpu(), &partials))
        });
        let sum = |rank: usize| {
            let terms = partials[rank..].iter().step_by(8);
            terms.map(|v| f64::from(*v)).sum::<f64>() as f32
        };
        let expected: Vec<f32> = (0..8).map(sum).collect();
        // Sixteen terms and then 64 sums of positive numbers after each other.
        assert_close("sums", &found, &expected, |k| {
            40.0 * f32::EPSILON * expected[k]
        });
    }
}
