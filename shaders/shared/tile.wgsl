#define_import_path gpavatar::tile

// acc + w x, for four output channels and four input channels: column i of `w` holds the four
// outputs' weights of input i. Written as a chain of fused multiply-adds into the accumulator.
fn mac(acc: vec4<f32>, w: mat4x4<f32>, x: vec4<f32>) -> vec4<f32> {
    return fma(w[3], x.wwww, fma(w[2], x.zzzz, fma(w[1], x.yyyy, fma(w[0], x.xxxx, acc))));
}

// The same for four pixels or samples, the columns of `acc` and `x`.
fn mac_four(acc: mat4x4<f32>, w: mat4x4<f32>, x: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        mac(acc[0], w, x[0]), mac(acc[1], w, x[1]), mac(acc[2], w, x[2]), mac(acc[3], w, x[3])
    );
}

// max(m, 0) of each element.
fn relu(m: mat4x4<f32>) -> mat4x4<f32> {
    let zero = vec4<f32>();
    return mat4x4<f32>(max(m[0], zero), max(m[1], zero), max(m[2], zero), max(m[3], zero));
}
