// The eight nearest points of every sample, exactly.
//
// One thread follows a segment of a ray, and each search begins with the neighbours that the one before
// found. Consecutive threads own the same segment of neighbouring rays.
// Error: distances are good to 4 ulp; points whose distances tie to that may change places.

#import gpavatar::cluster_search::nearest_in_clusters
#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::samples::{march, direction_of, position_of}
#import gpavatar::search::{WEIGHT_SUMS, SKIP_EMPTY, search, partials, reciprocals, keep, keep_any}
#import gpavatar::sums::{THREADS, sum_of}
#import gpavatar::top_k::nobody

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
        list = nearest_in_clusters(at, list);
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
