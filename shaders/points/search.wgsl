#define_import_path gpavatar::search

// The common part of the searches for the nearest points.

#import gpavatar::samples::points
#import gpavatar::top_k::{Nearest, NONE}

// 1 also sums the reciprocal squared distances.
override WEIGHT_SUMS: u32 = 0u;
// 1 does not search for samples outside of the cube. Weight sums would lack them.
override SKIP_EMPTY: u32 = 0u;

struct Search {
    // Samples per ray in this pass, and those of them that a thread, or the threads on a ray, walk
    // along.
    samples: u32,
    segment: u32,
    clusters: u32,
    // Places of a cluster.
    capacity: u32,
    // Groups of eight clusters.
    groups: u32,
    // Index of the last point.
    last: u32,
}

@group(0) @binding(2) var<uniform> search: Search;
@group(0) @binding(6) var<storage, read> clustered: array<vec4<f32>>; // [cluster][place], w: index
// Boxes of the clusters, then of the groups.
@group(0) @binding(7) var<storage, read> bounds: array<vec4<f32>>; // [box][low, high]
// Eight 16-bit indices, nearest first.
@group(0) @binding(8) var<storage, read_write> neighbours: array<vec4<u32>>; // [ray][samples]
// Sums of this workgroup by rank.
@group(0) @binding(9) var<storage, read_write> partials: array<vec4<f32>>; // [workgroup][2]

fn squared(v: vec3<f32>) -> f32 {
    return v.x * v.x + v.y * v.y + v.z * v.z;
}

// Squared distance of a position from a box.
fn from_box(low: vec3<f32>, high: vec3<f32>, at: vec3<f32>) -> f32 {
    return squared(max(max(low - at, at - high), vec3<f32>()));
}

// An upper bound of the eighth distance at `at`: the largest to the neighbours of another sample.
fn limit(at: vec3<f32>, known: Nearest) -> f32 {
    if known.i_h == NONE {
        return 1e37;
    }
    var largest = squared(at - points[known.i_a].xyz);
    largest = max(largest, squared(at - points[known.i_b].xyz));
    largest = max(largest, squared(at - points[known.i_c].xyz));
    largest = max(largest, squared(at - points[known.i_d].xyz));
    largest = max(largest, squared(at - points[known.i_e].xyz));
    largest = max(largest, squared(at - points[known.i_f].xyz));
    largest = max(largest, squared(at - points[known.i_g].xyz));
    largest = max(largest, squared(at - points[known.i_h].xyz));
    // Rounding may differ between the two places that compute a distance.
    return largest * 1.00001;
}

// 1/d², kept finite where a sample lies on a point.
fn reciprocals(a: f32, b: f32, c: f32, d: f32) -> vec4<f32> {
    return 1.0 / max(vec4<f32>(a, b, c, d), vec4<f32>(1e-12));
}

// For samples that have no opacity, regardless of their neighbours.
fn keep_any(sample: u32) {
    neighbours[sample] = vec4<u32>();
}

// Places that nobody has taken name a point, too.
fn keep(sample: u32, list: Nearest) {
    let low = min(vec4<u32>(list.i_a, list.i_c, list.i_e, list.i_g), vec4<u32>(search.last));
    let high = min(vec4<u32>(list.i_b, list.i_d, list.i_f, list.i_h), vec4<u32>(search.last));
    neighbours[sample] = low | (high << vec4<u32>(16u));
}
