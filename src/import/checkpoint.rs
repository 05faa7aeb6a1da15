//! The released weights.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use super::array::{Array, StridedLayout};
use super::budget::opened;
use super::document::dictionaries;
use super::pickle::{Node, beginning};
use super::torch::{self, Storage, TorchArchive};
use crate::config::{ConvConfig, ModelConfig, StyleUnetConfig};
use crate::error::{Error, Result};
use crate::head::dissimilarity;
use crate::sniff::{self, Kind};
use crate::weights::{CONFIG, FloatFormat, TensorFile, TensorWriter, fits, misfits};

const FORMAT: &str = "checkpoint";

/// Beginnings of the names of a model's tensors, up to a dot or the end.
const PARTS: [&str; 5] = [
    "attn_module",
    "nerf_mlp",
    "query_style_tplane",
    "style_tplane",
    "up_renderer",
];

/// Prefixes of names without a meaning: those of `DataParallel`, of `torch.compile`, and of a module
/// around the network.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "model", "_fsdp_wrapped_module"];

/// The name of a set of weights in the outermost dictionary.
const TOP: &str = "top";

/// Last parts of the names of sets of weights, in the order in which they are taken.
const PREFERRED: [&str; 4] = ["state_dict", TOP, "model", "module"];

/// Words in the names of averages of the weights, which are taken last.
const AVERAGES: [&str; 5] = ["ema", "average", "averaged", "shadow", "swa"];

/// Largest number of names that are compared with those of the model.
const MAX_OTHERS: usize = 4096;

/// A checkpoint of the authors' network, as `torch.save` writes it, or converted to safetensors.
///
/// It may be the dictionary of tensors itself or hold it under `state_dict` or any other key, beside
/// optimizer states, configurations and other values. Names may have prefixes: those of
/// `DataParallel` (`module.`), `torch.compile` (`_orig_mod.`) and of a module around the network
/// (`model.`), in any order, have no meaning, others make a [set](Self::sets) of their own. Tensors
/// may have any type of numbers, share storages and be views of them. The file may be compressed by
/// gzip.
///
/// The [`config`](Self::config) is that of the file's metadata, if it has one, else it is inferred:
/// sizes from the shapes of the tensors, so that other sizes than the released ones work, and the
/// rest from the released model. All tensors are checked against it.
///
/// ```no_run
/// use gpavatar::{FloatFormat, import::Checkpoint};
///
/// let checkpoint = Checkpoint::open("one_model.ckpt")?;
/// checkpoint.writer(FloatFormat::F16)?.write("gpavatar.safetensors")?;
/// # Ok::<(), gpavatar::Error>(())
/// ```
pub struct Checkpoint {
    content: Content,
    sets: Vec<String>,
    tensors: BTreeMap<String, Location>,
    ignored: Vec<String>,
    config: ModelConfig,
}

/// The file of a checkpoint.
enum Content {
    Torch {
        what: String,
        bytes: Vec<u8>,
        archive: TorchArchive,
    },
    Safetensors(TensorFile),
}

/// The place of a tensor's elements.
struct Location {
    layout: StridedLayout,
    /// Key of its storage in the archive, or its name in the safetensors file.
    key: String,
}

impl Checkpoint {
    /// Reads the file at `path` and checks its tensors, except for their values.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; and see [`from_bytes`](Self::from_bytes).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(path.display().to_string(), crate::file::read(path)?)
    }

    /// Takes the content of a checkpoint; `what` names it in error messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is neither an archive of PyTorch nor a safetensors file or holds none
    /// of the model's tensors, [`Error::Config`] if their sizes are not those of a model,
    /// [`Error::Tensors`] with all tensors that are missing, unknown, of another shape, or not
    /// completely in the file.
    pub fn from_bytes(what: impl Into<String>, bytes: Vec<u8>) -> Result<Self> {
        let what = what.into();
        let invalid = |reason: String| Error::format(what.as_str(), FORMAT, reason);
        let (bytes, budget) = opened(bytes.into()).map_err(invalid)?;
        let bytes = bytes.into_owned();
        let content = match sniff::kind(&bytes) {
            Kind::Safetensors => Content::Safetensors(TensorFile::from_bytes(what, bytes)?),
            _ => Content::Torch {
                archive: TorchArchive::within(&bytes, &budget).map_err(invalid)?,
                what,
                bytes,
            },
        };
        Self::parse(content, None)
    }

    /// The same file's set of weights of this name, see [`sets`](Self::sets).
    ///
    /// # Errors
    /// [`Error::Argument`] if it has none of this name; and see [`from_bytes`](Self::from_bytes).
    pub fn with_set(self, name: &str) -> Result<Self> {
        Self::parse(self.content, Some(name))
    }

    fn parse(content: Content, wanted: Option<&str>) -> Result<Self> {
        let (mut tensors, mut ignored, mut problems) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut add = |key: &str, set: &Set, find: &dyn Fn() -> Result<Location, String>| {
            let Some((_, name)) = split(key).filter(|(prefix, _)| set.has(prefix)) else {
                ignored.push(without_wrappers(key).to_owned());
                return;
            };
            match find() {
                Err(reason) => problems.push(format!("{name}: {reason}")),
                Ok(location) => {
                    if tensors.insert(name.to_owned(), location).is_some() {
                        problems.push(format!("{name}: expected one tensor, found two"));
                    }
                }
            }
        };
        let what = content.what();
        let invalid = |reason: String| Error::format(what, FORMAT, reason);
        let sets = match &content {
            Content::Safetensors(file) => {
                let mut found = Sets::default();
                file.tensor_names().for_each(|name| found.note(0, "", name));
                let sets = found.chosen(what, wanted, "the file's tensors")?;
                for name in file.tensor_names() {
                    add(name, &sets[0], &|| Location::of_file(file, name));
                }
                sets
            }
            Content::Torch { bytes, archive, .. } => {
                let pickle = archive.pickle(bytes).map_err(invalid)?;
                let mut found = Sets::default();
                let all: Vec<_> = dictionaries(pickle.root()).collect();
                for (i, (path, node)) in all.iter().enumerate() {
                    for (key, value) in node.entries().into_iter().flatten() {
                        if let Some(key) = key.text().filter(|_| torch::is_tensor(value)) {
                            found.note(i, path, key);
                        }
                    }
                }
                let sets = found.chosen(what, wanted, &pickle.root().describe())?;
                let entries = all[sets[0].dictionary].1.entries().into_iter().flatten();
                let entries = entries.filter_map(|(key, node)| Some((key.text()?, node)));
                // Collected because a pickle may set an entry several times.
                for (key, node) in entries.collect::<BTreeMap<_, _>>() {
                    add(key, &sets[0], &|| Location::find(node, archive));
                }
                sets
            }
        };
        fits(what, problems)?;
        let config = match &content {
            Content::Safetensors(file) if file.metadata().contains_key(CONFIG) => {
                ModelConfig::from_json(what, &file.metadata()[CONFIG])?
            }
            _ => infer(&tensors),
        };
        let checkpoint = Self {
            content,
            sets: sets.into_iter().map(|set| set.name).collect(),
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
        fits(self.what(), problems)
    }

    /// The file's path, or its name in error messages.
    pub fn what(&self) -> &str {
        self.content.what()
    }

    /// The sets of weights in the file, the one that was taken first. There is one, unless the file
    /// also holds an average of the weights, or those of a discriminator of the same architecture.
    ///
    /// A set is named by the keys and the prefix that lead to it, joined by dots: `state_dict`,
    /// `ema`, `state_dict.ema`; `top` is the outermost dictionary itself. If nothing else was
    /// [asked for](Self::with_set), then a `state_dict` is taken, else `top`, `model`, or the one
    /// with the most tensors and, of equal ones, the first by name; averages (`ema`) come last.
    pub fn sets(&self) -> &[String] {
        &self.sets
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
            let bytes = self.content.elements(&location.key)?;
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
        Error::tensor(self.what(), problem)
    }
}

impl Content {
    fn what(&self) -> &str {
        match self {
            Self::Torch { what, .. } => what,
            Self::Safetensors(file) => file.what(),
        }
    }

    /// The bytes at a [`Location`]'s key.
    fn elements(&self, key: &str) -> Result<&[u8], String> {
        match self {
            Self::Torch { bytes, archive, .. } => archive.storage(key)?.stored(bytes),
            Self::Safetensors(file) => {
                let tensor = file.tensor(key).map_err(|error| error.to_string())?;
                Ok(tensor.1)
            }
        }
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("what", &self.what())
            .field("sets", &self.sets)
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
        let length = archive.storage(&key)?.stored_length()?;
        tensor.layout.checked_count(length)?;
        node.take(size_of::<(String, Self)>() + 16 * tensor.layout.shape.len())?;
        Ok(Self {
            layout: tensor.layout,
            key,
        })
    }

    /// The place of a tensor in a safetensors file.
    fn of_file(file: &TensorFile, name: &str) -> Result<Self, String> {
        let tensor = file.tensor(name).map_err(|error| error.to_string())?;
        let layout = StridedLayout::dense(tensor.0.dtype, tensor.0.shape.clone(), false)?;
        Ok(Self {
            layout,
            key: name.to_owned(),
        })
    }
}

/// A name's prefix, with its dot, and the name of the model's tensor, if it is of one.
fn split(key: &str) -> Option<(&str, &str)> {
    let mut start = 0;
    for part in key.split('.') {
        if PARTS.contains(&part) {
            return Some(key.split_at(start));
        }
        start += part.len() + 1;
    }
    None
}

/// A name without the prefixes that have no meaning.
fn without_wrappers(mut key: &str) -> &str {
    while let Some((part, rest)) = key.split_once('.')
        && WRAPPERS.contains(&part)
    {
        key = rest;
    }
    key
}

/// The parts of a prefix that have a meaning.
fn meaning(prefix: &str) -> impl Iterator<Item = &str> {
    let parts = prefix.split('.').filter(|part| !part.is_empty());
    parts.filter(|part| !WRAPPERS.contains(part))
}

/// A set of weights in a file.
struct Set {
    name: String,
    /// Number of the dictionary it is in.
    dictionary: usize,
    /// What its tensors' prefixes [mean](meaning).
    prefix: Vec<String>,
    tensors: usize,
}

impl Set {
    /// True for the prefix of the set's tensors.
    fn has(&self, prefix: &str) -> bool {
        meaning(prefix).eq(self.prefix.iter().map(String::as_str))
    }

    /// The order in which sets are taken.
    fn order(&self) -> (bool, usize, Reverse<usize>, &str) {
        let is_average = self
            .name
            .split(['.', '_'])
            .any(|part| AVERAGES.contains(&part));
        let last = self.name.rsplit('.').next();
        let documented = PREFERRED.iter().position(|name| Some(*name) == last);
        let place = documented.unwrap_or(PREFERRED.len());
        (is_average, place, Reverse(self.tensors), &self.name)
    }
}

/// The sets of weights in a file, by dictionary and prefix, and names of other tensors.
#[derive(Default)]
struct Sets {
    found: BTreeMap<(usize, Vec<String>), Set>,
    others: Vec<String>,
}

impl Sets {
    /// Counts a tensor of a dictionary that `path` leads to.
    fn note(&mut self, dictionary: usize, path: &str, key: &str) {
        let Some((prefix, _)) = split(key) else {
            if self.others.len() < MAX_OTHERS {
                self.others.push(beginning(key).to_owned());
            }
            return;
        };
        let prefix: Vec<String> = meaning(prefix).map(str::to_owned).collect();
        let set = self
            .found
            .entry((dictionary, prefix))
            .or_insert_with_key(|(_, prefix)| {
                let path = Some(path).filter(|path| !path.is_empty());
                let path = path.into_iter().chain(prefix.iter().map(String::as_str));
                let name = path.collect::<Vec<_>>().join(".");
                Set {
                    name: if name.is_empty() { TOP.into() } else { name },
                    dictionary,
                    prefix: prefix.clone(),
                    tensors: 0,
                }
            });
        set.tensors += 1;
    }

    /// The sets, the one to take first. A few tensors that have a model's names by chance are none.
    fn chosen(self, what: &str, wanted: Option<&str>, place: &str) -> Result<Vec<Set>> {
        let mut sets: Vec<Set> = self.found.into_values().collect();
        let Some(most) = sets.iter().map(|set| set.tensors).max() else {
            let mut others = self.others;
            let distance = |name: &str| {
                let pairs = name
                    .split('.')
                    .flat_map(|part| PARTS.map(|known| (part, known)));
                pairs.map(|(part, known)| dissimilarity(part, known)).min()
            };
            others.sort_by_cached_key(|name| (distance(name), name.clone()));
            others.truncate(3);
            let nearest = match others.join(", ") {
                names if names.is_empty() => String::new(),
                names => format!("; the nearest names are {names}"),
            };
            let reason = format!(
                "expected a dictionary of tensors, one of them query_style_tplane, found none in \
                 {place}{nearest}"
            );
            return Err(Error::format(what, FORMAT, reason));
        };
        sets.retain(|set| 2 * set.tensors >= most || wanted == Some(&set.name));
        sets.sort_by(|a, b| a.order().cmp(&b.order()));
        if let Some(wanted) = wanted {
            let Some(place) = sets.iter().position(|set| set.name == wanted) else {
                let names = sets.iter().map(|set| beginning(&set.name)).take(8);
                let names = names.collect::<Vec<_>>().join(", ");
                return Err(Error::argument(
                    format_args!("set of weights in {what}"),
                    format_args!("one of {names}"),
                    format_args!("{wanted:?}"),
                ));
            };
            sets[..=place].rotate_right(1);
        }
        Ok(sets)
    }
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
