// The lists of a level of cells that has children, and the guides for these.
//
// One workgroup per cell.
// Error: none; distances are compared with a margin of 1e-5.

#import gpavatar::cell_lists::{
    GUIDES, GUIDED_HEAD, NO_GUIDE, FAR, points, cells, guides,
    cell_at, candidates_of, candidate, guide_at, write_header, write_list, empty_next_pool,
}
#import gpavatar::search_layout::NO_LIST

const THREADS = 256u;
// The guides are the nearest of the nearest of so many parts of the candidates.
const PARTS = 64u;

var<workgroup> distances: array<f32, THREADS>;
var<workgroup> indices: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) place: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    empty_next_pool(place, thread);
    let cell = cell_at(place);
    let list = candidates_of(cell, thread);
    if list.length == NO_LIST {
        if thread == 0u {
            write_header(cell, list);
        }
        return;
    }
    var distance = FAR;
    var nearest = NO_GUIDE;
    for (var i = thread; i < list.length; i += THREADS) {
        let point = candidate(list, i);
        let offset = points[point].xyz - cell.centre;
        let d = dot(offset, offset);
        nearest = select(nearest, point, d < distance);
        distance = min(distance, d);
    }
    distances[thread] = distance;
    indices[thread] = nearest;
    workgroupBarrier();
    if thread < PARTS {
        for (var i = thread + PARTS; i < THREADS; i += PARTS) {
            let d = distances[i];
            nearest = select(nearest, indices[i], d < distance);
            distance = min(distance, d);
        }
        distances[thread] = distance;
    }
    workgroupBarrier();
    if thread < PARTS {
        var rank = 0u;
        for (var i = 0u; i < PARTS; i++) {
            let d = distances[i];
            rank += select(0u, 1u, d < distance || (d == distance && i < thread));
        }
        if rank < GUIDES {
            guides[rank] = guide_at(nearest, cell.centre);
            cells[4u * cell.record + 4u + rank] = nearest;
        }
    }
    workgroupBarrier();
    write_list(cell, list, GUIDED_HEAD, thread, THREADS);
}
