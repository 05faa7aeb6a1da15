#define_import_path gpavatar::grid

// Index of a thread among all of a dispatch in workgroups of 64. What is more than fits one
// dimension of a dispatch is folded into rows.
fn thread_index(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return (group.y * groups.x + group.x) * 64u + local;
}
