use glam::vec2;

use super::*;
use crate::error::refused;
use crate::reference;
use crate::reference::track_parity::table;
use crate::stage::testing::{self, assert_close, random};
use crate::track::files::tests::{files, golden};
use crate::track::graph::{Kind, Operation};
use crate::{GpuOptions, ShaderChecks, TensorFile};

/// One call of each kernel.
pub(crate) fn examples(gpu: &Gpu) {
    Made::all_kinds(1, 12).compare(gpu);
}

/// A network of random constants.
struct Made {
    graph: Graph,
    seed: u64,
}

impl Made {
    fn new(seed: u64, size: usize) -> Self {
        let graph = Graph {
            input: 0,
            outputs: Vec::new(),
            shapes: BTreeMap::from([(0, [size, size, 3])]),
            constants: BTreeMap::new(),
            operations: Vec::new(),
        };
        Self { graph, seed }
    }

    fn constant(&mut self, count: usize, gain: f32) -> usize {
        let index = 1000 + self.graph.constants.len();
        let values = random(self.seed, &index.to_string(), count);
        let values = values.into_iter().map(|value| gain * value).collect();
        self.graph.constants.insert(index, values);
        index
    }

    fn operation(&mut self, kind: Kind, inputs: &[usize], shape: [usize; 3]) -> usize {
        let output = self.graph.shapes.len();
        self.graph.shapes.insert(output, shape);
        self.graph.operations.push(Operation {
            number: output,
            kind,
            inputs: inputs.to_vec(),
            output,
            activation: Activation::None,
        });
        output
    }

    /// Lets the last operation apply an activation.
    fn activation(&mut self, activation: Activation) {
        self.graph.operations.last_mut().unwrap().activation = activation;
    }

    fn prelu(&mut self, channels: usize) {
        let slope = self.constant(channels, 1.0);
        self.activation(Activation::Prelu(slope));
    }

    /// A convolution that covers its input, or a depthwise one.
    fn conv(&mut self, input: usize, side: usize, stride: usize, outputs: Option<usize>) -> usize {
        let [height, width, channels] = self.graph.shape(input);
        let products = side * side * if outputs.is_some() { channels } else { 1 };
        let count = outputs.unwrap_or(channels);
        let total =
            |size: usize| ((size.div_ceil(stride) - 1) * stride + side).saturating_sub(size);
        let (rows, columns) = (total(height), total(width));
        let conv = Conv {
            weight: self.constant(products * count, (products as f32).sqrt().recip() * 2.0),
            bias: self.constant(count, 0.5),
            kernel: [side; 2],
            stride,
            pad: [
                rows / 2,
                columns / 2,
                rows - rows / 2,
                columns - columns / 2,
            ],
        };
        let shape = [height.div_ceil(stride), width.div_ceil(stride), count];
        let kind = if outputs.is_some() {
            Kind::Conv
        } else {
            Kind::Depthwise
        };
        self.operation(kind(conv), &[input], shape)
    }

    fn pool(&mut self, input: usize) -> usize {
        let [height, width, channels] = self.graph.shape(input);
        self.operation(Kind::MaxPool, &[input], [height / 2, width / 2, channels])
    }

    fn pad(&mut self, input: usize, after: usize) -> usize {
        let [height, width, channels] = self.graph.shape(input);
        self.operation(
            Kind::PadChannels,
            &[input],
            [height, width, channels + after],
        )
    }

    fn like(&mut self, kind: Kind, inputs: &[usize]) -> usize {
        let shape = self.graph.shape(inputs[0]);
        self.operation(kind, inputs, shape)
    }

    /// A network with operations of all kinds, fused and not.
    fn all_kinds(seed: u64, size: usize) -> Self {
        let mut made = Self::new(seed, size);
        let first = made.conv(0, 5, 2, Some(10));
        made.prelu(10);
        // A bottleneck with a skip of the same size.
        let inner = made.conv(first, 1, 1, Some(6));
        made.activation(Activation::Relu);
        let deep = made.conv(inner, 3, 1, None);
        let wide = made.conv(deep, 1, 1, Some(10));
        let sum = made.like(Kind::Add, &[first, wide]);
        made.prelu(10);
        // One that goes down: pooled and padded.
        let deep = made.conv(sum, 3, 2, None);
        let pooled = made.pool(sum);
        let wide = made.conv(deep, 1, 1, Some(18));
        let padded = made.pad(pooled, 8);
        let down = made.like(Kind::Add, &[padded, wide]);
        made.activation(Activation::Relu);
        // Squeeze and excite.
        let swish = made.conv(down, 5, 1, None);
        made.activation(Activation::HardSwish);
        let [_, _, channels] = made.graph.shape(swish);
        let mean = made.operation(Kind::AveragePool, &[swish], [1, 1, channels]);
        let hidden = made.conv(mean, 1, 1, Some(5));
        made.activation(Activation::Relu);
        let gates = made.conv(hidden, 1, 1, Some(channels));
        let gates = made.like(Kind::Logistic, &[gates]);
        let gated = made.like(Kind::Mul, &[swish, gates]);
        // A sum of what both have activations.
        let sum = made.like(Kind::Add, &[gated, down]);
        // Pools and paddings that something else reads.
        let padded = made.pad(sum, 3);
        let read = made.conv(padded, 1, 1, Some(7));
        // Up again.
        let shape = made.graph.shape(read).map(|side| 2 * side);
        let doubled = made.operation(Kind::Resize, &[read], [shape[0], shape[1], 7]);
        let transposed = Conv {
            weight: made.constant(2 * 4 * 7, 1.0),
            bias: made.constant(2, 1.0),
            kernel: [2, 2],
            stride: 2,
            pad: [0; 4],
        };
        let shape = [4 * shape[0] / 2, 4 * shape[1] / 2, 2];
        let spread = made.operation(Kind::TransposedConv(transposed), &[doubled], shape);
        let mask = made.like(Kind::Logistic, &[spread]);
        // Ends as those of a detector.
        let (a, b) = (made.graph.shape(read), made.graph.shape(sum));
        let rows = [a, b].map(|[height, width, _]| height * width);
        let few = made.conv(sum, 1, 1, Some(7));
        let ends = [(read, rows[0]), (few, rows[1])]
            .map(|(map, rows)| made.operation(Kind::Reshape, &[map], [1, rows, 7]));
        let both = made.operation(
            Kind::Concatenation { axis: 1 },
            &ends,
            [1, rows[0] + rows[1], 7],
        );
        let one = made.operation(Kind::AveragePool, &[few], [1, 1, 7]);
        let one = made.conv(one, 1, 1, Some(1));
        let one = made.operation(Kind::Reshape, &[one], [1, 1, 1]);
        let one = made.like(Kind::Logistic, &[one]);
        made.graph.outputs = vec![mask, both, one, down];
        made
    }

    fn run(&self, gpu: &Gpu, picture: &Picture, region: &Region) -> Vec<Vec<f32>> {
        let network = Network {
            graph: self.graph.clone(),
            outputs: self.graph.outputs.clone(),
        };
        let runner = Runner::new(gpu, &network, Net::Landmarks, &ModelOptions::default()).unwrap();
        let crop = picture.crop(region, runner.size, Net::Landmarks).unwrap();
        let mut outputs = Outputs::default();
        pollster::block_on(runner.run(gpu, picture, &crop, &mut outputs)).unwrap();
        outputs.into_all()
    }

    /// Compares all outputs with the twin's.
    #[track_caller]
    fn compare(&self, gpu: &Gpu) {
        let [size, ..] = self.graph.shape(self.graph.input);
        let bytes = bytes(self.seed, size * size);
        let side = size as u32;
        let picture = Picture::new(gpu, side, side, &bytes).unwrap();
        let found = self.run(gpu, &picture, &Region::whole(side, side));
        let input: Vec<f32> = bytes
            .chunks_exact(4)
            .flat_map(|pixel| &pixel[..3])
            .map(|byte| f32::from(*byte) / 255.0)
            .collect();
        let expected = reference::track::run(&self.graph, &input);
        for (found, map) in found.iter().zip(&self.graph.outputs) {
            let expected = &expected[map].data;
            let range = expected
                .iter()
                .fold(0.0, |most: f32, value| most.max(value.abs()));
            assert_close(&format!("map {map}"), found, expected, |_| 2e-5 * range);
        }
    }
}

/// RGBA of so many pixels.
fn bytes(seed: u64, pixels: usize) -> Vec<u8> {
    let values = random(seed, "picture", 4 * pixels);
    values
        .iter()
        .map(|value| (127.5 + 127.5 * value).round() as u8)
        .collect()
}

#[test]
fn layers_agree_with_the_twin() {
    for gpu in [testing::gpu(), testing::software(), testing::subgroups()] {
        // At 40 several workgroups run, and the last is not full.
        for (seed, size) in [(1, 4), (2, 12), (3, 40)] {
            Made::all_kinds(seed, size).compare(gpu);
        }
    }
}

#[test]
fn crops_agree_with_the_twin() {
    let gpu = testing::gpu();
    let mut made = Made::new(1, 24);
    made.graph.outputs = vec![0];
    let (width, height) = (37, 21);
    let bytes = bytes(1, (width * height) as usize);
    let picture = Picture::new(gpu, width, height, &bytes).unwrap();
    for region in [
        Region::whole(width, height),
        // Turned, and partly outside.
        Region {
            centre: vec2(30.0, 5.5),
            size: vec2(25.0, 14.0),
            angle: 2.5,
        },
        // Far outside: where no integer reaches.
        Region {
            centre: vec2(-1e12, 3e20),
            size: vec2(10.0, 10.0),
            angle: 0.3,
        },
    ] {
        let found = made.run(gpu, &picture, &region);
        let expected = reference::track::crop(&bytes, [width, height], &region, 24);
        let expected = expected.map(|value| value / 255.0).data;
        assert_close(&format!("{region:?}"), &found[0], &expected, |_| 2e-5);
    }
}

#[track_caller]
fn agrees(gpu: &Gpu) {
    for name in ["detector", "landmarks", "segmentation"] {
        let case = TensorFile::open(golden(&format!("{name}.safetensors"))).unwrap();
        let table = pollster::block_on(table(files(), &case, Some(gpu))).unwrap();
        println!("{table}");
        assert_eq!(table.failures(), 0, "{table}");
    }
}

#[test]
fn kernels_agree_with_the_interpreter() {
    agrees(testing::gpu());
    agrees(testing::software());
    agrees(testing::subgroups());
}

#[test]
fn checked_kernels_agree_with_the_interpreter() {
    let options = GpuOptions {
        shaders: ShaderChecks::Checked,
        poison: true,
        ..GpuOptions::from_env().unwrap()
    };
    agrees(&Gpu::with_options(&options).unwrap());
}

#[test]
fn a_bottleneck_is_two_layers() {
    let layers = |net| {
        let network = files().network(net).unwrap();
        Plan::new(&network.graph, true).unwrap().layers.len()
    };
    // One in front, 34 bottlenecks, three heads; one, 16 blocks, four heads.
    assert_eq!(layers(Net::Landmarks), 1 + 2 * 34 + 3);
    assert_eq!(layers(Net::Detector), 1 + 16 + 4);
}

#[test]
fn what_cannot_be_run_is_refused() {
    let gpu = testing::gpu();
    let nets = Nets::new(gpu, files()).unwrap();
    let message = refused!(Picture::new(gpu, 0, 4, &[]), Argument);
    assert!(message.contains("0 x 4"), "{message}");
    refused!(Picture::new(gpu, 2, 2, &[0; 15]), Argument);
    let mut picture = Picture::new(gpu, 2, 2, &[0; 16]).unwrap();
    refused!(picture.replace(gpu, &[0; 12]), Argument);
    let whole = Region::whole(2, 2);
    for region in [
        Region {
            size: vec2(0.0, 1.0),
            ..whole
        },
        Region {
            angle: f32::NAN,
            ..whole
        },
        Region {
            centre: vec2(f32::INFINITY, 0.0),
            ..whole
        },
    ] {
        let result = pollster::block_on(nets.run(Net::Detector, &picture, &region));
        let message = refused!(result, Argument);
        assert!(message.contains("region of a picture"), "{message}");
    }
    refused!(nets.scores(&[[0.0; 2]; 477], 0.0), Argument);
    refused!(nets.scores(&[[f32::NAN; 2]; 478], 0.0), Argument);
}

#[test]
fn scores_depend_on_the_shape_alone() {
    let nets = Nets::new(testing::gpu(), files()).unwrap();
    let points = random(5, "points", 2 * 478);
    let (points, _) = points.as_chunks::<2>();
    let scores = nets.scores(points, 0.0).unwrap();
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    let moved: Vec<_> = points
        .iter()
        .map(|[x, y]| [900.0 + 300.0 * x, 300.0 * y])
        .collect();
    assert_close("moved", &nets.scores(&moved, 0.0).unwrap(), &scores, |_| {
        1e-4
    });
    // A quarter turn, and the angle that undoes it.
    let turned: Vec<_> = points.iter().map(|[x, y]| [-y, *x]).collect();
    let upright = nets.scores(&turned, -std::f32::consts::FRAC_PI_2).unwrap();
    assert_close("upright", &upright, &scores, |_| 1e-4);
    // Points in one place are no error.
    let nowhere = nets.scores(&[[3.0; 2]; 478], 0.0).unwrap();
    assert!(nowhere.iter().all(|score| score.is_finite()));
}

#[test]
fn large_pictures_are_halved() {
    let pixels = [0, 10, 20, 255, 4, 10, 21, 255, 8, 10, 22, 255];
    assert_eq!(half(&pixels, [3, 1]), [2, 10, 21, 255, 8, 10, 22, 255]);
    let gpu = testing::gpu();
    let (width, height) = (4100, 8);
    let bytes: Vec<u8> = (0..width * height)
        .flat_map(|_| [200, 100, 50, 255])
        .collect();
    let picture = Picture::new(gpu, width, height, &bytes).unwrap();
    assert_eq!(
        (picture.width, picture.height, picture.halvings),
        (2050, 4, 1)
    );
    let mut made = Made::new(1, 4);
    made.graph.outputs = vec![0];
    // All inside: at the far end of the picture.
    let region = Region {
        centre: vec2(4000.0, 4.0),
        size: vec2(100.0, 2.0),
        angle: 0.0,
    };
    let found = made.run(gpu, &picture, &region);
    let expected = [200.0, 100.0, 50.0].map(|value| value / 255.0).repeat(16);
    assert_close("crop", &found[0], &expected, |_| 1e-6);
}
