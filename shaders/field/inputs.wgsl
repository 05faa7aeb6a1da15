#define_import_path gpavatar::radiance_inputs

// The inputs of the radiance kernels: parameters, bindings, and the features that enter the multi-layer
// perceptron, from the tri-planes and from the nearest points.

#import gpavatar::harmonic::{OCTAVES, first_octave, next_octave}
#import gpavatar::samples::{points, direction_of, position_of}
#import gpavatar::stored::{Stored, unpacked}
#import gpavatar::tile::relu
#import gpavatar::values::StoredValues

// Nearest points that count, at most 8.
override NEIGHBOURS: u32 = 8u;
// 1 weighs a point by its 1/d² over the sum of that rank over the whole pass (the released
// network); 0 by 1/d over the sum of the sample's points (the paper).
override GLOBAL_WEIGHTS: u32 = 1u;
// 1 skips the values of samples without opacity, wherever that saves a workgroup's work.
override SKIP_EMPTY: u32 = 1u;

// Where each layer's matrix and bias begin in `weights`, and the layers' widths, in vec4s.
// A matrix is [inputs][outputs][4 inputs], each vec4 four outputs.
struct Field {
    // Samples per ray in this pass, and of all rays.
    samples: u32,
    count: u32,
    // Width and height of a plane.
    plane_size: u32,
    plane_channels: u32,
    point_hidden: u32,
    point_output: u32,
    feature_hidden: u32,
    rgb_hidden: u32,
    // Per point: the first point layer applied to its feature, bias included [point][hidden].
    vertex_table: u32,
    // The first point layer's half for the embedded direction [27][hidden].
    offset_layer: u32,
    point_out: u32,
    feature_in: u32,
    feature_out: u32,
    density: u32,
    rgb_in: u32,
    rgb_out: u32,
    // Offset of the weight sums in `neighbours`.
    weight_sums: u32,
}

@group(0) @binding(2) var<uniform> field: Field;
// Eight 16-bit indices per sample; then the bits of the weight sums [2].
@group(0) @binding(6) var<storage, read> neighbours: array<vec4<u32>>; // [ray][samples]
@group(0) @binding(7) var<storage, read> weights: array<Stored>; // see Field
@group(0) @binding(8) var<storage, read_write> opacities: array<f32>; // [ray][samples]
@group(0) @binding(9) var<storage, read_write> values: array<StoredValues>; // [ray][samples][c], see SKIP_EMPTY
@group(1) @binding(0) var<storage, read> planes: array<Stored>; // [v][u][plane][c]

fn weight(at: u32) -> vec4<f32> {
    return unpacked(weights[at]);
}

fn four_weights(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(weight(at), weight(at + 1u), weight(at + 2u), weight(at + 3u));
}

fn position(sample: u32) -> vec3<f32> {
    return position_of(sample, direction_of(sample / field.samples));
}

// ---- tri-plane features --------------------------------------------------------------------

// The four texels around a position in a plane and their weights; texels outside weigh nothing.
struct Texels {
    index: vec4<u32>,
    weight: vec4<f32>,
}

fn texels(uv: vec2<f32>) -> Texels {
    let size = f32(field.plane_size);
    // Far outside, all four weights are zero anyway: the clamp keeps the conversion defined.
    let at = clamp(((uv + 1.0) * size - 1.0) / 2.0, vec2<f32>(-2.0), vec2<f32>(size + 1.0));
    let low = floor(at);
    let high_weight = at - low;
    let inside_low = step(vec2<f32>(0.0), low) * step(low, vec2<f32>(size - 1.0));
    let inside_high = step(vec2<f32>(0.0), low + 1.0) * step(low + 1.0, vec2<f32>(size - 1.0));
    let wl = (1.0 - high_weight) * inside_low;
    let wh = high_weight * inside_high;
    let width = field.plane_size;
    let last = vec2<u32>(width - 1u);
    let il = min(vec2<u32>(max(low, vec2<f32>(0.0))), last);
    let ih = min(vec2<u32>(max(low + 1.0, vec2<f32>(0.0))), last);
    return Texels(
        vec4<u32>(il.y * width + il.x, il.y * width + ih.x, ih.y * width + il.x, ih.y * width + ih.x),
        vec4<f32>(wl.y * wl.x, wl.y * wh.x, wh.y * wl.x, wh.y * wh.x),
    );
}

fn fetch(t: Texels, plane: u32, c: u32) -> vec4<f32> {
    let stride = 3u * field.plane_channels;
    let at = t.index * stride + plane * field.plane_channels + c;
    return t.weight.x * unpacked(planes[at.x]) + t.weight.y * unpacked(planes[at.y])
        + t.weight.z * unpacked(planes[at.z]) + t.weight.w * unpacked(planes[at.w]);
}

// Texels at (x, y), (x, z) and (z, y).
struct Planes {
    xy: Texels,
    xz: Texels,
    zy: Texels,
}

fn planes_around(at: vec3<f32>) -> Planes {
    return Planes(texels(at.xy), texels(at.xz), texels(at.zy));
}

// Channels 4c..4c+4 of the mean of the planes' features.
fn plane_features(p: Planes, c: u32) -> vec4<f32> {
    return (fetch(p.xy, 0u, c) + fetch(p.xz, 1u, c) + fetch(p.zy, 2u, c)) / 3.0;
}

// ---- point features ------------------------------------------------------------------------

// Four neighbours of a sample at once.
struct Neighbours {
    index: vec4<u32>,
    weight: vec4<f32>,
    // Offsets as unit vectors, by component.
    x: vec4<f32>,
    y: vec4<f32>,
    z: vec4<f32>,
}

fn neighbour(at: vec3<f32>, index: u32) -> vec4<f32> {
    let offset = at - points[index].xyz;
    return vec4<f32>(offset, dot(offset, offset));
}

// The first (batch 0) or second four neighbours. Unused ones weigh nothing; weights are 1/d² over
// the sum of that rank over the whole pass, or 1/d.
fn neighbours_of(at: vec3<f32>, sample: u32, batch: u32) -> Neighbours {
    let packed = neighbours[sample];
    let words = select(packed.xy, packed.zw, batch == 1u);
    let listed = vec4<u32>(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
    let counts = vec4<u32>(0u, 1u, 2u, 3u) + batch * 4u < vec4<u32>(NEIGHBOURS);
    // There may be fewer than eight points in all.
    let index = select(vec4<u32>(), listed, counts);
    let a = neighbour(at, index.x);
    let b = neighbour(at, index.y);
    let c = neighbour(at, index.z);
    let d = neighbour(at, index.w);
    let squared = vec4<f32>(a.w, b.w, c.w, d.w);
    let scale = 1.0 / max(sqrt(squared), vec4<f32>(1e-12));
    var weight = 1.0 / max(squared, vec4<f32>(1e-12));
    if GLOBAL_WEIGHTS == 1u {
        weight /= bitcast<vec4<f32>>(neighbours[field.weight_sums + batch]);
    } else {
        weight = sqrt(weight);
    }
    return Neighbours(
        index,
        select(vec4<f32>(), weight, counts),
        vec4<f32>(a.x, b.x, c.x, d.x) * scale,
        vec4<f32>(a.y, b.y, c.y, d.y) * scale,
        vec4<f32>(a.z, b.z, c.z, d.z) * scale,
    );
}

// Four neighbours times 16 channels of the first point layer.
struct Hidden {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

fn scaled(sum: mat4x4<f32>, w: mat4x4<f32>, x: f32) -> mat4x4<f32> {
    let s = vec4<f32>(x);
    return mat4x4<f32>(
        fma(w[0], s, sum[0]), fma(w[1], s, sum[1]), fma(w[2], s, sum[2]), fma(w[3], s, sum[3])
    );
}

// Adds one embedded number per neighbour times its row `w` of the layer.
fn embedded(hidden: Hidden, value: vec4<f32>, w: mat4x4<f32>) -> Hidden {
    return Hidden(
        scaled(hidden.a, w, value.x), scaled(hidden.b, w, value.y),
        scaled(hidden.c, w, value.z), scaled(hidden.d, w, value.w),
    );
}

// The layer applied to the points' own features, computed beforehand.
fn table_of(n: Neighbours, c: u32) -> Hidden {
    return Hidden(
        table(n.index.x, c), table(n.index.y, c), table(n.index.z, c), table(n.index.w, c)
    );
}

fn table(point: u32, c: u32) -> mat4x4<f32> {
    return four_weights(field.vertex_table + point * field.point_hidden + c);
}

// The neighbours' weighted sum after the activation.
fn weighted(n: Neighbours, hidden: Hidden) -> mat4x4<f32> {
    return n.weight.x * relu(hidden.a) + n.weight.y * relu(hidden.b)
        + n.weight.z * relu(hidden.c) + n.weight.w * relu(hidden.d);
}

fn embed(hidden: Hidden, value: vec4<f32>, at: u32) -> Hidden {
    return embedded(hidden, value, four_weights(at));
}

// Channels 4c..4c+16 of Σ_k weight_k relu(table[k] + layer · γ(direction_k)) over four neighbours,
// by a thread that loads every weight itself.
fn point_hidden(n: Neighbours, c: u32) -> mat4x4<f32> {
    var hidden = table_of(n, c);
    let stride = field.point_hidden;
    let first = field.offset_layer + c;
    var a = first_octave(vec3<f32>(n.x.x, n.y.x, n.z.x));
    var b = first_octave(vec3<f32>(n.x.y, n.y.y, n.z.y));
    var g = first_octave(vec3<f32>(n.x.z, n.y.z, n.z.z));
    var d = first_octave(vec3<f32>(n.x.w, n.y.w, n.z.w));
    for (var octave = 0u; octave < OCTAVES; octave++) {
        let sine = first + octave * stride;
        let cosine = sine + 3u * OCTAVES * stride;
        let next = OCTAVES * stride;
        hidden = embed(hidden, vec4<f32>(a.sine.x, b.sine.x, g.sine.x, d.sine.x), sine);
        hidden = embed(hidden, vec4<f32>(a.sine.y, b.sine.y, g.sine.y, d.sine.y), sine + next);
        hidden = embed(hidden, vec4<f32>(a.sine.z, b.sine.z, g.sine.z, d.sine.z), sine + 2u * next);
        hidden = embed(hidden, vec4<f32>(a.cosine.x, b.cosine.x, g.cosine.x, d.cosine.x), cosine);
        hidden = embed(hidden, vec4<f32>(a.cosine.y, b.cosine.y, g.cosine.y, d.cosine.y), cosine + next);
        hidden = embed(hidden, vec4<f32>(a.cosine.z, b.cosine.z, g.cosine.z, d.cosine.z), cosine + 2u * next);
        a = next_octave(a);
        b = next_octave(b);
        g = next_octave(g);
        d = next_octave(d);
    }
    let plain = first + 6u * OCTAVES * stride;
    hidden = embed(hidden, n.x, plain);
    hidden = embed(hidden, n.y, plain + stride);
    hidden = embed(hidden, n.z, plain + 2u * stride);
    return weighted(n, hidden);
}

// All neighbours of a sample, and the sum of their weights.
struct Points {
    near: Neighbours,
    far: Neighbours,
    weight: f32,
}

fn points_around(at: vec3<f32>, sample: u32) -> Points {
    let near = neighbours_of(at, sample, 0u);
    let far = neighbours_of(at, sample, 1u);
    return Points(near, far, dot(near.weight + far.weight, vec4<f32>(1.0)));
}

// Channels 4c..4c+16 of all neighbours' weighted hidden features.
fn point_features(p: Points, c: u32) -> mat4x4<f32> {
    let hidden = point_hidden(p.near, c);
    if NEIGHBOURS > 4u {
        return hidden + point_hidden(p.far, c);
    }
    return hidden;
}
