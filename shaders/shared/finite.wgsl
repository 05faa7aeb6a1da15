#define_import_path gpavatar::finite

// Predicate: all are numbers. By their bits: compilers may assume that comparisons see no NaN.
fn all_finite(x: vec4<f32>) -> bool {
    let infinite = vec4<u32>(0x7f800000u);
    return all((bitcast<vec4<u32>>(x) & infinite) != infinite);
}
