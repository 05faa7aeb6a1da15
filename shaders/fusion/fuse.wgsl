// Multi tri-planes attention, one source at a time: P = Σ_i w_i P_i with w = softmax_i(scale q·k_i),
// or w_i = q·k_i / Σ_j q·k_j.
//
// The sums run in `planes` and `state`, so that any number of sources needs the memory of one:
// softmax keeps its running maximum and rescales when that grows; the ratio also keeps the plain
// sum of the planes, for texels whose weights cancel. One thread per texel and plane.
// Error: keys as in `query`; exp is then off by as many parts as its logit is absolutely. A ratio whose
// products cancel magnifies the error of the products by their sum.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::projection::{Texel, project}
#import gpavatar::stored::{Stored, packed, unpacked}

struct Fuse {
    // Texels times planes.
    count: u32,
    // Channels of a plane divided by four.
    channels: u32,
    // Factor of the product of query and key.
    scale: f32,
    // 1: softmax, 0: ratio.
    softmax: u32,
}

struct Source {
    // Index of this source, and the number of sources.
    index: u32,
    count: u32,
}

@group(0) @binding(1) var<uniform> size: Fuse;
@group(0) @binding(2) var<storage, read> source: array<Stored>; // [texel][plane][c]
@group(0) @binding(3) var<storage, read> query: array<vec4<f32>>; // [texel][plane][c]
// Weighted sum; for the ratio followed by the plain sum.
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>; // [1|2][texel][plane][c]
// Softmax: maximum of the logits and sum of the exponentials. Ratio: unused, sum of the products.
@group(0) @binding(5) var<storage, read_write> state: array<vec2<f32>>; // [texel][plane]
@group(1) @binding(0) var<storage, read_write> planes: array<Stored>; // [texel][plane][c]
@group(1) @binding(1) var<uniform> current: Source;
@group(1) @binding(2) var<storage, read_write> logits: array<f32>; // [source][texel][plane]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let index = thread_index(thread);
    if index >= size.count {
        return;
    }
    let first = index * size.channels;
    var x: Texel;
    for (var c = 0u; c < size.channels; c++) {
        x.c[c] = unpacked(source[first + c]);
    }
    let key = project(x, size.channels);
    var product = 0.0;
    for (var c = 0u; c < size.channels; c++) {
        product += dot(query[first + c], key.c[c]);
    }
    if size.softmax == 1u {
        product *= size.scale;
    }
    logits[current.index * size.count + index] = product;

    var previous = state[index];
    if current.index == 0u {
        previous = vec2<f32>(product, 0.0);
    }
    var keep = 1.0;
    var weight = product;
    var next = vec2<f32>(0.0, previous.y + product);
    if size.softmax == 1u {
        let highest = max(previous.x, product);
        keep = exp(previous.x - highest);
        weight = exp(product - highest);
        next = vec2<f32>(highest, previous.y * keep + weight);
    }
    state[index] = next;

    let last = current.index + 1u == current.count;
    let plain = size.count * size.channels + first;
    for (var c = 0u; c < size.channels; c++) {
        var sum = weight * x.c[c];
        if current.index > 0u {
            sum += keep * sums[first + c];
        }
        var fused = sum / next.y;
        if size.softmax == 0u {
            var total = x.c[c];
            if current.index > 0u {
                total += sums[plain + c];
            }
            sums[plain + c] = total;
            if abs(next.y) < 1e-8 {
                fused = total / f32(current.count);
            }
        }
        sums[first + c] = sum;
        if last {
            planes[first + c] = packed(fused);
        }
    }
}
