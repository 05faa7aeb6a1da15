#define_import_path gpavatar::globals

// The values that change from frame to frame, except for the head's coefficients.
struct Globals {
    // Rows of the world-to-camera rotation R (row vectors: x_cam = x R + T); w unused.
    rotation: array<vec4<f32>, 3>,
    // Camera centre -R T; w unused.
    origin: vec4<f32>,
    // Focal length in units of half the image width.
    focal: f32,
    // 1 keeps samples in front of the camera, 0 lets the near end be negative.
    clamp_near: u32,
    // First element of the noise maps in use, and their overall gain (0 or 1).
    noise_base: u32,
    noise_gain: f32,
    // Seed of generated noise, low and high word.
    seed: vec2<u32>,
    // How pictures are stored: see `display`.
    alpha: u32,
    // Number of the recording.
    serial: u32,
}
