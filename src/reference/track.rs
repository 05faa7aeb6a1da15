//! The tracker's networks, operation by operation, from their files, and the crop that they see.
//!
//! The network from landmarks to expression scores is not here: it runs on the host only.

use std::collections::BTreeMap;

use super::{Real, Tensor, parallel_rows, reals, shared};
use crate::track::graph::{Activation, Conv, Graph, Kind, Operation};
use crate::track::{Net, NetFiles, Region};

/// All maps of a network, by their number in the file, for an input `[height][width][channel]`.
/// Maps that an activation alone reads are left out. `None` without such a network.
pub fn maps(files: &NetFiles, net: Net, input: &[Real]) -> Option<BTreeMap<usize, Tensor>> {
    Some(run(&files.network(net)?.graph, input))
}

pub(crate) fn run(graph: &Graph, input: &[Real]) -> BTreeMap<usize, Tensor> {
    let input = Tensor::new(graph.shape(graph.input), input.to_vec());
    let mut maps = BTreeMap::from([(graph.input, input)]);
    for operation in &graph.operations {
        let inputs: Vec<_> = operation.inputs.iter().map(|map| &maps[map]).collect();
        let shape = graph.shape(operation.output);
        let result = compute(graph, operation, &inputs, shape);
        let result = activated(graph, operation.activation, result);
        maps.insert(operation.output, result);
    }
    maps
}

fn compute(graph: &Graph, operation: &Operation, inputs: &[&Tensor], shape: [usize; 3]) -> Tensor {
    let x = inputs[0];
    let [height, width, channels] = x.image();
    let pixels = |value: &(dyn Fn(usize, usize, usize) -> Real + Sync)| {
        let mut map = Tensor::zeros(shape);
        parallel_rows(&mut map.data, shape[1] * shape[2], |row, values| {
            for (column, pixel) in values.chunks_exact_mut(shape[2]).enumerate() {
                for (channel, result) in pixel.iter_mut().enumerate() {
                    *result = value(row, column, channel);
                }
            }
        });
        map
    };
    match &operation.kind {
        Kind::Conv(conv) => {
            let (weight, bias) = constants(graph, conv);
            let taps = conv.kernel[0] * conv.kernel[1];
            pixels(&|row, column, output| {
                let weight = &weight[output * taps * channels..][..taps * channels];
                let mut sum = bias[output];
                for (tap, row, column) in taps_at(conv, row, column, [height, width]) {
                    let weight = &weight[tap * channels..][..channels];
                    let products = weight.iter().zip(x.pixel(row, column));
                    sum += products.map(|(w, x)| w * x).sum::<Real>();
                }
                sum
            })
        }
        Kind::Depthwise(conv) => {
            let (weight, bias) = constants(graph, conv);
            pixels(&|row, column, channel| {
                let taps = taps_at(conv, row, column, [height, width]);
                let products = taps.map(|(tap, row, column)| {
                    weight[tap * channels + channel] * x.pixel(row, column)[channel]
                });
                bias[channel] + products.sum::<Real>()
            })
        }
        Kind::TransposedConv(conv) => {
            let (weight, bias) = constants(graph, conv);
            pixels(&|row, column, output| {
                let tap = row % 2 * 2 + column % 2;
                let weight = &weight[(output * 4 + tap) * channels..][..channels];
                let products = weight.iter().zip(x.pixel(row / 2, column / 2));
                bias[output] + products.map(|(w, x)| w * x).sum::<Real>()
            })
        }
        Kind::Add => {
            pixels(&|row, column, c| x.pixel(row, column)[c] + inputs[1].pixel(row, column)[c])
        }
        Kind::Mul => pixels(&|row, column, c| x.pixel(row, column)[c] * inputs[1].data[c]),
        Kind::MaxPool => pixels(&|row, column, c| {
            let value = |k: usize| x.pixel(2 * row + k / 2, 2 * column + k % 2)[c];
            (1..4).map(value).fold(value(0), Real::max)
        }),
        Kind::AveragePool => pixels(&|_, _, c| {
            let values = x.data.iter().skip(c).step_by(channels);
            values.sum::<Real>() / (height * width) as Real
        }),
        Kind::PadChannels => {
            pixels(&|row, column, c| x.pixel(row, column).get(c).copied().unwrap_or(0.0))
        }
        Kind::Logistic => pixels(&|row, column, c| logistic(x.pixel(row, column)[c])),
        Kind::Reshape => Tensor::new(shape, x.data.clone()),
        Kind::Concatenation { axis } => {
            let run = |map: &Tensor| map.shape[*axis..].iter().product::<usize>();
            let outer: usize = shape[..*axis].iter().product();
            let parts = (0..outer).flat_map(|index| {
                let part = move |map: &&Tensor| map.data[index * run(map)..][..run(map)].to_vec();
                inputs.iter().flat_map(part)
            });
            Tensor::new(shape, parts.collect())
        }
        Kind::Resize => {
            let mut map = Tensor::zeros(shape);
            parallel_rows(&mut map.data, shape[1] * channels, |row, values| {
                let y = shared::resized(row, height, shape[0]);
                for (column, pixel) in values.chunks_exact_mut(channels).enumerate() {
                    let x_at = shared::resized(column, width, shape[1]);
                    shared::add_bilinear_clamped(x, x_at, y, pixel);
                }
            });
            map
        }
    }
}

fn constants(graph: &Graph, conv: &Conv) -> (Vec<Real>, Vec<Real>) {
    (
        reals(graph.constant(conv.weight)),
        reals(graph.constant(conv.bias)),
    )
}

/// The taps of a kernel that lie on the map, each with its row and column there.
fn taps_at(
    conv: &Conv,
    row: usize,
    column: usize,
    [height, width]: [usize; 2],
) -> impl Iterator<Item = (usize, usize, usize)> {
    let Conv {
        kernel: [rows, columns],
        stride,
        pad: [top, left, ..],
        ..
    } = *conv;
    (0..rows * columns).filter_map(move |tap| {
        let row = (row * stride + tap / columns).checked_sub(top)?;
        let column = (column * stride + tap % columns).checked_sub(left)?;
        (row < height && column < width).then_some((tap, row, column))
    })
}

fn activated(graph: &Graph, activation: Activation, mut map: Tensor) -> Tensor {
    match activation {
        Activation::None => map,
        Activation::Relu => map.map(shared::relu),
        Activation::HardSwish => map.map(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        Activation::Logistic => map.map(logistic),
        Activation::Prelu(slope) => {
            let slopes = reals(graph.constant(slope));
            for pixel in map.data.chunks_exact_mut(slopes.len()) {
                for (x, slope) in pixel.iter_mut().zip(&slopes) {
                    *x = if *x >= 0.0 { *x } else { slope * *x };
                }
            }
            map
        }
    }
}

/// 1 / (1 + exp(-x)): where the exponential is infinite this is 0.
pub fn logistic(x: Real) -> Real {
    1.0 / (1.0 + (-x).exp())
}

/// What a region of a picture shows, `[size][size][RGB]` in 0..255: bilinear, zero outside of the
/// picture. `pixels` are RGBA, row by row; the alpha is not used.
pub fn crop(pixels: &[u8], [width, height]: [u32; 2], region: &Region, size: usize) -> Tensor {
    let colours = pixels.chunks_exact(4).flat_map(|pixel| &pixel[..3]);
    let colours = colours.map(|value| Real::from(*value)).collect();
    let picture = Tensor::new([height as usize, width as usize, 3], colours);
    let (sin, cos) = Real::from(region.angle).sin_cos();
    let mut map = Tensor::zeros([size, size, 3]);
    parallel_rows(&mut map.data, size * 3, |row, values| {
        for (column, pixel) in values.chunks_exact_mut(3).enumerate() {
            let place = |index: usize| (index as Real + 0.5) / size as Real - 0.5;
            let u = place(column) * Real::from(region.size.x);
            let v = place(row) * Real::from(region.size.y);
            let x = Real::from(region.centre.x) + cos * u - sin * v;
            let y = Real::from(region.centre.y) + sin * u + cos * v;
            shared::add_bilinear_zeros(&picture, x - 0.5, y - 0.5, 0, pixel);
        }
    });
    map
}
