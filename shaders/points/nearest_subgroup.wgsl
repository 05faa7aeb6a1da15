// The eight nearest points of every sample, exactly, by threads that share what they load.
//
// What `nearest` computes, for adapters where a load costs far more than a broadcast, and a branch as
// much as both its sides (CPU implementations). A workgroup is eight threads that follow segments of
// neighbouring rays together: a cluster that is near enough for one of them is scanned by all. Needs
// subgroups of at least eight threads.

#import gpavatar::search::{
    march, frame, search, rays, depths, clustered, bounds, partials,
    squared, from_box, limit, reciprocals, keep,
}
#import gpavatar::top_k::{Nearest, nobody, insert}

// 1 also sums the reciprocal squared distances.
override WEIGHT_SUMS: u32 = 0u;

const THREADS = 8u;

// The list with a point in it, if it is near enough.
fn offer(list: Nearest, at: vec3<f32>, point: vec4<f32>) -> Nearest {
    let d = squared(at - point.xyz);
    if d <= list.d_h {
        return insert(list, d, u32(point.w));
    }
    return list;
}

// Looks at all points of a cluster, eight per load.
fn scan(cluster: u32, at: vec3<f32>, found: Nearest, thread: u32) -> Nearest {
    var list = found;
    let first = cluster * search.capacity;
    for (var i = 0u; i < search.capacity; i += THREADS) {
        var loaded = clustered[first + min(i + thread, search.capacity - 1u)];
        // Nobody twice: what is beyond the end is farther than any limit.
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

// Squared distances of a position from the boxes of four clusters.
fn box_distances(cluster: u32, at: vec3<f32>, thread: u32) -> vec4<f32> {
    let loaded = bounds[min(cluster * 2u + thread, search.clusters * 2u - 1u)].xyz;
    return vec4<f32>(
        from_box(subgroupBroadcast(loaded, 0u), subgroupBroadcast(loaded, 1u), at),
        from_box(subgroupBroadcast(loaded, 2u), subgroupBroadcast(loaded, 3u), at),
        from_box(subgroupBroadcast(loaded, 4u), subgroupBroadcast(loaded, 5u), at),
        from_box(subgroupBroadcast(loaded, 6u), subgroupBroadcast(loaded, 7u), at),
    );
}

// The cluster whose box is nearest to the first thread's position.
fn nearest_cluster(at: vec3<f32>, thread: u32) -> u32 {
    var best = 1e37;
    var nearest = 0u;
    for (var c = 0u; c < search.clusters; c += 4u) {
        let d = box_distances(c, at, thread);
        for (var i = 0u; i < min(4u, search.clusters - c); i++) {
            nearest = select(nearest, c + i, d[i] < best);
            best = min(best, d[i]);
        }
    }
    return subgroupBroadcast(nearest, 0u);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = group.y * groups.x + group.x;
    let index = workgroup * THREADS + thread;
    let ray = index % march.count;
    let first = index / march.count * search.segment;
    let direction = rays[ray * march.stride].xyz;
    var list = nobody(1e37);
    var near_sums = vec4<f32>();
    var far_sums = vec4<f32>();
    var seed = 0u;
    // All threads walk as far: one that is past its end repeats the last sample and keeps nothing.
    for (var i = 0u; i < search.segment; i++) {
        let s = min(first + i, search.samples - 1u);
        let at = frame.origin.xyz + depths[ray * search.samples + s] * direction;
        if i == 0u {
            seed = nearest_cluster(at, thread);
        }
        // A close limit from the cluster of last time, before the boxes are compared with it.
        list = scan(seed, at, nobody(limit(at, list)), thread);
        let known = seed;
        // Thirty-two clusters at a time: which of them some thread has to look at, then these.
        for (var base = 0u; base < search.clusters; base += 32u) {
            var wanted = 0u;
            let end = min(base + 32u, search.clusters);
            for (var c = base; c < end; c += 4u) {
                let near = box_distances(c, at, thread) <= vec4<f32>(list.d_h);
                let bits = select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), near);
                wanted |= (bits.x | bits.y | bits.z | bits.w) << (c - base);
            }
            wanted = subgroupOr(wanted);
            if end - base < 32u {
                wanted &= (1u << (end - base)) - 1u;
            }
            if known - base < 32u {
                wanted &= ~(1u << (known - base));
            }
            while wanted != 0u {
                let cluster = base + firstTrailingBit(wanted);
                list = scan(cluster, at, list, thread);
                wanted &= wanted - 1u;
                seed = cluster;
            }
        }
        if first + i < search.samples {
            keep(ray * search.samples + s, list);
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
