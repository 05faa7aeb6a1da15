// The eight nearest points of every sample, exactly.
//
// One thread follows a segment of a ray. Its first search looks into the nearest cluster of the
// nearest group first; later ones know that their eighth distance is at most the largest to the
// neighbours just found. Groups and clusters whose box is farther than that are skipped. Consecutive
// threads own the same segment of neighbouring rays.

#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::samples::{march, direction_of, position_of}
#import gpavatar::search::{
    WEIGHT_SUMS, SKIP_EMPTY, search, clustered, bounds, partials,
    squared, from_box, limit, reciprocals, keep, keep_any,
}
#import gpavatar::search_layout::GROUP
#import gpavatar::sums::{THREADS, sum_of}
#import gpavatar::top_k::{NONE, Nearest, nobody, insert}

fn box_distance(box: u32, at: vec3<f32>) -> f32 {
    return from_box(bounds[box * 2u].xyz, bounds[box * 2u + 1u].xyz, at);
}

// The nearest of the boxes first..end.
fn nearest_box(first: u32, end: u32, at: vec3<f32>) -> u32 {
    var nearest = first;
    var best = box_distance(first, at);
    for (var box = first + 1u; box < end; box++) {
        let d = box_distance(box, at);
        nearest = select(nearest, box, d < best);
        best = min(best, d);
    }
    return nearest;
}

// End of a group's clusters.
fn group_end(group: u32) -> u32 {
    return min((group + 1u) * GROUP, search.clusters);
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

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let thread = own.local;
    let workgroup = group_index(own);
    let index = workgroup * THREADS + thread;
    let ray = index % march.count;
    let first = index / march.count * search.segment;
    let end = min(first + search.segment, search.samples);
    let direction = direction_of(ray);
    var list = nobody(1e37);
    var near_sums = vec4<f32>();
    var far_sums = vec4<f32>();
    for (var s = first; s < end; s++) {
        let sample = ray * search.samples + s;
        let at = position_of(sample, direction);
        if SKIP_EMPTY == 1u && !in_cube(at) {
            keep_any(sample);
            continue;
        }
        var scanned = search.clusters;
        if list.i_h == NONE {
            let boxes = search.clusters + search.groups;
            let group = nearest_box(search.clusters, boxes, at) - search.clusters;
            scanned = nearest_box(group * GROUP, group_end(group), at);
            list = scan(scanned, at, nobody(1e37));
        } else {
            list = nobody(limit(at, list));
        }
        for (var group = 0u; group < search.groups; group++) {
            if box_distance(search.clusters + group, at) > list.d_h {
                continue;
            }
            for (var cluster = group * GROUP; cluster < group_end(group); cluster++) {
                if cluster != scanned && box_distance(cluster, at) <= list.d_h {
                    list = scan(cluster, at, list);
                }
            }
        }
        keep(sample, list);
        near_sums += reciprocals(list.d_a, list.d_b, list.d_c, list.d_d);
        far_sums += reciprocals(list.d_e, list.d_f, list.d_g, list.d_h);
    }
    if WEIGHT_SUMS == 1u {
        let total = sum_of(near_sums, far_sums, thread);
        if thread < 2u {
            partials[workgroup * 2u + thread] = total;
        }
    }
}
