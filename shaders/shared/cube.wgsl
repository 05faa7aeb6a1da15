#define_import_path gpavatar::cube

// The predicate of the cube that the radiance field fills: nothing outside of it has opacity.
fn in_cube(at: vec3<f32>) -> bool {
    return all(abs(at) < vec3<f32>(1.0));
}

// Whether a position may be in the cube for another kernel, whose arithmetic rounds otherwise: rays' first
// and last samples are on the cube's faces.
fn near_cube(at: vec3<f32>) -> bool {
    return all(abs(at) < vec3<f32>(1.001));
}
