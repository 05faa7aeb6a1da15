// Bounds each group of eight consecutive clusters, which are neighbours, by a box.
//
// One thread per group.
// Error: none.

#import gpavatar::search_layout::GROUP

struct Groups {
    clusters: u32,
}

@group(0) @binding(0) var<uniform> size: Groups;
// Boxes of the clusters, then of the groups.
@group(0) @binding(1) var<storage, read_write> bounds: array<vec4<f32>>; // [box][low, high]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = id.x * GROUP;
    if first >= size.clusters {
        return;
    }
    var low = bounds[first * 2u];
    var high = bounds[first * 2u + 1u];
    for (var cluster = first + 1u; cluster < min(first + GROUP, size.clusters); cluster++) {
        low = min(low, bounds[cluster * 2u]);
        high = max(high, bounds[cluster * 2u + 1u]);
    }
    bounds[(size.clusters + id.x) * 2u] = low;
    bounds[(size.clusters + id.x) * 2u + 1u] = high;
}
