#define_import_path gpavatar::cell_lists

// Lists, for the cells of a grid over the cube, of the points that can be among the eight nearest of
// a position in the cell.
//
// Every level halves the cells of the level above, its parents, and selects from their lists. For
// positions x within `half` of the centre c along each axis, |x - q|² - |x - p|² is linear in x and at
// most |c - q|² - |c - p|² + 2 half |q - p|₁. If that is negative for eight points q, p is not listed. The q
// that are tried, the guides, are near the centre.

#import gpavatar::search_layout::NO_LIST

const GUIDES = 24u;
// Guides that leave a point out.
const ENOUGH = 8u;
// Instead of a list's row: there is no room for it.
const NO_ROW = 0xffffffffu;
// Instead of a guide's index.
const NO_GUIDE = 0xffffffffu;
// Rows of a record before its list, without and with the guides.
const HEAD = 1u;
const GUIDED_HEAD = 1u + GUIDES / 4u;

struct Level {
    // Cells along an axis.
    side: u32,
    // Row of the first record, and rows of a record. A row is four words.
    first: u32,
    stride: u32,
    // Places of a list in its record, a multiple of four.
    capacity: u32,
    // First row of the pool for longer lists, and its rows.
    pool_first: u32,
    pool_rows: u32,
    // Levels above.
    depth: u32,
    // The records of the level above. No rows: all points are candidates.
    parent_first: u32,
    parent_stride: u32,
    points: u32,
}

@group(0) @binding(0) var<uniform> level: Level;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>; // [point], w unused
// Of every level [cell] a record: the row and the length of its list, two unused words; its guides if
// the level has children; places for a list. Then the level's pool for longer lists. A list holds
// indices in ascending order, then zeros up to a full row. A cell that finds no room uses its parent's.
@group(0) @binding(2) var<storage, read_write> cells: array<u32>;
// Rows of the pool that are taken.
@group(0) @binding(3) var<storage, read_write> taken: array<atomic<u32>>; // [depth]

struct Cell {
    // Row of its record.
    record: u32,
    parent_record: u32,
    centre: vec3<f32>,
    half: f32,
}

// Row and length of a list.
struct List {
    row: u32,
    length: u32,
}

// Squared distance from a cell's centre that is larger than any.
const FAR = 1e38;

// Relative to the centre; the squared distance from it.
var<workgroup> guides: array<vec4<f32>, GUIDES>;
var<workgroup> candidates: vec2<u32>;
// Of the candidates in turn, a bit each, set for those that are kept, and how many these are up to
// the end of each word.
var<workgroup> kept: array<atomic<u32>, 256>;
var<workgroup> kept_up_to: array<u32, 256>;
var<workgroup> pooled: u32;

fn cell_at(place: vec3<u32>) -> Cell {
    let side = level.side;
    let index = (place.z * side + place.y) * side + place.x;
    let parents = side / 2u;
    let parent = (place.z / 2u * parents + place.y / 2u) * parents + place.x / 2u;
    // Slightly larger than a cell, as rounding may move positions into a neighbour.
    let half = 1.0001 / f32(side);
    let centre = (2.0 * vec3<f32>(place) + 1.0) / f32(side) - 1.0;
    return Cell(
        level.first + index * level.stride,
        level.parent_first + parent * level.parent_stride,
        centre,
        half,
    );
}

// The list of the parent, the same for all threads.
fn candidates_of(cell: Cell, thread: u32) -> List {
    if thread == 0u {
        candidates = vec2<u32>(0u, level.points);
        if level.parent_stride != 0u {
            let header = 4u * cell.parent_record;
            candidates = vec2<u32>(cells[header], cells[header + 1u]);
        }
    }
    let list = workgroupUniformLoad(&candidates);
    return List(list.x, list.y);
}

fn candidate(list: List, place: u32) -> u32 {
    if level.parent_stride == 0u {
        return place;
    }
    return cells[4u * list.row + place];
}

// The record of a guide from its index.
fn guide_at(index: u32, centre: vec3<f32>) -> vec4<f32> {
    if index == NO_GUIDE {
        return vec4<f32>(0.0, 0.0, 0.0, FAR);
    }
    let offset = points[index].xyz - centre;
    return vec4<f32>(offset, dot(offset, offset));
}

// A squared distance from the centre beyond which eight guides are closer everywhere in the cell, even
// in the sphere around it.
fn reach_of(half: f32) -> f32 {
    var farthest = 0.0;
    for (var i = 0u; i < ENOUGH; i++) {
        farthest = max(farthest, guides[i].w);
    }
    let reach = sqrt(farthest) + 2.0 * 1.7320508 * half;
    return 1.0001 * reach * reach;
}

// Whether eight guides are closer than a point, at this offset from the centre, everywhere in the cell.
fn is_left_out(offset: vec3<f32>, half: f32, reach: f32) -> bool {
    let d = dot(offset, offset);
    if d > reach {
        return true;
    }
    // Computed distances round; this is many times as much.
    let limit = d - 1e-5 * (d + 3.0 * half * half);
    var closer = 0u;
    for (var first = 0u; first < GUIDES; first += ENOUGH) {
        for (var i = 0u; i < ENOUGH; i++) {
            let guide = guides[first + i];
            let apart = abs(guide.xyz - offset);
            let most = guide.w + 2.0 * half * (apart.x + apart.y + apart.z);
            closer += select(0u, 1u, most < limit);
        }
        if closer >= ENOUGH {
            return true;
        }
    }
    return false;
}

fn write_header(cell: Cell, list: List) {
    cells[4u * cell.record] = list.row;
    cells[4u * cell.record + 1u] = list.length;
}

// Row for a list of so many points: in the record, or else in the pool; NO_ROW if both are too small.
fn room_for(row: u32, length: u32, thread: u32) -> u32 {
    if thread == 0u {
        pooled = row;
        if length > level.capacity {
            let rows = (length + 3u) / 4u;
            pooled = NO_ROW;
            if level.pool_rows != 0u {
                let first = atomicAdd(&taken[level.depth], rows);
                if first + rows <= level.pool_rows {
                    pooled = level.pool_first + first;
                }
            }
        }
    }
    return workgroupUniformLoad(&pooled);
}

// Writes the list of a cell, whose record has so many rows before it, and the header. The guides are
// known; `threads` is the size of the workgroup.
fn write_list(cell: Cell, list: List, head: u32, thread: u32, threads: u32) {
    let all = level.parent_stride == 0u;
    // All points fit, or else there is no list.
    let fits = list.length <= select(32u * threads, level.capacity, all);
    if !fits {
        if thread == 0u {
            write_header(cell, List(list.row, select(list.length, NO_LIST, all)));
        }
        return;
    }
    let reach = reach_of(cell.half);
    var row = cell.record + head;
    var total = 0u;
    for (var base = 0u; base < list.length; base += 32u * threads) {
        let end = min(list.length - base, 32u * threads);
        atomicStore(&kept[thread], 0u);
        workgroupBarrier();
        for (var i = thread; i < end; i += threads) {
            let offset = points[candidate(list, base + i)].xyz - cell.centre;
            if !is_left_out(offset, cell.half, reach) {
                atomicOr(&kept[i / 32u], 1u << (i % 32u));
            }
        }
        workgroupBarrier();
        kept_up_to[thread] = countOneBits(atomicLoad(&kept[thread]));
        workgroupBarrier();
        for (var step = 1u; step < (end + 31u) / 32u; step *= 2u) {
            var sum = kept_up_to[thread];
            if thread >= step {
                sum += kept_up_to[thread - step];
            }
            workgroupBarrier();
            kept_up_to[thread] = sum;
            workgroupBarrier();
        }
        let count = kept_up_to[(end - 1u) / 32u];
        row = room_for(row, total + count, thread);
        if row == NO_ROW {
            break;
        }
        for (var i = thread; i < end; i += threads) {
            let word = atomicLoad(&kept[i / 32u]);
            let bit = 1u << (i % 32u);
            if (word & bit) != 0u {
                let place = total + kept_up_to[i / 32u] - countOneBits(word & ~(bit - 1u));
                cells[4u * row + place] = candidate(list, base + i);
            }
        }
        total += count;
        workgroupBarrier();
    }
    if row == NO_ROW {
        if thread == 0u {
            write_header(cell, list);
        }
        return;
    }
    if thread < (4u - total % 4u) % 4u {
        cells[4u * row + total + thread] = 0u;
    }
    if thread == 0u {
        write_header(cell, List(row, total));
    }
}

// Empties the pool of the next level, which runs after this one.
fn empty_next_pool(place: vec3<u32>, thread: u32) {
    if all(place == vec3<u32>()) && thread == 0u {
        atomicStore(&taken[level.depth + 1u], 0u);
    }
}
