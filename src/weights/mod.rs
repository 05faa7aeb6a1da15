//! The numbers of a model, from a file or made up, checked against its configuration.

mod file;
pub mod fold;
#[cfg(feature = "import")]
pub mod import;
pub(crate) mod pack;
mod synthetic;
mod writer;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, ModelConfig, Result, TensorSpec};

pub use file::TensorFile;
pub use synthetic::SyntheticRules;
#[cfg(test)]
pub(crate) use synthetic::uniform;
pub use writer::{FloatFormat, TensorWriter};

/// Metadata key of the configuration.
const CONFIG: &str = "config";
/// Prefix of the tensors that describe the head model instead of the network.
pub(crate) const HEAD_MODEL: &str = "head_model.";

/// The weights of a model, with the names and shapes of the authors' checkpoint.
///
/// In a file they are a safetensors file whose metadata holds the [`ModelConfig`] as JSON under
/// `config`. It lists exactly the tensors of [`ModelConfig::tensors`], as floats of whatever type
/// [`TensorFile::f32`] reads; beside them only names that start with `head_model.`, which are the
/// [head model](crate::HeadModel)'s.
#[derive(Debug)]
pub struct Weights {
    config: ModelConfig,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(TensorFile),
    Synthetic { seed: u64, rules: SyntheticRules },
}

impl Weights {
    /// Maps the file at `path` into memory and checks all of it. The file must not be changed while
    /// the weights are in use.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or mapped, and those of [`from_file`](Self::from_file).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::from_file(TensorFile::open(path)?)
    }

    /// Takes the content of a weights file and checks it.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::from_file(TensorFile::from_bytes("weights in memory", bytes)?)
    }

    /// Takes weights from `file` and checks them, every value included: none may be NaN or
    /// infinite.
    ///
    /// # Errors
    /// [`Error::Format`] if the file is no safetensors file or has no readable configuration,
    /// [`Error::Config`] if that is not valid, [`Error::Tensors`] with all the tensors that are
    /// missing, unexpected, of another shape or type, or not finite.
    pub fn from_file(file: TensorFile) -> Result<Self> {
        let json = file.metadata().get(CONFIG).ok_or_else(|| {
            let reason = format!("its metadata has no entry {CONFIG:?}");
            Error::format(file.what(), "weights file", reason)
        })?;
        let config = ModelConfig::from_json(format!("configuration of {}", file.what()), json)?;
        let specs = config.tensors()?;
        let found = file
            .shapes()
            .filter(|(name, _)| !name.starts_with(HEAD_MODEL))
            .collect();
        let mut problems = misfits(&specs, &found);
        problems.extend(found.keys().filter_map(|name| file.float_problem(name)));
        fits(file.what(), problems)?;
        Ok(Self {
            config,
            source: Source::File(file),
        })
    }

    /// Made-up weights: the same for the same seed and rules, on every machine. Values are drawn
    /// when asked for.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not valid, [`Error::Tensors`] if the rules do not
    /// list exactly its tensors with their shapes.
    pub fn synthetic(config: ModelConfig, seed: u64, rules: SyntheticRules) -> Result<Self> {
        let problems = misfits(&config.tensors()?, &rules.shapes().collect());
        fits("table of synthetic weights", problems)?;
        Ok(Self {
            config,
            source: Source::Synthetic { seed, rules },
        })
    }

    /// The configuration that the tensors fit.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The file that the weights come from, for what else it holds. None if they are made up.
    pub fn file(&self) -> Option<&TensorFile> {
        match &self.source {
            Source::File(file) => Some(file),
            Source::Synthetic { .. } => None,
        }
    }

    /// Dimensions of tensor `name`, outermost first.
    ///
    /// # Errors
    /// [`Error::Tensors`] if there is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        match &self.source {
            Source::File(file) => file.shape(name),
            Source::Synthetic { rules, .. } => Ok(rules.get(name)?.shape()),
        }
    }

    /// Values of tensor `name`, row-major. They are borrowed where the file holds them as aligned
    /// 32-bit floats, and otherwise made for this call.
    ///
    /// # Errors
    /// [`Error::Tensors`] if there is no such tensor.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        match &self.source {
            Source::File(file) => file.f32(name),
            Source::Synthetic { seed, rules } => Ok(rules.get(name)?.values(*seed, name).into()),
        }
    }

    /// A file of these weights that is ready to be written, with floats in `format`; metadata and
    /// head model are those of the file that the weights come from.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not valid; that of weights always is.
    pub fn writer(&self, format: FloatFormat) -> Result<TensorWriter<'_>> {
        let mut metadata = self
            .file()
            .map_or_else(BTreeMap::new, |file| file.metadata().clone());
        metadata.insert(CONFIG.into(), self.config.to_json()?);
        let mut writer = TensorWriter::new(metadata);
        for spec in self.config.tensors()? {
            let name = spec.name.clone();
            if spec.required || self.shape(&name).is_ok() {
                writer.floats(spec.name, &spec.shape, format, move || self.f32(&name));
            }
        }
        if let Some(file) = self.file() {
            let all = file.tensor_names();
            for name in all.filter(|name| name.starts_with(HEAD_MODEL)) {
                writer.copy(file, name)?;
            }
        }
        Ok(writer)
    }
}

/// What keeps tensors of these names and shapes from being those of a model, one line each.
fn misfits(specs: &[TensorSpec], found: &BTreeMap<&str, &[usize]>) -> Vec<String> {
    let mut problems = Vec::new();
    for TensorSpec {
        name,
        shape,
        required,
    } in specs
    {
        let found = match found.get(name.as_str()) {
            None if *required => "nothing".into(),
            Some(found) if found != shape => format!("{found:?}"),
            _ => continue,
        };
        problems.push(format!("{name}: expected shape {shape:?}, found {found}"));
    }
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let unexpected = found.iter().filter(|(name, _)| !known.contains(*name));
    problems
        .extend(unexpected.map(|(name, shape)| {
            format!("{name}: expected no such tensor, found shape {shape:?}")
        }));
    problems
}

fn fits(what: &str, problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Tensors {
        what: what.into(),
        problems,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Attention, PointWeighting};

    /// Weights of a model that is as small as the sizes allow.
    pub(crate) fn tiny_weights() -> Weights {
        let config = ModelConfig {
            source_size: 16,
            plane_size: 8,
            plane_channels: 4,
            points: 5,
            neighbours: 3,
            point_feature: 7,
            point_hidden: 16,
            point_output: 8,
            feature_hidden: 24,
            rgb_hidden: 16,
            low_res_size: 4,
            low_res_channels: 8,
            output_size: 8,
            style_size: 12,
            style_layers: 2,
            encoder_channels: BTreeMap::from([(4, 8), (8, 4), (16, 4)]),
            super_resolver_channels: BTreeMap::from([(4, 8), (8, 4)]),
            encoder_decoder_channels: BTreeMap::from([(4, 12), (8, 8)]),
            super_resolver_decoder_channels: BTreeMap::from([(4, 8), (8, 4)]),
            attention: Attention::Ratio,
            point_weighting: PointWeighting::Paper,
            ..ModelConfig::default()
        };
        let rules = SyntheticRules::new(&config).unwrap();
        Weights::synthetic(config, 3, rules).unwrap()
    }

    fn reopen(writer: TensorWriter) -> Result<Weights> {
        Weights::from_bytes(writer.into_bytes().unwrap())
    }

    #[track_caller]
    fn tensor_problems(result: Result<Weights>) -> Vec<String> {
        match result {
            Err(Error::Tensors { problems, .. }) => problems,
            other => panic!("expected Error::Tensors, found {other:?}"),
        }
    }

    #[test]
    fn a_file_holds_the_weights_it_was_written_from() {
        let made = tiny_weights();
        for (format, round) in [
            (FloatFormat::F32, (|x| x) as fn(f32) -> f32),
            (FloatFormat::F16, |x| half::f16::from_f32(x).to_f32()),
            (FloatFormat::Bf16, |x| half::bf16::from_f32(x).to_f32()),
        ] {
            let read = reopen(made.writer(format).unwrap()).unwrap();
            assert_eq!(read.config(), made.config());
            for spec in made.config().tensors().unwrap() {
                let name = &spec.name;
                let rounded: Vec<f32> = made.f32(name).unwrap().iter().map(|&x| round(x)).collect();
                let values = read.f32(name).unwrap();
                assert_eq!(values, rounded, "{name} as {format:?}");
                assert_eq!(read.shape(name).unwrap(), spec.shape);
                // Allocators align more than bytes need.
                let borrowed = matches!(values, Cow::Borrowed(_));
                assert_eq!(borrowed, format == FloatFormat::F32, "{name} as {format:?}");
            }
        }
    }

    #[test]
    fn metadata_and_head_model_survive_another_writing() {
        let made = tiny_weights();
        let mut writer = made.writer(FloatFormat::F16).unwrap();
        writer.metadata.insert("licence".into(), "CC0-1.0".into());
        writer.ints("head_model.parents", &[3], &[-1, 0, 1]);
        writer.floats("head_model.unchecked", &[1], FloatFormat::F32, || {
            Ok(vec![f32::NAN].into())
        });
        let once = reopen(writer).unwrap();
        let twice = reopen(once.writer(FloatFormat::F32).unwrap()).unwrap();
        let file = twice.file().unwrap();
        assert_eq!(file.metadata()["licence"], "CC0-1.0");
        assert_eq!(
            file.i64("head_model.parents").unwrap(),
            [-1, 0, 1].as_slice()
        );
        assert!(file.f32("head_model.unchecked").unwrap()[0].is_nan());
    }

    #[test]
    fn tensors_that_nothing_reads_may_be_missing() {
        let made = tiny_weights();
        let mut writer = made.writer(FloatFormat::F16).unwrap();
        let all = writer.tensors.len();
        writer.tensors.retain(|name, _| !name.contains(".toRGB."));
        assert!(writer.tensors.len() < all);
        let weights = reopen(writer).unwrap();
        assert!(weights.f32("style_tplane.toRGB.0.weight").is_err());
        let again = weights.writer(FloatFormat::F16).unwrap();
        assert_eq!(again.tensors.len(), all - 4);
    }

    #[test]
    fn a_configuration_is_needed_and_checked() {
        let made = tiny_weights();
        let opened = |config: Option<&str>| {
            let mut writer = made.writer(FloatFormat::F16).unwrap();
            writer.metadata.remove(CONFIG);
            writer
                .metadata
                .extend(config.map(|json| (CONFIG.into(), json.into())));
            reopen(writer)
        };
        for config in [
            None,
            Some("{"),
            Some("{\"neighbors\": 8}"),
            Some("{\"points\": -1}"),
        ] {
            let result = opened(config);
            assert!(
                matches!(result, Err(Error::Format { .. })),
                "{config:?}: {result:?}"
            );
        }
        let result = opened(Some("{\"neighbours\": 9}"));
        assert!(matches!(result, Err(Error::Config { .. })), "{result:?}");
        // The released sizes are a valid configuration, but not that of these tensors.
        assert!(tensor_problems(opened(Some("{}"))).len() > 500);
    }

    #[test]
    fn rules_must_fit_the_configuration() {
        let config = tiny_weights().config().clone();
        let other = SyntheticRules::new(&ModelConfig::default()).unwrap();
        assert!(tensor_problems(Weights::synthetic(config, 0, other)).len() > 500);
    }

    #[test]
    fn every_tensor_problem_is_reported_at_once() {
        let made = tiny_weights();
        let floats = |writer: &mut TensorWriter, name: &str, values: Vec<f32>| {
            let shape = [values.len()];
            writer.floats(name, &shape, FloatFormat::F32, || Ok(values.into()));
        };
        let mut writer = made.writer(FloatFormat::F16).unwrap();
        floats(&mut writer, "nerf_mlp.surprise", vec![0.0; 2]);
        floats(&mut writer, "attn_module.scale", vec![0.0; 2]);
        floats(
            &mut writer,
            "nerf_mlp.density_layers.0.bias",
            vec![f32::NAN],
        );
        writer.ints("up_renderer.final_linear.bias", &[12], &[0; 12]);
        writer.tensors.remove("up_renderer.final_conv.bias");
        assert_eq!(
            tensor_problems(reopen(writer)),
            [
                "up_renderer.final_conv.bias: expected shape [8], found nothing",
                "attn_module.scale: expected shape [1], found [2]",
                "nerf_mlp.surprise: expected no such tensor, found shape [2]",
                "nerf_mlp.density_layers.0.bias: expected finite values, \
                 found NaN or infinity at element 0",
                "up_renderer.final_linear.bias: expected type F16, BF16, F32 or F64, found I32",
            ]
        );
    }
}
