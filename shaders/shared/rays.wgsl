#define_import_path gpavatar::rays

// How samples are counted: sample s of ray r has index r * samples + s.
struct Rays {
    // Rays along one side of the low-resolution image, and in all.
    side: u32,
    count: u32,
    // Samples per ray of the coarse and of the fine pass.
    coarse: u32,
    fine: u32,
    // Vec4s of a ray record: direction (w unused), then the direction's half of the colour layer.
    stride: u32,
    // Vec4s of a sample's values.
    channels: u32,
}
