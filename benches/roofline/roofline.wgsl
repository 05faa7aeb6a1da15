// Peaks of an adapter: multiply-adds in registers, and copies.

const ROUNDS = 64u;

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

// Twelve independent sums a thread; 24 multiply-adds of four numbers a round.
@compute @workgroup_size(64)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = input[id.x];
    var a = x;
    var b = x + 1.0;
    var c = x + 2.0;
    for (var i = 0u; i < ROUNDS; i++) {
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
        a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x);
    }
    output[id.x] = a + b + c;
}

@compute @workgroup_size(64)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + thread;
    output[i] = input[i];
}
