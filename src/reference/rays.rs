//! Camera rays, and volume rendering along them: compositing (NeRF, Mildenhall et al. 2020) with
//! opacities that the field gives directly, hierarchical sampling, and the merged composite.

use super::field::Radiance;
use super::{Mat3, Real, Tensor, Vec3};
use crate::Camera;

/// The rays of a low-res image, row by row.
#[derive(Clone, Debug)]
pub struct Rays {
    /// The camera, where all rays start.
    pub origin: Vec3,
    /// Unit length, `[size * size]`.
    pub directions: Vec<Vec3>,
    /// Depth at which each ray enters the cube [-1, 1]³; -1 for rays that miss it.
    pub near: Vec<Real>,
    /// Depth at which each ray leaves the cube; -1 for rays that miss it.
    pub far: Vec<Real>,
}

/// A camera's rays through the pixels of a `size` x `size` image, the outermost pixel *centres*
/// being the picture's edges.
pub fn generate(camera: &Camera, size: usize) -> Rays {
    let transform = camera.transform.map(|row| row.map(Real::from));
    let [a, b, c] = transform.map(|[x, y, z, _]| Vec3::new(x, y, z));
    let rotation = Mat3::from_cols(a, b, c).transpose();
    let origin = -(rotation * Vec3::from_array(transform.map(|row| row[3])));
    let focal = Real::from(camera.focal);
    let grid = |i: usize| 1.0 - 2.0 * i as Real / (size - 1) as Real;
    let mut rays = Rays {
        origin,
        directions: Vec::with_capacity(size * size),
        near: Vec::with_capacity(size * size),
        far: Vec::with_capacity(size * size),
    };
    for row in 0..size {
        for column in 0..size {
            let (x, y) = (grid(column) / focal, grid(row) / focal);
            let direction = (rotation * Vec3::new(x, y, 1.0)).normalize();
            let (near, far) = cube(origin, direction, camera.clamp_near);
            rays.directions.push(direction);
            rays.near.push(near);
            rays.far.push(far);
        }
    }
    rays
}

/// Entry and exit depth of a ray through the cube [-1, 1]³, by the slab method; -1 and -1 if it
/// misses the cube or has it behind. The entry of a camera inside the cube lies behind it, hence
/// is negative, unless `clamp_near` raises it to 0.
pub(crate) fn cube(origin: Vec3, direction: Vec3, clamp_near: bool) -> (Real, Real) {
    let (a, b) = ((-1.0 - origin) / direction, (1.0 - origin) / direction);
    let (near, far) = (a.min(b).max_element(), a.max(b).min_element());
    if near > far || far <= 0.0 {
        (-1.0, -1.0)
    } else if clamp_near {
        (near.max(0.0), far)
    } else {
        (near, far)
    }
}

/// The mid-points of `count` equal intervals between near and far: `[rays][count]`.
pub fn coarse_depths(rays: &Rays, count: usize) -> Vec<Real> {
    let of_ray = |(near, far): (&Real, &Real)| {
        let (near, length) = (*near, far - near);
        let edge = move |i: usize| near + i as Real / count as Real * length;
        (0..count).map(move |i| (edge(i) + edge(i + 1)) / 2.0)
    };
    rays.near.iter().zip(&rays.far).flat_map(of_ray).collect()
}

/// origin + t · direction for depths t `[rays][samples]`.
pub fn positions(rays: &Rays, depths: &[Real]) -> Vec<Vec3> {
    let samples = depths.len() / rays.directions.len();
    let of_ray = |(depths, direction): (&[Real], &Vec3)| {
        let (origin, direction) = (rays.origin, *direction);
        let positions = depths.iter().map(move |t| origin + *t * direction);
        positions.collect::<Vec<_>>()
    };
    let depths = depths.chunks_exact(samples);
    depths.zip(&rays.directions).flat_map(of_ray).collect()
}

/// The share of every sample in its ray's colour, w_i = α_i Π_{j<i} (1 - α_j), from opacities
/// `[rays][samples]` ordered by depth.
pub fn composite(opacity: &[Real], samples: usize) -> Vec<Real> {
    let of_ray = |opacity: &[Real]| {
        let mut transmittance = 1.0;
        let weights = opacity.iter().map(|alpha| {
            let weight = alpha * transmittance;
            transmittance *= 1.0 - alpha;
            weight
        });
        weights.collect::<Vec<_>>()
    };
    opacity.chunks_exact(samples).flat_map(of_ray).collect()
}

/// Σ_i w_i · value_i for each ray: weights `[rays][samples]`, values `[rays * samples, channels]`
/// to `[rays, channels]`.
pub fn integrate(weights: &[Real], values: &Tensor, samples: usize) -> Tensor {
    let mut sums = Tensor::zeros([weights.len() / samples, values.row_length()]);
    for (i, weight) in weights.iter().enumerate() {
        let sum = &mut sums.data[i / samples * values.row_length()..];
        for (sum, value) in sum.iter_mut().zip(values.row(i)) {
            *sum += weight * value;
        }
    }
    sums
}

/// Depths of the fine pass, `[rays][fine]`, denser where the coarse weights are large.
///
/// `depths` and `weights` are `[rays][coarse]`. As in the authors' code the coarse depths are
/// taken as the edges of coarse - 1 intervals and the inclusive cumulative sum of the normalised
/// weights as the distribution function *at* those edges, so it starts at the first weight rather
/// than at zero. Its values at `fine` equidistant strata's centres are inverted linearly; the
/// fine depths are the mid-points of the intervals that these samples are the centres of.
pub fn importance(depths: &[Real], weights: &[Real], coarse: usize, fine: usize) -> Vec<Real> {
    let of_ray = |(depths, weights): (&[Real], &[Real])| {
        let samples = invert_distribution(depths, weights, fine);
        recentre(&samples, depths[0], depths[coarse - 1])
    };
    let rays = depths
        .chunks_exact(coarse)
        .zip(weights.chunks_exact(coarse));
    rays.flat_map(of_ray).collect()
}

/// Samples of one ray's distribution, at the centres of `count` strata.
fn invert_distribution(depths: &[Real], weights: &[Real], count: usize) -> Vec<Real> {
    let last = depths.len() - 1;
    let total: Real = weights.iter().map(|w| w + 1e-5).sum();
    let cumulative = weights.iter().scan(0.0, |sum, w| {
        *sum += (w + 1e-5) / total;
        Some(*sum)
    });
    let cumulative: Vec<Real> = cumulative.collect();
    let stratum = (cumulative[last] - cumulative[0]) / count as Real;
    let invert = |i: usize| {
        let u = cumulative[0] + (i as Real + 0.5) * stratum;
        let above = cumulative[..last].partition_point(|c| *c <= u);
        let below = above.saturating_sub(1);
        let (c0, c1) = (cumulative[below], cumulative[above]);
        let (t0, t1) = (depths[below], depths[above]);
        if c1 - c0 < 1e-10 {
            (t0 + t1) / 2.0
        } else {
            t0 + (u - c0) * ((t1 - t0) / (c1 - c0))
        }
    };
    (0..count).map(invert).collect()
}

/// Replaces samples by the mid-points of the intervals around them. Intervals meet half-way
/// between samples; the outermost extend as far outwards, but not beyond `first` and `last`.
fn recentre(samples: &[Real], first: Real, last: Real) -> Vec<Real> {
    let n = samples.len();
    let start = samples[0] - (samples[1] - samples[0]) / 2.0;
    let end = samples[n - 1] + (samples[n - 1] - samples[n - 2]) / 2.0;
    let middle = |pair: &[Real]| (pair[0] + pair[1]) / 2.0;
    let mut edges = vec![start.max(first)];
    edges.extend(samples.windows(2).map(middle));
    edges.push(end.min(last));
    edges.windows(2).map(middle).collect()
}

/// The rays of a frame after volume rendering.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Σ w · value on a background of zero, `[rays, channels]`.
    pub values: Tensor,
    /// Accumulated opacity Σ w in [0, 1], `[rays]`.
    pub opacity: Vec<Real>,
    /// Σ w · t, `[rays]`.
    pub depth: Vec<Real>,
    /// The largest depth of any sample of any ray.
    pub farthest: Real,
}

/// Composites the samples of both passes together, ordered by depth; of two samples at the same
/// depth the coarse one comes first. A pass is its depths `[rays][samples]` and its radiance.
pub fn merge(coarse: (&[Real], &Radiance), fine: (&[Real], &Radiance), rays: usize) -> Merged {
    let channels = coarse.1.values.row_length();
    let mut merged = Merged {
        values: Tensor::zeros([rays, channels]),
        opacity: Vec::with_capacity(rays),
        depth: Vec::with_capacity(rays),
        farthest: Real::NEG_INFINITY,
    };
    for ray in 0..rays {
        let mut samples = Vec::new();
        for (depths, radiance) in [coarse, fine] {
            let count = depths.len() / rays;
            samples.extend((ray * count..(ray + 1) * count).map(|i| (depths[i], i, radiance)));
        }
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));

        let alphas: Vec<Real> = samples.iter().map(|(_, i, r)| r.opacity[*i]).collect();
        let weights = composite(&alphas, alphas.len());
        let value = &mut merged.values.data[ray * channels..][..channels];
        let mut depth = 0.0;
        for ((t, i, radiance), weight) in samples.iter().zip(&weights) {
            for (sum, v) in value.iter_mut().zip(radiance.values.row(*i)) {
                *sum += weight * v;
            }
            depth += weight * t;
            merged.farthest = merged.farthest.max(*t);
        }
        let opacity: Real = weights.iter().sum();
        merged.opacity.push(opacity.clamp(0.0, 1.0));
        merged.depth.push(depth);
    }
    merged
}
