#define_import_path gpavatar::grid

// Dispatches of one dimension. Workgroups beyond a dimension's limit are folded into rows.

// Threads of a workgroup in kernels that use thread_index.
const GROUP_SIZE = 64u;

struct Thread {
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
}

// Index of the thread's workgroup in the dispatch.
fn group_index(thread: Thread) -> u32 {
    return thread.group.y * thread.groups.x + thread.group.x;
}

// Index of the thread in the dispatch.
fn thread_index(thread: Thread) -> u32 {
    return group_index(thread) * GROUP_SIZE + thread.local;
}
