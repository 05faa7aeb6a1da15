//! The released weights.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;

use super::array::{Array, StridedLayout};
use super::pickle::Node;
use super::torch::{self, Storage, TorchArchive};
use crate::config::{ConvConfig, ModelConfig, StyleUnetConfig};
use crate::error::{Error, Result};
use crate::weights::{CONFIG, FloatFormat, TensorWriter, fits, misfits};

const FORMAT: &str = "PyTorch checkpoint";

/// Beginnings of the names of a model's tensors, up to a dot or the end.
const PARTS: [&str; 5] = [
    "attn_module",
    "nerf_mlp",
    "query_style_tplane",
    "style_tplane",
    "up_renderer",
];

/// Largest number of dictionaries around that of the tensors.
const MAX_DEPTH: usize = 4;

/// A checkpoint of the authors' network, as `torch.save` writes it.
///
/// It may be the dictionary of tensors itself or hold it under `state_dict` or any other key, beside
/// optimizer states, configurations and other values. Names may have the prefix `module.` of
/// `DataParallel`. Tensors may have any type of numbers, share storages and be views of them.
///
/// The [`config`](Self::config) is inferred: sizes from the shapes of the tensors, so that other
/// sizes than the released ones work, and the rest from the released model. All tensors are checked
/// against it.
///
/// ```no_run
/// use gpavatar::{FloatFormat, import::Checkpoint};
///
/// let checkpoint = Checkpoint::open("one_model.ckpt")?;
/// checkpoint.writer(FloatFormat::F16)?.write("gpavatar.safetensors")?;
/// # Ok::<(), gpavatar::Error>(())
/// ```
pub struct Checkpoint {
    what: String,
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    archive: TorchArchive,
    tensors: BTreeMap<String, Location>,
    ignored: Vec<String>,
    config: ModelConfig,
}

/// The place of a tensor's elements.
struct Location {
    layout: StridedLayout,
    /// Key of its storage in the archive.
    key: String,
}

impl Checkpoint {
    /// Maps the file at `path` into memory and checks its tensors, except for their values. The file
    /// must not be changed while the checkpoint is in use.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or mapped; and see [`from_bytes`](Self::from_bytes).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path.display().to_string(), crate::file::map(path)?)
    }

    /// Takes the content of a checkpoint; `what` names it in error messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not an archive of PyTorch or holds none of the model's tensors,
    /// [`Error::Config`] if their sizes are not those of a model, [`Error::Tensors`] with all
    /// tensors that are missing, unknown, of another shape, or not completely in the file.
    pub fn from_bytes(what: impl Into<String>, bytes: Vec<u8>) -> Result<Self> {
        Self::parse(what.into(), Box::new(bytes))
    }

    fn parse(what: String, bytes: Box<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self> {
        let (mut tensors, mut ignored, mut problems) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut read = |bytes: &[u8]| {
            let archive = TorchArchive::parse(bytes)?;
            let pickle = archive.pickle(bytes)?;
            let entries = state_dict(pickle.root())?.entries().into_iter().flatten();
            let entries = entries.filter_map(|(key, node)| Some((key.text()?, node)));
            // Collected because a pickle may set an entry several times.
            for (key, node) in entries.collect::<BTreeMap<_, _>>() {
                let name = without_wrapper(key);
                if !is_part(name) {
                    ignored.push(name.to_owned());
                    continue;
                }
                match Location::find(node, &archive) {
                    Err(reason) => problems.push(format!("{name}: {reason}")),
                    Ok(location) => {
                        if tensors.insert(name.to_owned(), location).is_some() {
                            problems.push(format!("{name}: expected one tensor, found two"));
                        }
                    }
                }
            }
            Ok(archive)
        };
        let archive = read((*bytes).as_ref())
            .map_err(|reason: String| Error::format(what.as_str(), FORMAT, reason))?;
        fits(&what, problems)?;
        let config = infer(&tensors);
        let checkpoint = Self {
            what,
            bytes,
            archive,
            tensors,
            ignored,
            config,
        };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    fn check(&self) -> Result<()> {
        let shapes = self.tensors.iter();
        let shapes = shapes.map(|(name, location)| (name.as_str(), &*location.layout.shape));
        let problems = misfits(&self.config.tensors()?, &shapes.collect());
        fits(&self.what, problems)
    }

    /// The file's path, or its name in error messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The configuration that the tensors fit.
    ///
    /// Shapes do not determine the numbers of neighbours and samples, the focal length, and the weighting
    /// of points and sources: they are those of the released model. The volume-rendered image is
    /// assumed to have a quarter of the final one's width and height.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The same checkpoint with a changed configuration, for values that shapes do not determine.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not valid, [`Error::Tensors`] if the tensors do not
    /// fit it.
    pub fn with_config(mut self, change: impl FnOnce(&mut ModelConfig)) -> Result<Self> {
        change(&mut self.config);
        self.check()?;
        Ok(self)
    }

    /// Names of the dictionary's other entries, which are left out, such as the networks of training
    /// losses (`percep_loss.*`).
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Dimensions of tensor `name`, outermost first.
    ///
    /// # Errors
    /// [`Error::Tensors`] if there is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.location(name)?.layout.shape)
    }

    /// Values of tensor `name`, row-major, converted from the file's type. Native 32-bit floats are
    /// borrowed from the file.
    ///
    /// # Errors
    /// [`Error::Tensors`] if the tensor is missing, its values are damaged in the file, or one is
    /// NaN or infinite.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let location = self.location(name)?;
        let values = || {
            let entry = self.archive.storage(&location.key)?;
            let bytes = entry.stored((*self.bytes).as_ref())?;
            let values = Array::new(location.layout.clone(), bytes.into())?.into_f32()?;
            match values.iter().position(|value| !value.is_finite()) {
                None => Ok(values),
                Some(i) => Err(format!(
                    "expected finite values, found {} at {i}",
                    values[i]
                )),
            }
        };
        values().map_err(|problem| self.problem(format!("{name}: {problem}")))
    }

    /// Writes a weights file of this checkpoint, floats in `format`. Values are read one tensor at a
    /// time.
    ///
    /// # Errors
    /// None: the configuration of a checkpoint is valid.
    pub fn writer(&self, format: FloatFormat) -> Result<TensorWriter<'_>> {
        let metadata = [(CONFIG.into(), self.config.to_json()?)];
        let mut writer = TensorWriter::new(metadata.into());
        for (name, location) in &self.tensors {
            writer.floats(name, &location.layout.shape, format, || self.f32(name));
        }
        Ok(writer)
    }

    fn location(&self, name: &str) -> Result<&Location> {
        let location = self.tensors.get(name);
        location.ok_or_else(|| self.problem(format!("{name}: expected a tensor, found nothing")))
    }

    fn problem(&self, problem: String) -> Error {
        Error::tensor(&self.what, problem)
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("what", &self.what)
            .field("tensors", &self.tensors.len())
            .field("ignored", &self.ignored)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Location {
    /// The place of a tensor, which has to lie completely in the archive.
    fn find(node: Node, archive: &TorchArchive) -> Result<Self, String> {
        let tensor = torch::tensor(node, archive.big_endian())?;
        let Storage::Archived(key) = tensor.storage else {
            return Err("expected elements in the archive, found them in the pickle".into());
        };
        let length = archive.storage(key)?.stored_length()?;
        tensor.layout.checked_count(length)?;
        Ok(Self {
            layout: tensor.layout,
            key: key.to_owned(),
        })
    }
}

/// The name without the prefix of `DataParallel`.
fn without_wrapper(name: &str) -> &str {
    name.strip_prefix("module.").unwrap_or(name)
}

/// True for names of the model's tensors.
fn is_part(name: &str) -> bool {
    let (part, _) = name.split_once('.').unwrap_or((name, ""));
    PARTS.contains(&part)
}

/// The dictionary with the model's tensors: the outermost one that has any.
fn state_dict<'p, 'a>(root: Node<'p, 'a>) -> Result<Node<'p, 'a>, String> {
    let mut queue = VecDeque::from([(root, 0)]);
    let mut seen = HashSet::new();
    while let Some((node, depth)) = queue.pop_front() {
        // Values may be shared, and contain themselves.
        if depth > MAX_DEPTH || !seen.insert(node.identity()) {
            continue;
        }
        let mut entries = node.entries().into_iter().flatten();
        let is_ours = |(key, value): (Node, Node)| {
            key.text().is_some_and(|key| is_part(without_wrapper(key))) && torch::is_tensor(value)
        };
        if entries.any(is_ours) {
            return Ok(node);
        }
        let values = node.entries().into_iter().flatten();
        queue.extend(values.map(|(_, value)| (value, depth + 1)));
    }
    Err(format!(
        "expected a dictionary of tensors, one of them query_style_tplane, found none in {}",
        root.describe()
    ))
}

/// The configuration of a checkpoint's tensors. Sizes of missing tensors and unlikely sizes are those
/// of the released model; the check of all tensors then names the tensor.
fn infer(tensors: &BTreeMap<String, Location>) -> ModelConfig {
    let released = ModelConfig::default();
    let size = |name: &str, axis: usize| -> Option<u32> {
        let size = tensors.get(name)?.layout.shape.get(axis)?;
        u32::try_from(*size).ok()
    };
    let count = |name: &dyn Fn(u32) -> String| -> u32 {
        let missing = |i: &u32| !tensors.contains_key(&name(*i));
        (0..).find(missing).unwrap_or(0)
    };

    let query = "query_style_tplane";
    let plane_size = size(query, 5).unwrap_or(released.plane_size);
    let source_size = match tensors.contains_key("style_tplane.conv_body_first.weight") {
        true => plane_size,
        false => plane_size.saturating_mul(2),
    };
    let levels = count(&|i| format!("up_renderer.stylegan_decoder.to_rgbs.{i}.bias"));
    let output_size = match levels {
        1..=16 => 4 << levels,
        _ => released.output_size,
    };
    let style_mlp = "style_tplane.stylegan_decoder.style_mlp";
    let style_layers = count(&|i| format!("{style_mlp}.{}.weight", 2 * i + 1));

    let points = |name: &str, axis| size(&format!("nerf_mlp.points_querier.{name}.weight"), axis);
    let radiance = |name: &str| size(&format!("nerf_mlp.{name}.weight"), 0);
    let mut config = ModelConfig {
        source_size,
        plane_size,
        plane_channels: size(query, 3).unwrap_or(released.plane_channels),
        points: points("points_feature", 0).unwrap_or(released.points),
        point_feature: points("points_feature", 1).unwrap_or(released.point_feature),
        point_hidden: points("point_layers.0", 0).unwrap_or(released.point_hidden),
        point_output: points("point_layers.2", 0).unwrap_or(released.point_output),
        feature_hidden: radiance("feature_layers.0").unwrap_or(released.feature_hidden),
        rgb_hidden: radiance("rgb_layers.0").unwrap_or(released.rgb_hidden),
        low_res_size: output_size / 4,
        low_res_channels: radiance("rgb_layers.2").unwrap_or(released.low_res_channels),
        output_size,
        style_size: size("style_tplane.final_linear.weight", 0).unwrap_or(released.style_size),
        style_layers: match style_layers {
            0 => released.style_layers,
            layers => layers,
        },
        ..released
    };
    // Only the resolutions that a network has, so that small ones do not list those of the released.
    let channels = |unet: &StyleUnetConfig| {
        let mut channels = BTreeMap::new();
        let mut add = |resolution, conv: &ConvConfig| {
            let found = size(&format!("{}.weight", conv.name), 0);
            channels.insert(resolution, found.unwrap_or(conv.out_channels));
        };
        let layers = unet.layers();
        add(unet.input, &layers.first);
        for block in layers.first_block.iter().chain(&layers.down) {
            add(block.conv2.size, &block.conv2);
        }
        channels
    };
    let decoder_channels = |unet: &StyleUnetConfig| {
        let constant = size(&unet.constant_input(), 1);
        let mut channels = BTreeMap::from([(4, constant.unwrap_or(unet.decoder_channels_at(4)))]);
        for conv in unet.layers().style_convs() {
            let found = size(&format!("{}.modulated_conv.weight", conv.name), 1);
            channels.insert(conv.size, found.unwrap_or(conv.out_channels));
        }
        channels
    };
    let (encoder, super_resolver) = (config.encoder(), config.super_resolver());
    config.encoder_channels = channels(&encoder);
    config.super_resolver_channels = channels(&super_resolver);
    config.encoder_decoder_channels = decoder_channels(&encoder);
    config.super_resolver_decoder_channels = decoder_channels(&super_resolver);
    config
}

#[cfg(test)]
mod tests;
