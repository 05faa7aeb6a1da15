#define_import_path gpavatar::harmonic

// Harmonic embedding of a unit vector: sines, then cosines, of 1, 2, 4 and 8 times each component,
// then the vector. WGSL promises its sin and cos to 2^-11 only; a polynomial on [-1, 1] followed
// by doubling the angle keeps single precision on every adapter.

const OCTAVES = 4u;

struct Octave {
    sine: vec3<f32>,
    cosine: vec3<f32>,
}

// Sine and cosine of v, |v| <= 1: Taylor series to 3e-8.
fn first_octave(v: vec3<f32>) -> Octave {
    let q = v * v;
    let sine = v * (1.0 + q * (-1.0 / 6.0 + q * (1.0 / 120.0 + q * (-1.0 / 5040.0 + q * (1.0 / 362880.0)))));
    let cosine = 1.0 + q * (-0.5 + q * (1.0 / 24.0 + q * (-1.0 / 720.0
        + q * (1.0 / 40320.0 + q * (-1.0 / 3628800.0)))));
    return Octave(sine, cosine);
}

// Sine and cosine of twice the angle. 1 - 2 sine² would quadruple the error of sine² + cosine² = 1
// each time, this form doubles it.
fn next_octave(octave: Octave) -> Octave {
    return Octave(
        2.0 * octave.sine * octave.cosine,
        octave.cosine * octave.cosine - octave.sine * octave.sine,
    );
}
