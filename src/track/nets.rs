//! The networks on a device.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::files::{Net, NetFiles, Network};
use super::graph::{Activation, Conv, Graph};
use super::mixer::{self, Mixer, SCORES};
use super::outputs::{Outputs, Tail};
use super::plan::{Layer, LayerKind, Plan};
use super::region::Region;
use crate::error::{Error, Result};
use crate::gpu::kernels::{params, track as kernels};
use crate::gpu::{
    Bindings, Conditions, Dispatch, Gpu, Program, ProgramBuilder, Readings, Recording, Resource,
    Tensor, Timer, Uploads, locked,
};
use crate::options::{Format, Formats};
use crate::weights::pack;
use crate::{AdapterKind, ModelOptions, Profile};

/// The tracker's networks on a device. Cloning shares them.
#[derive(Clone)]
pub struct Nets {
    inner: Arc<Inner>,
}

struct Inner {
    gpu: Gpu,
    detector: Runner,
    landmarks: Runner,
    segmentation: Option<Runner>,
    mixer: Mixer,
}

/// A picture on the device, for the networks to look at.
#[derive(Debug)]
pub struct Picture {
    pixels: Tensor,
    width: u32,
    height: u32,
    /// How often it was halved.
    halvings: u32,
    /// Brings the pixels of later frames.
    frames: Uploads,
}

/// A network's program.
struct Runner {
    program: Program,
    /// Uniform of the crop, changed with each run.
    region: Tensor,
    uploads: Uploads,
    /// Width and height of the input.
    size: u32,
    /// Maps that the host gets, and what brings them.
    results: Vec<usize>,
    readings: Readings,
    /// The picture seen last, and its bindings.
    seen: Mutex<Option<(wgpu::Buffer, Arc<Bindings>)>>,
    tail: Vec<Tail>,
    outputs: Vec<usize>,
}

impl Nets {
    /// Uploads the networks' weights and plans their programs. Kernels compile when a network first
    /// runs.
    ///
    /// # Errors
    /// [`Error::Format`] if a network has operations that no kernel computes, [`Error::Limit`] if
    /// it does not fit the device, [`Error::Gpu`] if the device failed.
    pub fn new(gpu: &Gpu, files: &NetFiles) -> Result<Self> {
        Self::with_options(gpu, files, &ModelOptions::default())
    }

    /// The same, keeping the results of each layer if the options ask for a trace.
    pub(crate) fn with_options(
        gpu: &Gpu,
        files: &NetFiles,
        options: &ModelOptions,
    ) -> Result<Self> {
        gpu.scoped("uploading the tracker's networks", || {
            let runner = |net| {
                let network = files.network(net);
                network
                    .map(|network| Runner::new(gpu, network, net, options))
                    .transpose()
            };
            let missing = || Error::argument("the networks", "a detector and landmarks", "fewer");
            Ok(Self {
                inner: Arc::new(Inner {
                    gpu: gpu.clone(),
                    detector: runner(Net::Detector)?.ok_or_else(missing)?,
                    landmarks: runner(Net::Landmarks)?.ok_or_else(missing)?,
                    segmentation: runner(Net::Segmentation)?,
                    mixer: files.mixer.clone(),
                }),
            })
        })
    }

    /// The device that they are on.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.inner.gpu
    }

    /// Whether there is a network for segmentation.
    #[must_use]
    pub fn has_segmentation(&self) -> bool {
        self.inner.segmentation.is_some()
    }

    /// Runs a network on a region of a picture, outside of which everything is black. Returns its
    /// outputs:
    ///
    /// - [`Net::Detector`]: regressors `[896][16]` in pixels of its input, 128 a side, and logits
    ///   `[896]`;
    /// - [`Net::Landmarks`]: points `[478][x, y, z]` in pixels of its input, 256 a side, the logit of
    ///   a face's presence, and how far the tongue is out, in [0, 1];
    /// - [`Net::Segmentation`]: person in [0, 1], `[256][256]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the region is not finite or is empty, or if there is no such network;
    /// [`Error::Gpu`] if the device failed.
    pub async fn run(&self, net: Net, picture: &Picture, region: &Region) -> Result<Vec<Vec<f32>>> {
        let mut outputs = Outputs::default();
        self.run_into(net, picture, region, &mut outputs).await?;
        Ok(outputs.into_all())
    }

    /// The same, into the memory of the network's last run.
    pub(crate) async fn run_into(
        &self,
        net: Net,
        picture: &Picture,
        region: &Region,
        outputs: &mut Outputs,
    ) -> Result<()> {
        let runner = self.runner(net)?;
        let crop = picture.crop(region, runner.size, net)?;
        runner.run(self.gpu(), picture, &crop, outputs).await
    }

    /// Times of a network's kernels on a region of a picture.
    ///
    /// # Errors
    /// See [`Nets::run`].
    pub async fn profile(&self, net: Net, picture: &Picture, region: &Region) -> Result<Profile> {
        let runner = self.runner(net)?;
        let gpu = self.gpu();
        let crop = picture.crop(region, runner.size, net)?;
        let mut timer = Timer::new(gpu)?;
        gpu.scoped("tracking", || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            runner.record(gpu, &mut encoder, picture, &crop, Some(&mut timer))?;
            timer.submit(encoder)
        })?;
        timer.profile().await
    }

    /// Expression scores in [0, 1] of the 478 landmarks' x and y, turned by `angle` so that the face
    /// is upright: minus the region's angle for a face that has been found in it, 0 to compute what
    /// MediaPipe does. The first score is of a neutral face and is to be ignored; the others belong
    /// to the 51 ARKit channels from `browDownLeft` to `noseSneerRight`, in alphabetical order.
    ///
    /// It does not depend on where the points are and how large the face is, and runs on the CPU.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not 478 points or one that is read is not finite.
    pub fn scores(&self, points: &[[f32; 2]], angle: f32) -> Result<[f32; SCORES]> {
        let mut workspace = mixer::Workspace::default();
        (self.inner.mixer).scores_of(points, |point| *point, angle, &mut workspace)
    }

    pub(crate) fn mixer(&self) -> &Mixer {
        &self.inner.mixer
    }

    /// Results of all layers of the last run, by their map's number in the network's file, if they
    /// are traced.
    #[cfg(any(test, feature = "reference"))]
    pub(crate) async fn traced(&self, net: Net) -> Result<BTreeMap<usize, Vec<f32>>> {
        let mut maps = BTreeMap::new();
        for (name, tensor) in self.runner(net)?.program.taps() {
            if let Ok(map) = name.parse() {
                maps.insert(map, tensor.read(self.gpu()).await?);
            }
        }
        Ok(maps)
    }

    fn runner(&self, net: Net) -> Result<&Runner> {
        match net {
            Net::Detector => Ok(&self.inner.detector),
            Net::Landmarks => Ok(&self.inner.landmarks),
            Net::Segmentation => self.inner.segmentation.as_ref().ok_or_else(|| {
                Error::argument("the networks", "the file for segmentation, too", "none")
            }),
        }
    }
}

impl Picture {
    /// Pictures are halved until no side is longer: the networks see at most 256 pixels of them.
    const MOST: u32 = 4096;

    /// Uploads RGBA bytes, row by row. Alpha is not used.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no pixel or the bytes are not as many as the pixels need.
    pub fn new(gpu: &Gpu, width: u32, height: u32, pixels: &[u8]) -> Result<Self> {
        let expected = 4 * u64::from(width) * u64::from(height);
        Error::unless(
            expected > 0 && expected == pixels.len() as u64,
            format_args!("bytes of a picture of {width} x {height}"),
            format_args!("at least one pixel, {expected} bytes"),
            pixels.len(),
        )?;
        let (mut size, mut halved, mut halvings) = ([width, height], None::<Vec<u8>>, 0);
        while size[0].max(size[1]) > Self::MOST {
            let from = halved.as_deref().unwrap_or(pixels);
            let smaller = half(from, size);
            (size, halved, halvings) = (
                size.map(|side| side.div_ceil(2)),
                Some(smaller),
                halvings + 1,
            );
        }
        let pixels = halved.as_deref().unwrap_or(pixels);
        let pixels = gpu.scoped("uploading a picture", || {
            Tensor::from_slice(gpu, "picture", pixels)
        });
        Ok(Self {
            pixels: pixels?,
            width: size[0],
            height: size[1],
            halvings,
            frames: Uploads::new(4 * u64::from(size[0]) * u64::from(size[1])),
        })
    }

    /// Replaces the pixels by others of a picture of the same size: frames of a video reuse their
    /// memory.
    ///
    /// # Errors
    /// [`Error::Argument`] if the bytes are not as many as before, or the picture is so large that
    /// it has been halved; [`Error::Gpu`] if the device failed.
    pub fn replace(&mut self, gpu: &Gpu, pixels: &[u8]) -> Result<()> {
        let expected = 4 * self.width as usize * self.height as usize;
        let fits = self.halvings == 0 && pixels.len() == expected;
        Error::unless(fits, "bytes of a frame", expected, pixels.len())?;
        gpu.scoped("uploading a frame", || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let parts = [(pixels, &self.pixels)];
            self.frames.record(gpu, &mut encoder, &parts)?;
            gpu.queue().submit([encoder.finish()]);
            Ok(())
        })
    }

    /// The whole of it, in the pixels that it came with; of one that was halved, the right and lower
    /// edge may be a pixel or two further out.
    pub(crate) fn whole(&self) -> Region {
        Region::whole(self.width << self.halvings, self.height << self.halvings)
    }

    fn crop(&self, region: &Region, size: u32, net: Net) -> Result<params::Crop> {
        let Region {
            centre,
            size: extent,
            angle,
        } = *region;
        let fits = centre.is_finite() && extent.is_finite() && angle.is_finite();
        let fits = fits && extent.min_element() > 0.0;
        let expected = "finite numbers and a positive size";
        Error::unless(
            fits,
            "region of a picture",
            expected,
            format_args!("{region:?}"),
        )?;
        let scale = 0.5f32.powi(self.halvings as i32);
        let turn = glam::Vec2::from_angle(angle) * scale;
        // Of values in 0..1 here.
        let [gain, shift] = net.input_range();
        Ok(params::Crop {
            centre: (scale * centre).to_array(),
            along: (turn * extent.x).to_array(),
            down: (turn.perp() * extent.y).to_array(),
            picture_size: [self.width, self.height],
            size,
            gain: 255.0 * gain,
            shift,
            ..Default::default()
        })
    }
}

/// Means of 2 x 2 pixels; at an odd border of those that there are.
pub(crate) fn half(pixels: &[u8], [width, height]: [u32; 2]) -> Vec<u8> {
    let [width, height] = [width as usize, height as usize];
    let mut halved = Vec::with_capacity(width.div_ceil(2) * height.div_ceil(2) * 4);
    for row in (0..height).step_by(2) {
        let rows = [row, (row + 1).min(height - 1)];
        for column in (0..width).step_by(2) {
            let columns = [column, (column + 1).min(width - 1)];
            for channel in 0..4 {
                let mut sum = 2;
                for (row, column) in rows.iter().flat_map(|r| columns.map(|c| (r, c))) {
                    sum += u16::from(pixels[(row * width + column) * 4 + channel]);
                }
                halved.push((sum / 4) as u8);
            }
        }
    }
    halved
}

impl Runner {
    fn new(gpu: &Gpu, network: &Network, net: Net, options: &ModelOptions) -> Result<Self> {
        let graph = &network.graph;
        let name = net.name();
        let blocks = gpu.kind() == AdapterKind::Gpu;
        let plan = Plan::new(graph, blocks).map_err(|reason| {
            Error::format(
                format!("the network for {name}"),
                "network of known layers",
                reason,
            )
        })?;
        let [size, ..] = graph.shape(graph.input).map(|side| side as u32);
        let mut b = ProgramBuilder::new(gpu, Formats::F32).options(options);
        b.stage(name);
        let region = Tensor::uniform(gpu, "region", &[params::Crop::default()])?;
        let input = b.tensor("crop", Format::F32, [size, size, 3])?;
        let kernel = b.kernel(&kernels::CROP, &[])?;
        b.dispatch(
            Dispatch::new("crop", &kernel)
                .bind("region", &region)
                .bind("output", &input)
                .threads([size, size, 1])
                .cost(30.0 * f64::from(size * size), 2.0 * input.bytes() as f64),
        );
        let mut layers = Layers {
            readers: readers(&plan),
            maps: BTreeMap::from([(graph.input, input)]),
            graph,
            gpu,
        };
        for layer in &plan.layers {
            layers.add(&mut b, layer)?;
        }
        let results = plan.results.iter().map(|map| layers.map(*map).cloned());
        let readings = Readings::new(results.collect::<Result<_>>()?);
        Ok(Self {
            results: plan.results,
            readings,
            seen: Mutex::default(),
            program: b.finish()?,
            region,
            uploads: Uploads::new(size_of::<params::Crop>() as u64),
            size,
            tail: plan.tail,
            outputs: network.outputs.clone(),
        })
    }

    fn record(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        picture: &Picture,
        crop: &params::Crop,
        timer: Option<&mut Timer>,
    ) -> Result<()> {
        (self.uploads).record(gpu, encoder, &[(bytemuck::bytes_of(crop), &self.region)])?;
        self.program.record(Recording {
            encoder,
            bindings: &[&self.bindings(gpu, picture)],
            conditions: Conditions::default(),
            times: timer.into(),
        })
    }

    /// Bindings of a picture. Those of the last one are kept: frames of a video share a picture.
    fn bindings(&self, gpu: &Gpu, picture: &Picture) -> Arc<Bindings> {
        let buffer = picture.pixels.buffer();
        let mut seen = locked(&self.seen);
        if let Some((last, bindings)) = &*seen
            && last == buffer
        {
            return bindings.clone();
        }
        let resources = [("picture", Resource::Tensor(&picture.pixels))];
        let bindings = Arc::new(self.program.bind(gpu, &resources));
        *seen = Some((buffer.clone(), bindings.clone()));
        bindings
    }

    async fn run(
        &self,
        gpu: &Gpu,
        picture: &Picture,
        crop: &params::Crop,
        outputs: &mut Outputs,
    ) -> Result<()> {
        let (reading, encoder) = gpu.scoped("tracking", || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            self.record(gpu, &mut encoder, picture, crop, None)?;
            let reading = self.readings.record(gpu, &mut encoder);
            Ok((reading, encoder))
        })?;
        let submit = move |gpu: &Gpu| Ok(((), gpu.queue().submit([encoder.finish()])));
        gpu.submitted("tracking", submit).await?;
        let results = &self.results;
        let show = |index: usize, tensor: &Tensor, memory: &[u8]| {
            tensor.unpad(memory, outputs.map(results[index]));
        };
        reading.read(gpu, show).await?;
        outputs.finish(&self.tail, &self.outputs);
        Ok(())
    }
}

impl Net {
    /// Name of its stage in profiles.
    fn name(self) -> &'static str {
        match self {
            Self::Detector => "face detector",
            Self::Landmarks => "landmarks",
            Self::Segmentation => "segmentation",
        }
    }
}

/// How many layers read each map; results are read for ever.
fn readers(plan: &Plan) -> BTreeMap<usize, usize> {
    let mut readers = BTreeMap::new();
    for layer in &plan.layers {
        for map in layer.reads() {
            *readers.entry(map).or_default() += 1;
        }
    }
    for map in &plan.results {
        *readers.entry(*map).or_default() += 1;
    }
    readers
}

impl Layer {
    fn reads(&self) -> impl Iterator<Item = usize> {
        let gates = match self.kind {
            LayerKind::Merge { gates } => gates,
            _ => None,
        };
        let skip = self.skip.map(|skip| skip.map);
        self.input.into_iter().chain(gates).chain(skip)
    }
}

/// Plans the layers of a network.
struct Layers<'a> {
    gpu: &'a Gpu,
    graph: &'a Graph,
    readers: BTreeMap<usize, usize>,
    maps: BTreeMap<usize, Tensor>,
}

impl Layers<'_> {
    fn map(&self, map: usize) -> Result<&Tensor> {
        let what = "map of a network";
        (self.maps.get(&map)).ok_or_else(|| Error::argument(what, "a computed one", map))
    }

    fn add(&mut self, b: &mut ProgramBuilder<'_>, layer: &Layer) -> Result<()> {
        let name = format!("{} {}", layer.kind.name(), layer.number);
        let [height, width, channels] = layer.shape.map(|side| side as u32);
        if channels == 1 && width * height > 1 {
            // Elsewhere single channels are not stored in vec4s.
            return Err(Error::argument(name, "more than one channel", 1));
        }
        let output = b.tensor(
            &name,
            Format::F32,
            [height, width, channels.next_multiple_of(4)],
        )?;
        let output = output.shaped([height, width, channels]);
        let input = layer.input.map(|map| self.map(map)).transpose()?;
        let skip = layer.skip.map(|skip| self.map(skip.map)).transpose()?;
        let first = input.or(skip).unwrap_or(&output);
        let (quads, pixels) = (channels.div_ceil(4), width * height);
        let inputs = first.channels().div_ceil(4);
        let parameters = params::TrackLayer {
            input_size: [first.width(), first.height()],
            output_size: [width, height],
            pad: layer.kind.pad(),
            input_channels: inputs,
            output_channels: quads,
            skip_channels: skip.map_or(0, |skip| skip.channels().div_ceil(4)),
            ..Default::default()
        };
        let mut constants = vec![
            (
                "ACTIVATION",
                match layer.activation {
                    Activation::HardSwish => kernels::layer::HARD_SWISH,
                    Activation::Logistic => kernels::layer::LOGISTIC,
                    _ => 0,
                },
            ),
            (
                "SKIP",
                match layer.skip {
                    None => 0,
                    Some(skip) if skip.pooled => kernels::layer::POOLED,
                    Some(_) => kernels::layer::SAME,
                },
            ),
        ];
        let software = self.gpu.kind() == AdapterKind::Cpu;
        let source = match &layer.kind {
            // A tile of sixteen pixels.
            LayerKind::Conv(_) | LayerKind::TransposedConv(_) if software && pixels >= 16 => {
                match self.gpu.has_subgroups() {
                    true => &kernels::CONV_SUBGROUP,
                    false => &kernels::CONV_REGISTER,
                }
            }
            LayerKind::Conv(_) | LayerKind::TransposedConv(_) => &kernels::CONV,
            LayerKind::Depthwise(conv)
                if software && conv.kernel == [3, 3] && conv.stride == 1 && conv.pad == [1; 4] =>
            {
                &kernels::DEPTHWISE_REGISTER
            }
            LayerKind::Depthwise(_) => &kernels::DEPTHWISE,
            LayerKind::Block { .. } => &kernels::BLOCK,
            LayerKind::Merge { .. } => &kernels::MERGE,
            LayerKind::Average => &kernels::AVERAGE,
            LayerKind::Double => &kernels::DOUBLE,
        };
        match &layer.kind {
            LayerKind::Conv(conv)
            | LayerKind::Depthwise(conv)
            | LayerKind::Block {
                depthwise: conv, ..
            } => {
                if conv.kernel[0] != conv.kernel[1] {
                    let kernel = format_args!("{:?}", conv.kernel);
                    return Err(Error::argument(&name, "a square kernel", kernel));
                }
                if source.constants.contains(&"SIDE") {
                    constants.push(("SIDE", conv.kernel[0] as u32));
                    constants.push(("STRIDE", conv.stride as u32));
                }
            }
            LayerKind::Merge { gates } => {
                constants.push(("MAP", u32::from(input.is_some())));
                constants.push(("GATED", u32::from(gates.is_some())));
            }
            _ => {}
        }
        let wide = u32::from(quads > 2);
        if source.constants.contains(&"WIDE") {
            constants.push(("WIDE", wide));
        }
        let kernel = b.kernel(source, &constants)?;
        let dispatch = Dispatch::new(&name, &kernel)
            .uniform("layer", parameters)
            .bind("input", first)
            .bind("skip", skip.unwrap_or(first))
            .bind("channels", &self.channels(layer)?)
            .bind("output", &output);
        let weights = |values: &[f32]| Tensor::from_slice(self.gpu, &name, values);
        let elements = f64::from(pixels) * f64::from(channels);
        let moved = (first.bytes() + output.bytes()) as f64;
        let (dispatch, products) = match &layer.kind {
            LayerKind::Conv(conv) | LayerKind::TransposedConv(conv) => {
                let (packed, products) = self.conv(&layer.kind, conv, layer.shape, first);
                let dispatch = dispatch.bind("weights", &weights(&packed)?);
                let threads = match source.constants.contains(&"WIDE") {
                    true => [pixels.div_ceil(16), quads.div_ceil(2 << wide), 1],
                    false => [pixels.div_ceil(4), quads.div_ceil(2), 1],
                };
                (dispatch.threads(threads), products)
            }
            LayerKind::Depthwise(conv) => {
                let packed = pack::rows(self.graph.constant(conv.weight), channels);
                let dispatch = dispatch.bind("weights", &weights(&packed)?);
                let threads = match std::ptr::eq(source, &kernels::DEPTHWISE_REGISTER) {
                    true => width.div_ceil(4) * height.div_ceil(2) * quads,
                    false => pixels * quads,
                };
                (dispatch.row_of_threads(threads), conv.taps() as f64)
            }
            LayerKind::Block { depthwise, conv } => {
                let inner = first.channels();
                let mut kernels = pack::rows(self.graph.constant(depthwise.weight), inner);
                kernels.extend(pack::vector(self.graph.constant(depthwise.bias)));
                let packed = pack::blocks(self.graph.constant(conv.weight), channels, inner);
                let dispatch = dispatch
                    .bind("weights", &weights(&packed)?)
                    .bind("kernels", &weights(&kernels)?);
                let share = depthwise.taps() as f64 / f64::from(channels);
                let tiles = pixels.div_ceil(kernels::block::PIXELS);
                (
                    dispatch.grid([tiles, 1, 1]),
                    f64::from(inner) * (1.0 + share),
                )
            }
            LayerKind::Merge { gates } => {
                let gates = gates.map(|map| self.map(map)).transpose()?;
                let dispatch = dispatch.bind("gates", gates.unwrap_or(first));
                (dispatch.row_of_threads(pixels * quads), 1.0)
            }
            LayerKind::Average => {
                let read = f64::from(first.width() * first.height());
                (dispatch.grid([quads, 1, 1]), read)
            }
            LayerKind::Double => (dispatch.row_of_threads(pixels * quads), 4.0),
        };
        b.dispatch(dispatch.cost(2.0 * products * elements, moved));
        b.tap(layer.output.to_string(), &output)?;
        self.maps.insert(layer.output, output);
        for map in layer.reads() {
            let left = self.readers.entry(map).or_default();
            *left = left.saturating_sub(1);
            if *left == 0
                && let Some(tensor) = self.maps.remove(&map)
            {
                b.release(tensor);
            }
        }
        Ok(())
    }

    /// Packed weights, and products for each output.
    fn conv(
        &self,
        kind: &LayerKind,
        conv: &Conv,
        shape: [usize; 3],
        input: &Tensor,
    ) -> (Vec<f32>, f64) {
        let weight = self.graph.constant(conv.weight);
        let inputs = input.channels() as usize;
        let outputs = shape[2];
        // From [output][tap][input].
        let transposed = matches!(kind, LayerKind::TransposedConv(_));
        let taps = if transposed { 1 } else { conv.taps() };
        let mut ordered = Vec::with_capacity(weight.len());
        for output in 0..outputs {
            for input in 0..inputs {
                for tap in 0..taps {
                    let row = match transposed {
                        // The output is [2 x 2][channel].
                        true => output % (outputs / 4) * 4 + output / (outputs / 4),
                        false => output * taps + tap,
                    };
                    ordered.push(weight[row * inputs + input]);
                }
            }
        }
        let sizes = [outputs, inputs, taps].map(|size| size as u32);
        let packed = pack::convolution(&ordered, sizes[0], sizes[1], sizes[2]);
        (packed, (taps * inputs) as f64)
    }

    /// Biases and slopes of a layer's channels, four of each after the other.
    fn channels(&self, layer: &Layer) -> Result<Tensor> {
        let outputs = layer.shape[2];
        let mut bias = match &layer.kind {
            LayerKind::Conv(conv) | LayerKind::Depthwise(conv) | LayerKind::Block { conv, .. } => {
                self.graph.constant(conv.bias).to_vec()
            }
            LayerKind::TransposedConv(conv) => self.graph.constant(conv.bias).repeat(4),
            LayerKind::Merge { .. } | LayerKind::Average | LayerKind::Double => Vec::new(),
        };
        bias.resize(outputs.next_multiple_of(4), 0.0);
        let mut slope = match layer.activation {
            Activation::Prelu(slope) => self.graph.constant(slope).to_vec(),
            Activation::Relu => vec![0.0; outputs],
            Activation::None | Activation::HardSwish | Activation::Logistic => vec![1.0; outputs],
        };
        slope.resize(outputs.next_multiple_of(4), 0.0);
        let (bias, _) = bias.as_chunks::<4>();
        let (slope, _) = slope.as_chunks::<4>();
        let channels: Vec<_> = bias
            .iter()
            .zip(slope)
            .map(|(bias, slope)| [*bias, *slope])
            .collect();
        Tensor::from_slice(self.gpu, "channels", &channels)
    }
}

impl LayerKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::TransposedConv(_) => "transposed conv",
            Self::Depthwise(_) => "depthwise",
            Self::Block { .. } => "block",
            Self::Merge { .. } => "merge",
            Self::Average => "average",
            Self::Double => "double",
        }
    }

    /// Columns and rows of zeros in front.
    fn pad(&self) -> [u32; 2] {
        match self {
            Self::Conv(conv)
            | Self::Depthwise(conv)
            | Self::Block {
                depthwise: conv, ..
            } => [conv.pad[1] as u32, conv.pad[0] as u32],
            _ => [0; 2],
        }
    }
}

impl Conv {
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

#[cfg(test)]
pub(crate) mod tests;
