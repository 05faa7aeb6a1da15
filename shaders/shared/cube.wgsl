#define_import_path gpavatar::cube

// The predicate of the cube that the radiance field fills: nothing outside of it has opacity.
fn in_cube(at: vec3<f32>) -> bool {
    return all(abs(at) < vec3<f32>(1.0));
}
