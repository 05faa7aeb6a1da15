// The eight nearest points of every sample, exactly.
//
// One thread follows a segment of a ray. Its first sample looks into the nearest cluster first;
// later ones know that their eighth distance is at most the largest to the neighbours just found.
// Clusters whose box is farther than that are skipped. Consecutive threads own the same segment of
// neighbouring rays.

#import gpavatar::frame::Frame
#import gpavatar::rays::Rays
#import gpavatar::top_k::{Nearest, nobody, insert, NONE}

struct Search {
    // Samples per ray in this pass, and per thread.
    samples: u32,
    segment: u32,
    clusters: u32,
    // Places of a cluster.
    capacity: u32,
}

// 1 also sums the reciprocal squared distances.
override WEIGHT_SUMS: u32 = 0u;

@group(0) @binding(0) var<uniform> march: Rays;
@group(0) @binding(1) var<uniform> frame: Frame;
@group(0) @binding(2) var<uniform> search: Search;
@group(0) @binding(3) var<storage, read> rays: array<vec4<f32>>; // [ray][stride]
@group(0) @binding(4) var<storage, read> depths: array<f32>; // [ray][samples]
@group(0) @binding(5) var<storage, read> points: array<vec4<f32>>; // [point], w unused
@group(0) @binding(6) var<storage, read> clustered: array<vec4<f32>>; // [cluster][place], w: index
@group(0) @binding(7) var<storage, read> bounds: array<vec4<f32>>; // [cluster][low, high]
// Eight 16-bit indices, nearest first.
@group(0) @binding(8) var<storage, read_write> neighbours: array<vec4<u32>>; // [ray][samples]
// Sums of this workgroup by rank.
@group(0) @binding(9) var<storage, read_write> partials: array<vec4<f32>>; // [workgroup][2]

var<workgroup> sums: array<vec4<f32>, 128>;

fn squared(v: vec3<f32>) -> f32 {
    return v.x * v.x + v.y * v.y + v.z * v.z;
}

fn box_distance(cluster: u32, at: vec3<f32>) -> f32 {
    let low = bounds[cluster * 2u].xyz;
    let high = bounds[cluster * 2u + 1u].xyz;
    return squared(max(max(low - at, at - high), vec3<f32>()));
}

fn scan(cluster: u32, at: vec3<f32>, found: Nearest) -> Nearest {
    var list = found;
    let first = cluster * search.capacity;
    for (var i = first; i < first + search.capacity; i++) {
        let point = clustered[i];
        let d = squared(at - point.xyz);
        if d <= list.d_h {
            list = insert(list, d, u32(point.w));
        }
    }
    return list;
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

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = group.y * groups.x + group.x;
    let index = workgroup * 64u + thread;
    let ray = index % march.count;
    let first = index / march.count * search.segment;
    let end = min(first + search.segment, search.samples);
    let direction = rays[ray * march.stride].xyz;
    var list = nobody(1e37);
    var near_sums = vec4<f32>();
    var far_sums = vec4<f32>();
    for (var s = first; s < end; s++) {
        let at = frame.origin.xyz + depths[ray * search.samples + s] * direction;
        var scanned = search.clusters;
        if s == first {
            var best = 1e37;
            for (var cluster = 0u; cluster < search.clusters; cluster++) {
                let d = box_distance(cluster, at);
                if d < best {
                    best = d;
                    scanned = cluster;
                }
            }
            if scanned < search.clusters {
                list = scan(scanned, at, list);
            }
        } else {
            list = nobody(limit(at, list));
        }
        for (var cluster = 0u; cluster < search.clusters; cluster++) {
            if cluster != scanned && box_distance(cluster, at) <= list.d_h {
                list = scan(cluster, at, list);
            }
        }
        neighbours[ray * search.samples + s] = vec4<u32>(
            list.i_a | (list.i_b << 16u),
            list.i_c | (list.i_d << 16u),
            list.i_e | (list.i_f << 16u),
            list.i_g | (list.i_h << 16u),
        );
        near_sums += reciprocals(list.d_a, list.d_b, list.d_c, list.d_d);
        far_sums += reciprocals(list.d_e, list.d_f, list.d_g, list.d_h);
    }
    if WEIGHT_SUMS == 1u {
        sums[thread] = near_sums;
        sums[64u + thread] = far_sums;
        workgroupBarrier();
        if thread < 2u {
            var total = vec4<f32>();
            for (var i = 0u; i < 64u; i++) {
                total += sums[thread * 64u + i];
            }
            partials[workgroup * 2u + thread] = total;
        }
    }
}
