#define_import_path gpavatar::any

// Whether something holds for any thread of a workgroup: a condition that barriers may depend on, if
// it is asked for by `workgroupUniformLoad(&any_holds) != 0u`.

var<workgroup> holding: atomic<u32>;
var<workgroup> any_holds: u32;

fn find_any(thread: u32, holds: bool) {
    if thread == 0u {
        atomicStore(&holding, 0u);
    }
    workgroupBarrier();
    if holds {
        atomicStore(&holding, 1u);
    }
    workgroupBarrier();
    if thread == 0u {
        any_holds = atomicLoad(&holding);
    }
}
