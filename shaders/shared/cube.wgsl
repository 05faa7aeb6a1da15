#define_import_path gpavatar::cube

// Whether a position is in the cube that the radiance field fills: outside of it nothing has opacity.
fn in_cube(at: vec3<f32>) -> bool {
    return all(abs(at) < vec3<f32>(1.0));
}
