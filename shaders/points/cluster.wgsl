// Gathers the points into clusters of neighbours and bounds each by a box.
//
// Membership is fixed per avatar: vertices that are close in the neutral face stay close. A workgroup
// owns a cluster, a thread each place of it. Unused places hold points at infinity.
// Error: none.

#import gpavatar::search_layout::CAPACITY

struct Cluster {
    // Places of a cluster.
    capacity: u32,
}

@group(0) @binding(0) var<uniform> size: Cluster;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>; // [point], w unused
// xyz, and the point's index as a number in w.
@group(0) @binding(2) var<storage, read_write> clustered: array<vec4<f32>>; // [cluster][place]
@group(0) @binding(3) var<storage, read_write> bounds: array<vec4<f32>>; // [cluster][low, high]
@group(1) @binding(0) var<storage, read> members: array<u32>; // [cluster][place], 0xffffffff = none

const FAR = 1e18;
const NONE = 65535.0;

var<workgroup> low: array<vec3<f32>, CAPACITY>;
var<workgroup> high: array<vec3<f32>, CAPACITY>;

@compute @workgroup_size(CAPACITY)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    low[thread] = vec3<f32>(FAR);
    high[thread] = vec3<f32>(-FAR);
    if thread < size.capacity {
        let place = group.x * size.capacity + thread;
        let member = members[place];
        var position = vec3<f32>(FAR);
        var index = NONE;
        if member != 0xffffffffu {
            position = points[member].xyz;
            index = f32(member);
            low[thread] = position;
            high[thread] = position;
        }
        clustered[place] = vec4<f32>(position, index);
    }
    workgroupBarrier();
    if thread != 0u {
        return;
    }
    var lowest = low[0];
    var highest = high[0];
    for (var i = 1u; i < CAPACITY; i++) {
        lowest = min(lowest, low[i]);
        highest = max(highest, high[i]);
    }
    bounds[group.x * 2u] = vec4<f32>(lowest, 0.0);
    bounds[group.x * 2u + 1u] = vec4<f32>(highest, 0.0);
}
