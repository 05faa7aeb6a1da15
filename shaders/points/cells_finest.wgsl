// The lists of the finest level of cells, with the guides of their parents.
//
// One workgroup per cell.
// Error: none; distances are compared with a margin of 1e-5.

#import gpavatar::cell_lists::{
    GUIDES, HEAD, cells, guides,
    cell_at, candidates_of, guide_at, write_header, write_list,
}
#import gpavatar::grid::GROUP_SIZE
#import gpavatar::search_layout::NO_LIST

@compute @workgroup_size(GROUP_SIZE)
fn main(@builtin(workgroup_id) place: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let cell = cell_at(place);
    let list = candidates_of(cell, thread);
    if list.length == NO_LIST {
        if thread == 0u {
            write_header(cell, list);
        }
        return;
    }
    if thread < GUIDES {
        let guide = cells[4u * cell.parent_record + 4u + thread];
        guides[thread] = guide_at(guide, cell.centre);
    }
    workgroupBarrier();
    write_list(cell, list, HEAD, thread, GROUP_SIZE);
}
