// The eight nearest points of every sample, exactly.
//
// One thread follows a segment of a ray. Its first sample looks into the nearest cluster first;
// later ones know that their eighth distance is at most the largest to the neighbours just found.
// Clusters whose box is farther than that are skipped. Consecutive threads own the same segment of
// neighbouring rays.

#import gpavatar::search::{
    march, frame, search, rays, depths, clustered, bounds, partials,
    squared, from_box, limit, reciprocals, keep,
}
#import gpavatar::top_k::{Nearest, nobody, insert}

// 1 also sums the reciprocal squared distances.
override WEIGHT_SUMS: u32 = 0u;

var<workgroup> sums: array<vec4<f32>, 128>;

fn box_distance(cluster: u32, at: vec3<f32>) -> f32 {
    return from_box(bounds[cluster * 2u].xyz, bounds[cluster * 2u + 1u].xyz, at);
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
        keep(ray * search.samples + s, list);
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
