#define_import_path gpavatar::tile

// acc + w x, for four output channels and four input channels: column i of `w` holds the four
// outputs' weights of input i. Written as a chain of fused multiply-adds into the accumulator.
fn mac(acc: vec4<f32>, w: mat4x4<f32>, x: vec4<f32>) -> vec4<f32> {
    return fma(w[3], x.wwww, fma(w[2], x.zzzz, fma(w[1], x.yyyy, fma(w[0], x.xxxx, acc))));
}
