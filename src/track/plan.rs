//! Which layers compute a network on a device, and what is left to the host.
//!
//! Sums, pools and paddings fuse with the convolution before them where nothing else reads what is
//! between. What only moves numbers (reshaping, appending, spreading pixels) is left to the host: it
//! is the end of every network.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Activation, Conv, Graph, Kind, Operation};
use super::outputs::{Tail, TailKind};

/// Most input channels of a [`LayerKind::Block`].
const MOST_INNER: usize = 128;

/// Computes a map on the device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    /// Number in the file of the last operator that it stands for.
    pub number: usize,
    pub kind: LayerKind,
    /// The map that it reads, if it is not the skipped one alone.
    pub input: Option<usize>,
    pub skip: Option<Skip>,
    pub output: usize,
    /// Of the output, on the device.
    pub shape: [usize; 3],
    pub activation: Activation,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LayerKind {
    Conv(Conv),
    /// As a convolution of 1x1 with four times the outputs, `[2 x 2][output]`.
    TransposedConv(Conv),
    Depthwise(Conv),
    /// A depthwise convolution, then one of 1x1.
    Block {
        depthwise: Conv,
        conv: Conv,
    },
    /// Point by point, perhaps times the gates of each channel.
    Merge {
        gates: Option<usize>,
    },
    Average,
    Double,
}

/// A map that is added, channels that it lacks being zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Skip {
    pub map: usize,
    /// Whether it is twice as large, and the largest of 2 x 2 pixels counts.
    pub pooled: bool,
}

/// How a network is computed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub layers: Vec<Layer>,
    /// Maps that the device hands to the host.
    pub results: Vec<usize>,
    pub tail: Vec<Tail>,
}

impl Plan {
    /// Software adapters gain nothing from fused `blocks`: their workgroup memory is memory.
    ///
    /// # Errors
    /// What no kernel computes, and where.
    pub fn new(graph: &Graph, blocks: bool) -> Result<Self, String> {
        let mut reader = BTreeMap::<usize, Vec<usize>>::new();
        let mut makers = BTreeMap::new();
        for (index, operation) in graph.operations.iter().enumerate() {
            for input in &operation.inputs {
                reader.entry(*input).or_default().push(index);
            }
            makers.insert(operation.output, index);
        }
        let mut planner = Planner {
            graph,
            blocks,
            readers: reader,
            makers,
            consumed: BTreeSet::new(),
            computed: BTreeSet::from([graph.input]),
            on_host: BTreeSet::new(),
            plan: Self {
                layers: Vec::new(),
                results: Vec::new(),
                tail: Vec::new(),
            },
        };
        for (index, operation) in graph.operations.iter().enumerate() {
            if !planner.consumed.contains(&index) {
                let planned = planner.add(operation);
                planned.map_err(|reason| format!("operator {}: {reason}", operation.number))?;
            }
        }
        for output in &graph.outputs {
            planner.handed(*output)?;
        }
        Ok(planner.plan)
    }
}

struct Planner<'g> {
    graph: &'g Graph,
    blocks: bool,
    /// Operations that read a map.
    readers: BTreeMap<usize, Vec<usize>>,
    /// The operation that computes a map.
    makers: BTreeMap<usize, usize>,
    /// Operations that an earlier layer stands for, too.
    consumed: BTreeSet<usize>,
    /// Maps on the device.
    computed: BTreeSet<usize>,
    /// Maps that the host has or computes.
    on_host: BTreeSet<usize>,
    plan: Plan,
}

impl<'g> Planner<'g> {
    /// The one operation that reads a map which is no output.
    fn only_reader(&self, map: usize) -> Option<(usize, &'g Operation)> {
        match self.readers.get(&map).map(Vec::as_slice) {
            Some([index]) if !self.graph.outputs.contains(&map) => {
                Some((*index, &self.graph.operations[*index]))
            }
            _ => None,
        }
    }

    /// A map as a skipped one: of the map below pools and paddings, if that has been computed.
    fn view(&self, mut map: usize) -> Option<Skip> {
        let mut pooled = false;
        while !self.computed.contains(&map) {
            let maker = &self.graph.operations[*self.makers.get(&map)?];
            match maker.kind {
                _ if maker.activation != Activation::None => return None,
                Kind::PadChannels => {}
                Kind::MaxPool if !pooled => pooled = true,
                _ => return None,
            }
            map = maker.inputs[0];
        }
        Some(Skip { map, pooled })
    }

    fn push(&mut self, layer: Layer) {
        self.computed.insert(layer.output);
        self.plan.layers.push(layer);
    }

    /// Makes sure that a map is on the device.
    fn on_device(&mut self, map: usize) -> Result<usize, String> {
        if !self.computed.contains(&map) {
            let skip = self.view(map);
            let skip = skip.ok_or_else(|| format!("map {map} is not computed on the device"))?;
            self.push(Layer {
                number: self
                    .makers
                    .get(&map)
                    .map_or(0, |maker| self.graph.operations[*maker].number),
                kind: LayerKind::Merge { gates: None },
                input: None,
                skip: Some(skip),
                output: map,
                shape: self.graph.shape(map),
                activation: Activation::None,
            });
        }
        Ok(map)
    }

    /// Makes sure that the host gets a map.
    fn handed(&mut self, map: usize) -> Result<usize, String> {
        if !self.on_host.contains(&map) {
            self.on_device(map)?;
            self.on_host.insert(map);
            self.plan.results.push(map);
        }
        Ok(map)
    }

    fn add(&mut self, operation: &'g Operation) -> Result<(), String> {
        let shape = self.graph.shape(operation.output);
        let inputs = &operation.inputs;
        let (kind, skip) = match &operation.kind {
            Kind::Conv(conv) => (LayerKind::Conv(conv.clone()), None),
            Kind::Depthwise(conv) => (LayerKind::Depthwise(conv.clone()), None),
            Kind::TransposedConv(conv) => return self.transposed(operation, conv),
            // They are views, until something else reads them.
            Kind::MaxPool | Kind::PadChannels if operation.activation == Activation::None => {
                return Ok(());
            }
            Kind::MaxPool | Kind::PadChannels => return Err("an activation of a pool".into()),
            Kind::Add => {
                let second = match self.view(inputs[1]) {
                    Some(skip) => skip,
                    None => Skip {
                        map: self.on_device(inputs[1])?,
                        pooled: false,
                    },
                };
                (LayerKind::Merge { gates: None }, Some(second))
            }
            Kind::Mul => (
                LayerKind::Merge {
                    gates: Some(self.on_device(inputs[1])?),
                },
                None,
            ),
            Kind::AveragePool => (LayerKind::Average, None),
            Kind::Resize => (LayerKind::Double, None),
            Kind::Logistic if !self.on_host.contains(&inputs[0]) => {
                (LayerKind::Merge { gates: None }, None)
            }
            Kind::Logistic | Kind::Reshape | Kind::Concatenation { .. } => {
                return self.on_the_host(operation);
            }
        };
        let mut layer = Layer {
            number: operation.number,
            kind,
            input: Some(self.on_device(inputs[0])?),
            skip,
            output: operation.output,
            shape,
            activation: match operation.kind {
                Kind::Logistic => Activation::Logistic,
                _ => operation.activation,
            },
        };
        self.extend(&mut layer);
        self.push(layer);
        Ok(())
    }

    /// Lets a convolution stand for what follows it, too.
    fn extend(&mut self, layer: &mut Layer) {
        if self.blocks
            && let LayerKind::Depthwise(depthwise) = &layer.kind
            && layer.activation == Activation::None
            && layer.shape[2] <= MOST_INNER
            && let Some((index, next)) = self.only_reader(layer.output)
            && let Kind::Conv(conv) = &next.kind
            && conv.kernel == [1, 1]
            && conv.stride == 1
        {
            layer.kind = LayerKind::Block {
                depthwise: depthwise.clone(),
                conv: conv.clone(),
            };
            self.take(layer, index);
            layer.activation = next.activation;
        }
        let summed = matches!(layer.kind, LayerKind::Conv(_) | LayerKind::Block { .. });
        if summed
            && layer.activation == Activation::None
            && let Some((index, next)) = self.only_reader(layer.output)
            && next.kind == Kind::Add
            && let Some(other) = next.inputs.iter().find(|input| **input != layer.output)
            && let Some(skip) = self.view(*other)
        {
            layer.skip = Some(skip);
            self.take(layer, index);
            layer.activation = next.activation;
        }
        if layer.activation == Activation::None
            && let Some((index, next)) = self.only_reader(layer.output)
            && next.kind == Kind::Logistic
        {
            self.take(layer, index);
            layer.activation = Activation::Logistic;
        }
    }

    fn take(&mut self, layer: &mut Layer, index: usize) {
        let operation = &self.graph.operations[index];
        self.consumed.insert(index);
        layer.number = operation.number;
        layer.output = operation.output;
        if !matches!(layer.kind, LayerKind::TransposedConv(_)) {
            layer.shape = self.graph.shape(operation.output);
        }
    }

    /// A layer at the input's resolution, whose pixels the host spreads.
    fn transposed(&mut self, operation: &'g Operation, conv: &Conv) -> Result<(), String> {
        let [height, width, channels] = self.graph.shape(operation.output);
        let mut layer = Layer {
            number: operation.number,
            kind: LayerKind::TransposedConv(conv.clone()),
            input: Some(self.on_device(operation.inputs[0])?),
            skip: None,
            output: operation.output,
            shape: [height / 2, width / 2, 4 * channels],
            activation: operation.activation,
        };
        self.extend(&mut layer);
        let output = layer.output;
        self.plan.results.push(output);
        self.on_host.insert(output);
        self.plan.layers.push(layer);
        self.plan.tail.push(Tail {
            kind: TailKind::Spread {
                width: width / 2,
                channels,
            },
            inputs: vec![output],
            output,
        });
        Ok(())
    }

    fn on_the_host(&mut self, operation: &'g Operation) -> Result<(), String> {
        if operation.activation != Activation::None {
            return Err("an activation of numbers that are moved".into());
        }
        let inputs = operation.inputs.iter().map(|input| self.handed(*input));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let kind = match operation.kind {
            Kind::Concatenation { axis } => {
                let run = |map: &usize| self.graph.shape(*map)[axis..].iter().product();
                TailKind::Append(inputs.iter().map(run).collect())
            }
            Kind::Logistic => TailKind::Logistic,
            _ => TailKind::Reshape,
        };
        self.on_host.insert(operation.output);
        self.plan.tail.push(Tail {
            kind,
            inputs,
            output: operation.output,
        });
        Ok(())
    }
}
