//! The kernels' layouts of weights.

/// Lengths are stored in whole vec4s.
pub(crate) fn padded(channels: u32) -> u32 {
    channels.next_multiple_of(4)
}

/// `values` followed by zeros up to a whole vec4.
pub(crate) fn vector(values: &[f32]) -> Vec<f32> {
    let mut packed = values.to_vec();
    packed.resize(values.len().next_multiple_of(4), 0.0);
    packed
}

/// A convolution `[outputs][inputs][tap]` as `[outputs / 8][tap][inputs][8]`, inputs and outputs
/// padded with zeros.
pub(crate) fn convolution(weight: &[f32], outputs: u32, inputs: u32, taps: u32) -> Vec<f32> {
    let (outputs, inputs, taps) = (outputs as usize, inputs as usize, taps as usize);
    let stored_inputs = inputs.next_multiple_of(4);
    let mut packed = vec![0.0; outputs.div_ceil(8) * taps * stored_inputs * 8];
    for (output, kernels) in weight.chunks_exact(inputs * taps).enumerate() {
        let block = output / 8 * taps;
        for (input, kernel) in kernels.chunks_exact(taps).enumerate() {
            for (tap, &value) in kernel.iter().enumerate() {
                packed[((block + tap) * stored_inputs + input) * 8 + output % 8] = value;
            }
        }
    }
    packed
}

/// A convolution `[outputs][inputs][tap]` as matrices `[outputs / side][tap][inputs / side][side
/// inputs][side outputs]`, inputs padded with zeros to whole chunks and outputs to whole matrices.
pub(crate) fn matrices(
    weight: &[f32],
    [outputs, inputs, taps]: [u32; 3],
    side: u32,
    chunk: u32,
) -> Vec<f32> {
    let [outputs, inputs, taps, side] = [outputs, inputs, taps, side].map(|n| n as usize);
    let across = inputs.next_multiple_of(chunk as usize) / side;
    let mut packed = vec![0.0; outputs.div_ceil(side) * taps * across * side * side];
    for (output, kernels) in weight.chunks_exact(inputs * taps).enumerate() {
        for (input, kernel) in kernels.chunks_exact(taps).enumerate() {
            for (tap, &value) in kernel.iter().enumerate() {
                let matrix = (output / side * taps + tap) * across + input / side;
                packed[(matrix * side + input % side) * side + output % side] = value;
            }
        }
    }
    packed
}

/// A matrix `[outputs][inputs]` as `[inputs / 4][outputs / 4][4 inputs][4 outputs]`, padded with
/// zeros.
pub(crate) fn blocks(weight: &[f32], outputs: u32, inputs: u32) -> Vec<f32> {
    let (outputs, inputs) = (outputs as usize, inputs as usize);
    let output_blocks = outputs.div_ceil(4);
    let mut packed = vec![0.0; inputs.div_ceil(4) * output_blocks * 16];
    for (output, row) in weight.chunks_exact(inputs).enumerate() {
        for (input, &value) in row.iter().enumerate() {
            let block = input / 4 * output_blocks + output / 4;
            packed[block * 16 + input % 4 * 4 + output % 4] = value;
        }
    }
    packed
}

/// A matrix `[outputs][inputs]` as `[inputs][outputs]`, outputs padded with zeros.
pub(crate) fn transposed(weight: &[f32], outputs: u32, inputs: u32) -> Vec<f32> {
    let inputs = inputs as usize;
    let stored_outputs = padded(outputs) as usize;
    let mut packed = vec![0.0; inputs * stored_outputs];
    for (output, row) in weight.chunks_exact(inputs).enumerate() {
        for (input, &value) in row.iter().enumerate() {
            packed[input * stored_outputs + output] = value;
        }
    }
    packed
}

/// `rows` of `columns` values each, every row padded with zeros.
pub(crate) fn rows(values: &[f32], columns: u32) -> Vec<f32> {
    values
        .chunks_exact(columns as usize)
        .flat_map(vector)
        .collect()
}

/// Channel-major images `[channel][pixel]` as `[pixel][channel]`, channels padded with zeros.
pub(crate) fn pixels(values: &[f32], channels: u32) -> Vec<f32> {
    transposed(values, channels, values.len() as u32 / channels)
}

/// Triples as vec4s.
pub(crate) fn vec4s(triples: &[[f32; 3]]) -> Vec<[f32; 4]> {
    triples.iter().map(|&[x, y, z]| [x, y, z, 0.0]).collect()
}
