//! Networks as short lists of operations on maps.
//!
//! The files spell out how numbers are widened and keep activations apart from what they follow.
//! Here constants are `f32`, and an activation belongs to the operation before it where nothing
//! else reads that. All shapes are checked against each other: who executes a graph can rely on
//! them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::files::{Model, Numbers, Operator, Stored};

/// Most elements of all maps of a network together: the largest here has 5 million.
const MOST_ELEMENTS: usize = 1 << 25;

/// A network: maps `[height, width, channels]`, known by their numbers in the file, and the
/// operations that compute them, each after those that it reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Graph {
    pub input: usize,
    pub outputs: Vec<usize>,
    /// Shapes of the input and of all maps that are computed.
    pub shapes: BTreeMap<usize, [usize; 3]>,
    /// Learned numbers.
    pub constants: BTreeMap<usize, Vec<f32>>,
    pub operations: Vec<Operation>,
}

/// Computes a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    /// Number of the last of the file's operators that it stands for.
    pub number: usize,
    pub kind: Kind,
    pub inputs: Vec<usize>,
    pub output: usize,
    pub activation: Activation,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// y = Σ w·x + b, with weights `[outputs][tap][inputs]`.
    Conv(Conv),
    /// The same channel by channel, with weights `[tap][channel]`.
    Depthwise(Conv),
    /// Every pixel becomes 2 x 2, with weights `[outputs][2 x 2][inputs]`.
    TransposedConv(Conv),
    Add,
    /// A map times one number for each channel.
    Mul,
    /// The largest of 2 x 2 pixels.
    MaxPool,
    /// The mean over all pixels.
    AveragePool,
    /// More channels of zeros behind the others.
    PadChannels,
    Logistic,
    /// The same numbers, row by row, in another shape.
    Reshape,
    /// One map after another, along the axis.
    Concatenation {
        axis: usize,
    },
    /// Twice the width and height, bilinear: pixel centres at +½, edges clamped.
    Resize,
}

/// A convolution's constants and geometry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conv {
    pub weight: usize,
    pub bias: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Zeros around the map: top, left, bottom, right.
    pub pad: [usize; 4],
}

/// Applied to an operation's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    /// max(x, 0).
    Relu,
    /// x for x ≥ 0, else slope · x, with the constant that has the slope of each channel.
    Prelu(usize),
    /// x · clamp(x + 3, 0, 6) / 6.
    HardSwish,
    /// 1 / (1 + exp(-x)). Files do not fuse it.
    Logistic,
}

/// Numbers of TensorFlow Lite's operators.
pub(crate) mod code {
    pub const ADD: i32 = 0;
    pub const AVERAGE_POOL_2D: i32 = 1;
    pub const CONCATENATION: i32 = 2;
    pub const CONV_2D: i32 = 3;
    pub const DEPTHWISE_CONV_2D: i32 = 4;
    pub const DEQUANTIZE: i32 = 6;
    pub const LOGISTIC: i32 = 14;
    pub const MAX_POOL_2D: i32 = 17;
    pub const MUL: i32 = 18;
    pub const RELU: i32 = 19;
    pub const RESHAPE: i32 = 22;
    pub const RESIZE_BILINEAR: i32 = 23;
    pub const CUSTOM: i32 = 32;
    pub const PAD: i32 = 34;
    pub const PRELU: i32 = 54;
    pub const HARD_SWISH: i32 = 117;
}

/// Height, width and channels of up to four sizes, the first of four being 1.
pub(crate) fn map_shape(sizes: &[usize]) -> Option<[usize; 3]> {
    match *sizes {
        [1, height, width, channels] => Some([height, width, channels]),
        [1, width, channels] => Some([1, width, channels]),
        [1, channels] => Some([1, 1, channels]),
        _ => None,
    }
}

/// Output size and zeros in front and behind for a convolution that covers its input.
fn same(size: usize, kernel: usize, stride: usize) -> (usize, [usize; 2]) {
    let output = size.div_ceil(stride);
    let total = ((output.max(1) - 1) * stride + kernel).saturating_sub(size);
    (output, [total / 2, total - total / 2])
}

impl Graph {
    /// The network of a file.
    ///
    /// # Errors
    /// What is not understood, and where.
    pub fn reduce(model: &Model<'_>, file_bytes: usize) -> Result<Self, String> {
        let [input] = model.inputs[..] else {
            return Err(format!("expected one input, found {}", model.inputs.len()));
        };
        let mut reduction = Reduction {
            model,
            users: users(model),
            widened: BTreeMap::new(),
            elements: 0,
            // In bytes of f32, three times the file.
            budget: file_bytes / 4 * 3,
            graph: Self {
                input,
                outputs: model.outputs.clone(),
                shapes: BTreeMap::new(),
                constants: BTreeMap::new(),
                operations: Vec::new(),
            },
        };
        let shape = reduction.stored_shape(input)?;
        reduction.define(input, shape)?;
        for (number, operator) in model.operators.iter().enumerate() {
            let result = reduction.add(number, operator);
            result.map_err(|reason| format!("operator {number}: {reason}"))?;
        }
        let graph = reduction.graph;
        match graph
            .outputs
            .iter()
            .find(|output| !graph.shapes.contains_key(output))
        {
            Some(output) => Err(format!("nothing computes its output, tensor {output}")),
            None => Ok(graph),
        }
    }

    /// The shape of a map of the network.
    pub fn shape(&self, map: usize) -> [usize; 3] {
        self.shapes.get(&map).copied().unwrap_or_default()
    }

    /// A constant of the network.
    pub fn constant(&self, index: usize) -> &[f32] {
        self.constants.get(&index).map_or(&[], Vec::as_slice)
    }
}

/// How many operators and outputs read each tensor.
fn users(model: &Model<'_>) -> Vec<usize> {
    let mut users = vec![0; model.tensors.len()];
    let inputs = model.operators.iter().flat_map(|operator| &operator.inputs);
    for tensor in inputs.flatten().chain(&model.outputs) {
        users[*tensor] += 1;
    }
    users
}

struct Reduction<'m, 'a> {
    model: &'m Model<'a>,
    users: Vec<usize>,
    /// Results of widening: the constants that they come from.
    widened: BTreeMap<usize, usize>,
    /// Elements of all maps so far.
    elements: usize,
    /// Numbers that constants may still have, each time that they are used: tensors of a hostile
    /// file may share their bytes.
    budget: usize,
    graph: Graph,
}

impl<'a> Reduction<'_, 'a> {
    fn stored(&self, tensor: usize) -> &Stored<'a> {
        &self.model.tensors[tensor]
    }

    fn stored_shape(&self, tensor: usize) -> Result<[usize; 3], String> {
        let sizes = &self.stored(tensor).shape;
        map_shape(sizes).ok_or_else(|| format!("tensor {tensor}: a map of shape {sizes:?}"))
    }

    /// The numbers of a tensor that is constant, widened or not.
    fn numbers(&self, tensor: usize) -> Option<&Stored<'a>> {
        let stored = self.stored(self.widened.get(&tensor).copied().unwrap_or(tensor));
        (!matches!(stored.numbers, Numbers::Computed)).then_some(stored)
    }

    /// Adds a constant to the graph. Returns its sizes.
    fn constant(&mut self, tensor: usize) -> Result<Vec<usize>, String> {
        let stored = self.numbers(tensor);
        let stored = stored.ok_or_else(|| format!("tensor {tensor} is not constant"))?;
        let (shape, numbers) = (stored.shape.clone(), stored.numbers);
        let left = self.budget.checked_sub(numbers.count());
        self.budget = left.ok_or("its constants are more than the file has")?;
        if let Entry::Vacant(constant) = self.graph.constants.entry(tensor) {
            let floats = numbers.floats();
            let floats = floats.ok_or_else(|| format!("tensor {tensor} holds no floats"))?;
            if let Some(index) = floats.iter().position(|number| !number.is_finite()) {
                return Err(format!("tensor {tensor}: element {index} is not finite"));
            }
            constant.insert(floats);
        }
        Ok(shape)
    }

    /// A constant with so many numbers.
    fn vector(&mut self, tensor: usize, length: usize) -> Result<usize, String> {
        let shape = self.constant(tensor)?;
        match shape.iter().product::<usize>() == length {
            true => Ok(tensor),
            false => Err(format!(
                "tensor {tensor}: expected {length} numbers, found shape {shape:?}"
            )),
        }
    }

    /// The shape of a map that has been computed.
    fn computed(&self, map: usize) -> Result<[usize; 3], String> {
        let shape = self.graph.shapes.get(&map);
        (shape.copied()).ok_or_else(|| format!("tensor {map} has not been computed"))
    }

    fn define(&mut self, map: usize, shape: [usize; 3]) -> Result<(), String> {
        let elements = shape
            .iter()
            .try_fold(1, |all: usize, size| all.checked_mul(*size));
        let all = elements.and_then(|elements| self.elements.checked_add(elements));
        match all.filter(|all| elements != Some(0) && *all <= MOST_ELEMENTS) {
            None => Err(format!("a map of shape {shape:?} is empty or too large")),
            Some(_) if self.graph.shapes.contains_key(&map) => {
                Err(format!("tensor {map} is computed twice"))
            }
            Some(all) => {
                self.elements = all;
                self.graph.shapes.insert(map, shape);
                Ok(())
            }
        }
    }

    /// Takes an operator of the file.
    fn add(&mut self, number: usize, operator: &Operator<'_>) -> Result<(), String> {
        let input = |index: usize| {
            let input = operator.inputs.get(index).copied().flatten();
            input.ok_or_else(|| format!("it lacks input {index}"))
        };
        let first = input(0)?;
        if operator.code == code::DEQUANTIZE {
            if !matches!(self.stored(first).numbers, Numbers::F16(_))
                || self.stored(first).shape != self.stored(operator.output).shape
            {
                return Err("expected to widen a constant of 16-bit floats".into());
            }
            self.widened.insert(operator.output, first);
            return Ok(());
        }
        let shape = self.computed(first)?;
        let [height, width, channels] = shape;
        let mut inputs = vec![first];
        let mut activation = Activation::None;
        let (kind, expected) = match operator.code {
            code::RELU | code::PRELU | code::HARD_SWISH => {
                let activation = match operator.code {
                    code::RELU => Activation::Relu,
                    code::HARD_SWISH => Activation::HardSwish,
                    _ => Activation::Prelu(self.vector(input(1)?, channels)?),
                };
                return self.activate(number, first, activation, operator.output);
            }
            code::CONV_2D | code::DEPTHWISE_CONV_2D => {
                let depthwise = operator.code == code::DEPTHWISE_CONV_2D;
                activation = fused(operator.small(if depthwise { 4 } else { 3 })?)?;
                let (conv, expected) =
                    self.conv(operator, depthwise, shape, input(1)?, input(2)?)?;
                let kind = if depthwise {
                    Kind::Depthwise(conv)
                } else {
                    Kind::Conv(conv)
                };
                (kind, expected)
            }
            code::CUSTOM => {
                if operator.custom != b"Convolution2DTransposeBias" {
                    let name = String::from_utf8_lossy(operator.custom);
                    return Err(format!("the operator {name:?} is not known"));
                }
                let (conv, outputs) = self.transposed(operator, channels, input(1)?, input(2)?)?;
                (Kind::TransposedConv(conv), [2 * height, 2 * width, outputs])
            }
            code::MAX_POOL_2D | code::AVERAGE_POOL_2D => {
                activation = fused(operator.small(5)?)?;
                let size = [operator.number(4, 0)?, operator.number(3, 0)?];
                let stride = [operator.number(2, 0)?, operator.number(1, 0)?];
                let even = height % 2 == 0 && width % 2 == 0;
                let whole = size == [height as i32, width as i32];
                match operator.code {
                    code::MAX_POOL_2D if size == [2, 2] && stride == size && even => {
                        (Kind::MaxPool, [height / 2, width / 2, channels])
                    }
                    code::AVERAGE_POOL_2D if whole => (Kind::AveragePool, [1, 1, channels]),
                    _ => {
                        return Err(format!(
                            "a pool of {size:?} with stride {stride:?} over {shape:?}"
                        ));
                    }
                }
            }
            code::ADD | code::MUL => {
                activation = fused(operator.small(0)?)?;
                inputs.push(input(1)?);
                let second = self.computed(inputs[1])?;
                let gates = [1, 1, channels];
                match operator.code {
                    code::ADD if second == shape => (Kind::Add, shape),
                    code::MUL if second == gates => (Kind::Mul, shape),
                    _ => return Err(format!("maps of shapes {shape:?} and {second:?}")),
                }
            }
            code::PAD => {
                let pads = self
                    .numbers(input(1)?)
                    .and_then(|pads| pads.numbers.integers::<8>());
                let after = match pads {
                    Some([0, 0, 0, 0, 0, 0, 0, after]) => usize::try_from(after).ok(),
                    _ => None,
                };
                let after = after.filter(|after| *after <= channels);
                let after = after
                    .ok_or_else(|| format!("expected zeros behind the channels, found {pads:?}"))?;
                (Kind::PadChannels, [height, width, channels + after])
            }
            code::LOGISTIC => (Kind::Logistic, shape),
            code::RESHAPE => (Kind::Reshape, self.reshaped(shape, operator.output)?),
            code::CONCATENATION => {
                activation = fused(operator.small(1)?)?;
                let axes = self.stored(operator.output).shape.len();
                // Without the first axis, and with those that are missing in front.
                let axis = usize::try_from(operator.number(0, 0)?).ok();
                let axis = axis
                    .filter(|axis| (1..axes).contains(axis))
                    .map(|axis| axis + 3 - axes);
                let axis = axis.ok_or("its axis is the first, or none")?;
                let mut expected = shape;
                for index in 1..operator.inputs.len() {
                    inputs.push(input(index)?);
                    let mut other = self.computed(inputs[index])?;
                    expected[axis] += std::mem::replace(&mut other[axis], shape[axis]);
                    if other != shape {
                        return Err(format!("maps of shapes {shape:?} and {other:?}"));
                    }
                }
                (Kind::Concatenation { axis }, expected)
            }
            code::RESIZE_BILINEAR => {
                if operator.small(2)? != 0 || operator.small(3)? == 0 {
                    return Err("expected to resize with half-pixel centres".into());
                }
                (Kind::Resize, [2 * height, 2 * width, channels])
            }
            code => return Err(format!("the operator {code} is not known")),
        };
        let found = self.stored_shape(operator.output)?;
        if found != expected {
            return Err(format!(
                "expected a result of shape {expected:?}, found {found:?}"
            ));
        }
        self.push(Operation {
            number,
            kind,
            inputs,
            output: operator.output,
            activation,
        })
    }

    fn push(&mut self, operation: Operation) -> Result<(), String> {
        let shape = self.stored_shape(operation.output)?;
        self.define(operation.output, shape)?;
        self.graph.operations.push(operation);
        Ok(())
    }

    /// Lets the operation that computes `map` apply an activation.
    fn activate(
        &mut self,
        number: usize,
        map: usize,
        activation: Activation,
        output: usize,
    ) -> Result<(), String> {
        let shape = self.computed(map)?;
        let operations = self.graph.operations.iter_mut();
        let mut makers = operations.filter(|operation| operation.output == map);
        let maker = makers.next().filter(|maker| {
            let kinds = matches!(maker.kind, Kind::Conv(_) | Kind::Depthwise(_) | Kind::Add);
            kinds && maker.activation == Activation::None && self.users[map] == 1
        });
        let maker = maker.ok_or("an activation of what others read, too, or that has one")?;
        (maker.number, maker.output, maker.activation) = (number, output, activation);
        if self.stored_shape(output)? != shape {
            return Err(format!("expected a result of shape {shape:?}"));
        }
        self.graph.shapes.remove(&map);
        self.elements -= shape.iter().product::<usize>();
        self.define(output, shape)
    }

    fn conv(
        &mut self,
        operator: &Operator<'_>,
        depthwise: bool,
        [height, width, channels]: [usize; 3],
        weight: usize,
        bias: usize,
    ) -> Result<(Conv, [usize; 3]), String> {
        let sizes = self.constant(weight)?;
        let (first, [kernel_height, kernel_width], last) = match sizes[..] {
            [first, height, width, last] => (first, [height, width], last),
            _ => return Err(format!("weights of shape {sizes:?}")),
        };
        let outputs = if depthwise { last } else { first };
        let fits = match depthwise {
            true => first == 1 && last == channels,
            false => last == channels,
        };
        let side = |size| (1..=5).contains(&size);
        if !fits || !side(kernel_height) || !side(kernel_width) {
            return Err(format!(
                "weights of shape {sizes:?} for {channels} channels"
            ));
        }
        let stride = [operator.number(1, 0)?, operator.number(2, 0)?];
        let first_dilation = if depthwise { 5 } else { 4 };
        let dilation = [
            operator.number(first_dilation, 1)?,
            operator.number(first_dilation + 1, 1)?,
        ];
        if !matches!(stride, [1, 1] | [2, 2])
            || dilation != [1, 1]
            || (depthwise && operator.number(3, 0)? != 1)
        {
            return Err(format!(
                "a stride of {stride:?} and a dilation of {dilation:?}"
            ));
        }
        let stride = stride[0] as usize;
        let axis = |size: usize, kernel: usize| match operator.small(0)? {
            0 => Ok(same(size, kernel, stride)),
            1 if size >= kernel => Ok(((size - kernel) / stride + 1, [0, 0])),
            padding => Err(format!(
                "a kernel of {kernel} over {size} with padding {padding}"
            )),
        };
        let (height, [top, bottom]) = axis(height, kernel_height)?;
        let (width, [left, right]) = axis(width, kernel_width)?;
        let conv = Conv {
            weight,
            bias: self.vector(bias, outputs)?,
            kernel: [kernel_height, kernel_width],
            stride,
            pad: [top, left, bottom, right],
        };
        Ok((conv, [height, width, outputs]))
    }

    fn transposed(
        &mut self,
        operator: &Operator<'_>,
        channels: usize,
        weight: usize,
        bias: usize,
    ) -> Result<(Conv, usize), String> {
        let sizes = self.constant(weight)?;
        // Padding, which does nothing here, and the strides.
        let (options, _) = operator.custom_options.as_chunks();
        let strides = match options {
            [_, width, height, ..] => [*width, *height].map(i32::from_le_bytes),
            _ => [0, 0],
        };
        match sizes[..] {
            [outputs, 2, 2, inputs] if inputs == channels && strides == [2, 2] => {
                let conv = Conv {
                    weight,
                    bias: self.vector(bias, outputs)?,
                    kernel: [2, 2],
                    stride: 2,
                    pad: [0; 4],
                };
                Ok((conv, outputs))
            }
            _ => Err(format!(
                "weights of shape {sizes:?} with strides {strides:?}"
            )),
        }
    }

    fn reshaped(&self, from: [usize; 3], output: usize) -> Result<[usize; 3], String> {
        let to = self.stored_shape(output)?;
        let elements = |shape: [usize; 3]| shape.iter().product::<usize>();
        match elements(from) == elements(to) {
            true => Ok(to),
            false => Err(format!("a map of shape {from:?} as one of {to:?}")),
        }
    }
}

/// An activation that the file has fused.
fn fused(code: i8) -> Result<Activation, String> {
    match code {
        0 => Ok(Activation::None),
        1 => Ok(Activation::Relu),
        code => Err(format!("the activation {code} is not known")),
    }
}
