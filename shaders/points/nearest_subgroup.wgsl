// The eight nearest points of every sample, exactly, by threads that share loads.
//
// Computes the same as `nearest`, for adapters where a load costs far more than a broadcast, and a branch
// as much as both its sides (CPU implementations). A workgroup is eight threads that follow segments of
// neighbouring rays together: a cluster that is near enough for one of them is scanned by all. Needs
// subgroups of at least eight threads.
// Error: that of `nearest`.

#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::samples::{march, direction_of, position_of}
#import gpavatar::search::{
    WEIGHT_SUMS, SKIP_EMPTY, search, clustered, bounds, partials,
    squared, from_box, limit, reciprocals, keep, keep_any,
}
#import gpavatar::search_layout::GROUP
#import gpavatar::top_k::{NONE, Nearest, nobody, insert}

const THREADS = 8u;

// The list with a point in it, if it is near enough.
fn offer(list: Nearest, at: vec3<f32>, point: vec4<f32>) -> Nearest {
    let d = squared(at - point.xyz);
    if d <= list.d_h {
        return insert(list, d, u32(point.w));
    }
    return list;
}

// Scans all points of a cluster, eight per load.
fn scan(cluster: u32, at: vec3<f32>, found: Nearest, thread: u32) -> Nearest {
    var list = found;
    let first = cluster * search.capacity;
    for (var i = 0u; i < search.capacity; i += THREADS) {
        var loaded = clustered[first + min(i + thread, search.capacity - 1u)];
        // Each point once: places beyond the end are farther than any limit.
        loaded.x = select(loaded.x, 1e19, i + thread >= search.capacity);
        list = offer(list, at, subgroupBroadcast(loaded, 0u));
        list = offer(list, at, subgroupBroadcast(loaded, 1u));
        list = offer(list, at, subgroupBroadcast(loaded, 2u));
        list = offer(list, at, subgroupBroadcast(loaded, 3u));
        list = offer(list, at, subgroupBroadcast(loaded, 4u));
        list = offer(list, at, subgroupBroadcast(loaded, 5u));
        list = offer(list, at, subgroupBroadcast(loaded, 6u));
        list = offer(list, at, subgroupBroadcast(loaded, 7u));
    }
    return list;
}

// Squared distances of a position from four consecutive boxes.
fn box_distances(box: u32, at: vec3<f32>, thread: u32) -> vec4<f32> {
    let boxes = search.clusters + search.groups;
    let loaded = bounds[min(box * 2u + thread, boxes * 2u - 1u)].xyz;
    return vec4<f32>(
        from_box(subgroupBroadcast(loaded, 0u), subgroupBroadcast(loaded, 1u), at),
        from_box(subgroupBroadcast(loaded, 2u), subgroupBroadcast(loaded, 3u), at),
        from_box(subgroupBroadcast(loaded, 4u), subgroupBroadcast(loaded, 5u), at),
        from_box(subgroupBroadcast(loaded, 6u), subgroupBroadcast(loaded, 7u), at),
    );
}

// Squared distance of a position from a box.
fn box_distance(box: u32, at: vec3<f32>, thread: u32) -> f32 {
    let loaded = bounds[box * 2u + min(thread, 1u)].xyz;
    return from_box(subgroupBroadcast(loaded, 0u), subgroupBroadcast(loaded, 1u), at);
}

// The nearest of the boxes first..end to the first thread's position.
fn nearest_box(first: u32, end: u32, at: vec3<f32>, thread: u32) -> u32 {
    var best = 1e37;
    var nearest = first;
    for (var box = first; box < end; box += 4u) {
        let d = box_distances(box, at, thread);
        for (var i = 0u; i < min(4u, end - box); i++) {
            nearest = select(nearest, box + i, d[i] < best);
            best = min(best, d[i]);
        }
    }
    return subgroupBroadcast(nearest, 0u);
}

// A bit for each of the boxes first..end, at most 32: set if it is near enough for some thread.
fn wanted_boxes(first: u32, end: u32, at: vec3<f32>, limit: f32, thread: u32) -> u32 {
    var wanted = 0u;
    for (var box = first; box < end; box += 4u) {
        let near = box_distances(box, at, thread) <= vec4<f32>(limit);
        let bits = select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), near);
        wanted |= (bits.x | bits.y | bits.z | bits.w) << (box - first);
    }
    wanted = subgroupOr(wanted);
    if end - first < 32u {
        wanted &= (1u << (end - first)) - 1u;
    }
    return wanted;
}

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let thread = own.local;
    let workgroup = group_index(own);
    let index = workgroup * THREADS + thread;
    let ray = index % march.count;
    let first = index / march.count * search.segment;
    let direction = direction_of(ray);
    var known = nobody(1e37);
    var near_sums = vec4<f32>();
    var far_sums = vec4<f32>();
    var seed = NONE;
    // All threads walk as far: one that is past its end repeats the last sample and keeps nothing.
    for (var i = 0u; i < search.segment; i++) {
        let s = min(first + i, search.samples - 1u);
        let sample = ray * search.samples + s;
        let at = position_of(sample, direction);
        let searches = SKIP_EMPTY == 0u || in_cube(at);
        if !subgroupAny(searches) {
            if first + i < search.samples {
                keep_any(sample);
            }
            continue;
        }
        if seed == NONE {
            let boxes = search.clusters + search.groups;
            let group = nearest_box(search.clusters, boxes, at, thread) - search.clusters;
            let end = min((group + 1u) * GROUP, search.clusters);
            seed = nearest_box(group * GROUP, end, at, thread);
        }
        // The cluster of the last search gives a close limit before boxes are compared with it.
        // Nothing is near enough for a thread that does not search.
        let most = select(-1.0, limit(at, known), searches);
        var list = scan(seed, at, nobody(most), thread);
        let scanned = seed;
        // Thirty-two groups at a time: first those that some thread has to scan, then their
        // clusters.
        for (var base = 0u; base < search.groups; base += 32u) {
            let boxes = search.clusters + base;
            let last = search.clusters + min(base + 32u, search.groups);
            var groups = wanted_boxes(boxes, last, at, list.d_h, thread);
            while groups != 0u {
                let first_cluster = (base + firstTrailingBit(groups)) * GROUP;
                groups &= groups - 1u;
                let end = min(first_cluster + GROUP, search.clusters);
                var wanted = wanted_boxes(first_cluster, end, at, list.d_h, thread);
                if scanned - first_cluster < GROUP {
                    wanted &= ~(1u << (scanned - first_cluster));
                }
                while wanted != 0u {
                    let cluster = first_cluster + firstTrailingBit(wanted);
                    wanted &= wanted - 1u;
                    // Points found since may have lowered the limit.
                    if subgroupAny(box_distance(cluster, at, thread) <= list.d_h) {
                        list = scan(cluster, at, list, thread);
                        seed = cluster;
                    }
                }
            }
        }
        if searches {
            known = list;
        }
        if first + i < search.samples && !searches {
            keep_any(sample);
        } else if first + i < search.samples {
            keep(sample, list);
            near_sums += reciprocals(list.d_a, list.d_b, list.d_c, list.d_d);
            far_sums += reciprocals(list.d_e, list.d_f, list.d_g, list.d_h);
        }
    }
    if WEIGHT_SUMS == 1u {
        let near = subgroupAdd(near_sums);
        let far = subgroupAdd(far_sums);
        if thread < 2u {
            partials[workgroup * 2u + thread] = select(near, far, thread == 1u);
        }
    }
}
