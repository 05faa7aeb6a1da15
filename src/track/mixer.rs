//! The network from landmarks to expression scores: an MLP-Mixer (Tolstikhin et al. 2021,
//! arXiv 2105.01601) over 96 mixtures of 146 points and a class token.
//!
//! It runs on the CPU everywhere: its input is a kilobyte that the host needs anyway.

use super::files::{Model, Numbers, Operator};
use super::graph::code;
use super::landmarks::LANDMARKS;
use crate::error::{Error, Result};

/// Landmarks that the network reads, in its order, of the 478.
pub(crate) const POINTS: [usize; 146] = [
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65,
    66, 67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136,
    144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172,
    173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283,
    284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324,
    332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385,
    386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472,
    473, 474, 475, 476, 477,
];

/// Scores of the network: the neutral face, which is to be ignored, then 51 ARKit channels.
pub(crate) const SCORES: usize = 52;

/// Mixtures of points, and those with the class token in front.
const MIXTURES: usize = 96;
const TOKENS: usize = MIXTURES + 1;
const CHANNELS: usize = 64;
const HIDDEN_TOKENS: usize = 384;
const HIDDEN_CHANNELS: usize = 256;
const BLOCKS: usize = 4;

/// The network's learned numbers.
#[derive(Clone, Debug)]
pub(crate) struct Mixer {
    /// What the points' distance from their centre is scaled to.
    scale: f32,
    token: Vec<f32>,
    epsilon: f32,
    /// Points to mixtures.
    points: Dense,
    /// Axes to channels.
    axes: Dense,
    blocks: Vec<Block>,
    scores: Dense,
}

/// Memory of a run, which serves the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    /// `[token][channel]`.
    tokens: Vec<f32>,
    normed: Vec<f32>,
    hidden: Vec<f32>,
    mixed: Vec<f32>,
}

#[derive(Clone, Debug)]
struct Block {
    token_gain: Vec<f32>,
    tokens: [Dense; 2],
    channel_gain: Vec<f32>,
    channels: [Dense; 2],
}

/// y = W x + b.
#[derive(Clone, Debug)]
struct Dense {
    /// `[outputs][inputs]`; of layers that mix columns [transposed](Dense::transposed).
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    /// The same with weights `[inputs][outputs]`.
    fn transposed(self) -> Self {
        let outputs = self.bias.len();
        let inputs = self.weight.len() / outputs;
        let mut weight = vec![0.0; self.weight.len()];
        for (o, row) in self.weight.chunks_exact(inputs).enumerate() {
            for (i, value) in row.iter().enumerate() {
                weight[i * outputs + o] = *value;
            }
        }
        Self { weight, ..self }
    }
}

/// Layers in the file's order: outputs and inputs.
const fn layers() -> [[usize; 2]; 3 + 4 * BLOCKS] {
    let mut layers = [[SCORES, CHANNELS]; 3 + 4 * BLOCKS];
    layers[0] = [MIXTURES, POINTS.len()];
    layers[1] = [CHANNELS, 2];
    let mut block = 0;
    while block < BLOCKS {
        layers[2 + 4 * block] = [HIDDEN_TOKENS, TOKENS];
        layers[3 + 4 * block] = [TOKENS, HIDDEN_TOKENS];
        layers[4 + 4 * block] = [HIDDEN_CHANNELS, CHANNELS];
        layers[5 + 4 * block] = [CHANNELS, HIDDEN_CHANNELS];
        block += 1;
    }
    layers
}

impl Mixer {
    /// The network of a file.
    ///
    /// # Errors
    /// What differs from the network that this code knows.
    pub fn read(model: &Model<'_>) -> Result<Self, String> {
        let reader = Reader { model };
        let layers = reader.layers()?;
        let gains = reader.constants(code::MUL, CHANNELS)?;
        let (Ok(layers), true) = (
            <[Dense; 3 + 4 * BLOCKS]>::try_from(layers),
            gains.len() == 2 * BLOCKS,
        ) else {
            return Err(format!(
                "expected {} gains of norms, found {}",
                2 * BLOCKS,
                gains.len()
            ));
        };
        let only = |name: &str, constants: Vec<Vec<f32>>, count: usize| {
            let same = constants.iter().all(|constant| *constant == constants[0]);
            match constants.first() {
                Some(first) if same && constants.len() == count => Ok(first.clone()),
                _ => Err(format!(
                    "expected {count} equal {name}, found {}",
                    constants.len()
                )),
            }
        };
        let epsilon = only("ε", reader.constants(code::ADD, 1)?, 2 * BLOCKS)?[0];
        let scale = only("scales", reader.constants(code::MUL, 1)?, 1)?[0];
        let token = only(
            "class tokens",
            reader.constants(code::CONCATENATION, CHANNELS)?,
            1,
        )?;
        if !(epsilon > 0.0 && scale > 0.0) {
            return Err(format!(
                "expected positive ε and scale, found {epsilon} and {scale}"
            ));
        }
        let [points, axes, inner @ .., scores] = layers;
        let mut inner = inner.into_iter();
        let mut gains = gains.into_iter();
        let mut blocks = Vec::new();
        while let (
            Some(up),
            Some(down),
            Some(widen),
            Some(narrow),
            Some(token_gain),
            Some(channel_gain),
        ) = (
            inner.next(),
            inner.next(),
            inner.next(),
            inner.next(),
            gains.next(),
            gains.next(),
        ) {
            blocks.push(Block {
                token_gain,
                tokens: [up, down],
                channel_gain,
                channels: [widen, narrow].map(Dense::transposed),
            });
        }
        Ok(Self {
            scale,
            token,
            epsilon,
            points,
            axes: axes.transposed(),
            blocks,
            scores: scores.transposed(),
        })
    }

    /// Scores of the 478 landmarks, whose x and y are their `place`, turned by `angle`.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not 478 or one that is read is not finite.
    pub fn scores_of<P>(
        &self,
        points: &[P],
        place: impl Fn(&P) -> [f32; 2],
        angle: f32,
        workspace: &mut Workspace,
    ) -> Result<[f32; SCORES]> {
        let count = points.len();
        Error::unless(count == LANDMARKS, "landmarks", LANDMARKS, count)?;
        let (sin, cos) = angle.sin_cos();
        let turned = POINTS.map(|index| {
            let [x, y] = place(&points[index]);
            [cos * x - sin * y, sin * x + cos * y]
        });
        let finite = turned.as_flattened().iter().all(|value| value.is_finite());
        Error::unless(finite, "landmarks", "finite coordinates", "others")?;
        Ok(self.run(&turned, workspace, |_| {}))
    }

    /// Scores in [0, 1] of points in pixels of the picture, turned so that the face is upright. They
    /// do not depend on where the points are and how large. `seen` is shown the tokens,
    /// `[token][channel]`, before the first block and after each but the last, of which only the
    /// class token is computed.
    pub fn run(
        &self,
        points: &[[f32; 2]; POINTS.len()],
        workspace: &mut Workspace,
        mut seen: impl FnMut(&[f32]),
    ) -> [f32; SCORES] {
        self.embed(points, workspace);
        let Workspace {
            tokens,
            normed,
            hidden,
            mixed,
        } = workspace;
        seen(tokens);
        for (index, block) in self.blocks.iter().enumerate() {
            let last = index + 1 == BLOCKS;
            self.norm(tokens, &block.token_gain, normed);
            let [up, down] = &block.tokens;
            mixed_rows(up, normed, hidden);
            rectify(hidden);
            mixed_rows(down, hidden, mixed);
            add(tokens, mixed);
            if last {
                tokens.truncate(CHANNELS);
            }
            self.norm(tokens, &block.channel_gain, normed);
            let [widen, narrow] = &block.channels;
            mixed_columns(widen, normed, hidden);
            rectify(hidden);
            mixed_columns(narrow, hidden, mixed);
            add(tokens, mixed);
            if !last {
                seen(tokens);
            }
        }
        mixed_columns(&self.scores, tokens, mixed);
        std::array::from_fn(|k| super::sigmoid(mixed[k]))
    }

    /// The tokens of points: distances from their centre, relative to the mean distance.
    fn embed(&self, points: &[[f32; 2]; POINTS.len()], workspace: &mut Workspace) {
        let count = POINTS.len() as f64;
        // In f64: far from the origin, differences of pixels would lose digits.
        let axis = |axis: usize| points.iter().map(move |point| f64::from(point[axis]));
        let centre = [axis(0).sum::<f64>() / count, axis(1).sum::<f64>() / count];
        let x = axis(0).map(|x| x - centre[0]);
        let y = axis(1).map(|y| y - centre[1]);
        let mean = x.zip(y).map(|(x, y)| x.hypot(y)).sum::<f64>() / count;
        // Points that are all in one place have no shape.
        let gain = if mean > 0.0 {
            f64::from(self.scale) / mean
        } else {
            0.0
        };
        let centred =
            |point: &[f32; 2], axis: usize| (gain * (f64::from(point[axis]) - centre[axis])) as f32;
        let unit = points.map(|point| [centred(&point, 0), centred(&point, 1)]);
        let Workspace {
            tokens,
            hidden: mixtures,
            mixed,
            ..
        } = workspace;
        mixed_rows(&self.points, unit.as_flattened(), mixtures);
        mixed_columns(&self.axes, mixtures, mixed);
        tokens.clear();
        tokens.extend_from_slice(&self.token);
        tokens.extend_from_slice(mixed);
    }

    /// Layer norm of each token, with gains and without shifts.
    fn norm(&self, x: &[f32], gain: &[f32], normed: &mut Vec<f32>) {
        normed.clear();
        for token in x.chunks_exact(CHANNELS) {
            let mean = token.iter().sum::<f32>() / CHANNELS as f32;
            let variance = token.iter().map(|v| (v - mean).powi(2)).sum::<f32>();
            let scale = (variance / CHANNELS as f32 + self.epsilon).sqrt().recip();
            let values = token.iter().zip(gain);
            normed.extend(values.map(|(v, gain)| (v - mean) * scale * gain));
        }
    }
}

fn rectify(x: &mut [f32]) {
    for x in x {
        *x = x.max(0.0);
    }
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Y = W·X + b for `X` of `[inputs][n]`: the layer mixes rows.
fn mixed_rows(layer: &Dense, x: &[f32], y: &mut Vec<f32>) {
    let outputs = layer.bias.len();
    let inputs = layer.weight.len() / outputs;
    let columns = x.len() / inputs;
    y.clear();
    for bias in &layer.bias {
        y.resize(y.len() + columns, *bias);
    }
    product(&layer.weight, x, y, inputs, columns);
}

/// Y = X·Wᵀ + b for `X` of `[n][inputs]`: the layer mixes columns, and its weights are transposed.
fn mixed_columns(layer: &Dense, x: &[f32], y: &mut Vec<f32>) {
    let outputs = layer.bias.len();
    let inputs = layer.weight.len() / outputs;
    y.clear();
    for _ in 0..x.len() / inputs {
        y.extend_from_slice(&layer.bias);
    }
    product(x, &layer.weight, y, inputs, outputs);
}

/// Y += A·B for A `[m][k]`, B `[k][n]`, Y `[m][n]`: in tiles that stay in registers.
fn product(a: &[f32], b: &[f32], y: &mut [f32], k: usize, n: usize) {
    const ROWS: usize = 4;
    const COLUMNS: usize = 8;
    for (a, y) in a.chunks(ROWS * k).zip(y.chunks_mut(ROWS * n)) {
        let rows = a.len() / k;
        let mut column = 0;
        while rows == ROWS && column + COLUMNS <= n {
            let mut sums = [[0.0f32; COLUMNS]; ROWS];
            for (i, b) in b.chunks_exact(n).enumerate() {
                let Some(b) = b[column..].first_chunk::<COLUMNS>() else {
                    break;
                };
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = a[row * k + i];
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum += a * b;
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                add(&mut y[row * n + column..][..COLUMNS], sums);
            }
            column += COLUMNS;
        }
        for row in 0..rows {
            for column in column..n {
                let a = &a[row * k..][..k];
                let column_of_b = b[column..].iter().step_by(n);
                y[row * n + column] += a.iter().zip(column_of_b).map(|(a, b)| a * b).sum::<f32>();
            }
        }
    }
}

struct Reader<'m, 'a> {
    model: &'m Model<'a>,
}

impl Reader<'_, '_> {
    /// The floats of an operator's input, widened if need be, if it is constant.
    fn floats(&self, operator: &Operator<'_>, index: usize) -> Option<Vec<f32>> {
        let tensor = operator.inputs.get(index).copied().flatten()?;
        let operators = &mut self.model.operators.iter();
        let widened =
            operators.find(|other| other.code == code::DEQUANTIZE && other.output == tensor);
        let tensor = match widened {
            Some(widening) => widening.inputs.first().copied().flatten()?,
            None => tensor,
        };
        let numbers = self.model.tensors[tensor].numbers;
        // The largest layer here has 37,248 numbers: no other tensor is widened.
        match numbers {
            Numbers::Computed | Numbers::I32(_) => None,
            _ if numbers.count() > HIDDEN_TOKENS * TOKENS => None,
            _ => numbers
                .floats()
                .filter(|floats| floats.iter().all(|v| v.is_finite())),
        }
    }

    fn operators(&self, code: i32) -> impl Iterator<Item = &Operator<'_>> {
        self.model
            .operators
            .iter()
            .filter(move |operator| operator.code == code)
    }

    fn layers(&self) -> Result<Vec<Dense>, String> {
        let expected = layers();
        let found = self.operators(code::CONV_2D).count();
        if found != expected.len() {
            return Err(format!("expected {} layers, found {found}", expected.len()));
        }
        let layers = self.operators(code::CONV_2D).zip(expected).enumerate();
        let layers = layers.map(|(index, (operator, [outputs, inputs]))| {
            let weight = self
                .floats(operator, 1)
                .filter(|weight| weight.len() == outputs * inputs);
            let bias = self
                .floats(operator, 2)
                .filter(|bias| bias.len() == outputs);
            let (Some(weight), Some(bias)) = (weight, bias) else {
                return Err(format!(
                    "layer {index}: expected {inputs} inputs and {outputs} outputs"
                ));
            };
            Ok(Dense { weight, bias })
        });
        layers.collect()
    }

    /// The constant inputs, so many numbers each, of the operators of a kind.
    fn constants(&self, code: i32, length: usize) -> Result<Vec<Vec<f32>>, String> {
        /// Most operators of a kind: there are 26.
        const MOST: usize = 64;
        if self.operators(code).count() > MOST {
            return Err(format!("more than {MOST} operators {code}"));
        }
        let inputs = |operator| (0..2).filter_map(move |index| self.floats(operator, index));
        let constants = self.operators(code).flat_map(inputs);
        Ok(constants
            .filter(|constant| constant.len() == length)
            .collect())
    }
}
