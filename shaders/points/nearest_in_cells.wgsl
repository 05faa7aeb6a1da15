// The eight nearest points of every sample, exactly, from the lists of a grid's cells.
//
// The threads of a workgroup own 4 x 4 rays and four samples of each at a time, so that they meet in
// few cells. Samples outside of the grid, and those in a cell without a list, search the clusters.
// Error: that of `nearest`.

#import gpavatar::cluster_search::nearest_in_clusters
#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::samples::{march, points, direction_of, position_of}
#import gpavatar::search::{
    WEIGHT_SUMS, SKIP_EMPTY, search, partials, squared, reciprocals, keep, keep_any,
}
#import gpavatar::search_layout::NO_LIST
#import gpavatar::sums::{THREADS, sum_of}
#import gpavatar::top_k::{Nearest, nobody, insert_later}

// Rays along a side of a tile, and samples at a time.
const TILE = 4u;
const DEPTH = THREADS / (TILE * TILE);

// The finest level of `cell_lists`.
struct Finest {
    side: u32,
    first: u32,
    stride: u32,
}

@group(0) @binding(10) var<uniform> finest: Finest;
// Records, see `cell_lists`.
@group(0) @binding(11) var<storage, read> cells: array<vec4<u32>>; // [row]

// Row and length of the list for a position.
fn list_of(at: vec3<f32>) -> vec2<u32> {
    if !all(abs(at) <= vec3<f32>(1.0)) {
        return vec2<u32>(0u, NO_LIST);
    }
    let side = finest.side;
    let place = min(vec3<u32>((at + 1.0) * (0.5 * f32(side))), vec3<u32>(side - 1u));
    let cell = (place.z * side + place.y) * side + place.x;
    return cells[finest.first + cell * finest.stride].xy;
}

fn nearest_in_list(at: vec3<f32>, row: u32, length: u32) -> Nearest {
    var list = nobody(1e37);
    for (var i = 0u; i < length; i += 4u) {
        let four = cells[row + i / 4u];
        let found = vec4<f32>(
            squared(at - points[four.x].xyz),
            squared(at - points[four.y].xyz),
            squared(at - points[four.z].xyz),
            squared(at - points[four.w].xyz),
        );
        let used = vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(length);
        let d = select(vec4<f32>(1e38), found, used);
        if min(min(d.x, d.y), min(d.z, d.w)) < list.d_h {
            list = insert_later(list, d.x, four.x);
            list = insert_later(list, d.y, four.y);
            list = insert_later(list, d.z, four.z);
            list = insert_later(list, d.w, four.w);
        }
    }
    return list;
}

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let thread = own.local;
    let workgroup = group_index(own);
    let tiles = (march.side + TILE - 1u) / TILE;
    let tile = workgroup % (tiles * tiles);
    let x = tile % tiles * TILE + thread / DEPTH % TILE;
    let y = tile / tiles * TILE + thread / DEPTH / TILE;
    let first = workgroup / (tiles * tiles) * search.segment + thread % DEPTH;
    var end = min(first + search.segment, search.samples);
    if x >= march.side || y >= march.side {
        end = 0u;
    }
    let ray = min(y * march.side + x, march.count - 1u);
    let direction = direction_of(ray);
    var near_sums = vec4<f32>();
    var far_sums = vec4<f32>();
    for (var s = first; s < end; s += DEPTH) {
        let sample = ray * search.samples + s;
        let at = position_of(sample, direction);
        if SKIP_EMPTY == 1u && !in_cube(at) {
            keep_any(sample);
            continue;
        }
        let place = list_of(at);
        var list: Nearest;
        if place.y == NO_LIST {
            list = nearest_in_clusters(at, nobody(1e37));
        } else {
            list = nearest_in_list(at, place.x, place.y);
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
