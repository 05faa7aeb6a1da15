//! The weights of a model, from a file or synthetic, checked against its configuration.

mod file;
pub(crate) mod fold;
pub(crate) mod pack;
mod synthetic;
mod writer;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::{ModelConfig, TensorSpec};
use crate::error::{Error, Result};

pub use file::TensorFile;
#[cfg(feature = "import")]
pub(crate) use file::expect_shape;
pub use synthetic::SyntheticRules;
#[cfg(test)]
pub(crate) use synthetic::uniform;
pub use writer::{FloatFormat, TensorWriter};

/// Metadata key of the configuration.
pub(crate) const CONFIG: &str = "config";
/// A tensor that every copy of the authors' weights has, whatever stands before its name.
const AUTHORS: &str = "query_style_tplane";
/// Prefix of the tensors that describe the head model instead of the network.
pub(crate) const HEAD_MODEL: &str = "head_model.";

/// The weights of a model, with the names and shapes of the authors' checkpoint.
///
/// A weights file is a safetensors file whose metadata holds the [`ModelConfig`] as JSON under
/// `config`. It lists exactly the tensors of [`ModelConfig::tensors`], as floats of a type that
/// [`TensorFile::f32`] reads, and those of a [head model](crate::HeadModel), whose names start with
/// `head_model.`.
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
    /// Reads the file at `path` and checks all of it.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read or is no regular file; and see [`from_bytes`](Self::from_bytes).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::from_file(TensorFile::open(path)?)
    }

    /// Takes the content of a weights file and checks it, every value included: none may be NaN or
    /// infinite.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a safetensors file or has no readable configuration,
    /// [`Error::Config`] if that is not valid, [`Error::Tensors`] with all tensors that are missing,
    /// unexpected, of another shape or type, or not finite.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        Self::from_file(TensorFile::from_bytes("weights in memory", bytes.into())?)
    }

    pub(crate) fn from_file(file: TensorFile) -> Result<Self> {
        let json = file.metadata().get(CONFIG).ok_or_else(|| {
            let mut reason = format!("its metadata has no entry {CONFIG:?}");
            if file.tensor_names().any(|name| name.contains(AUTHORS)) {
                reason.push_str(
                    ". It has the authors' tensors: `gpavatar import checkpoint` makes a weights \
                     file of it",
                );
            }
            Error::format(file.what(), "weights file", reason)
        })?;
        let config = ModelConfig::from_json(format!("configuration of {}", file.what()), json)?;
        let specs = config.tensors()?;
        let shapes = file.shapes();
        let found = shapes
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

    /// Synthetic weights: the same for the same seed and rules, on every machine. Values are drawn
    /// on demand.
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

    /// The file of the weights, which may hold more. None if they are synthetic.
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

    /// Values of tensor `name`, row-major: borrowed where the file holds aligned 32-bit floats,
    /// otherwise made for this call.
    ///
    /// # Errors
    /// [`Error::Tensors`] if there is no such tensor.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        match &self.source {
            Source::File(file) => file.f32(name),
            Source::Synthetic { seed, rules } => Ok(rules.get(name)?.values(*seed, name).into()),
        }
    }

    /// Writes these weights to a file, floats in `format`, with the metadata and head model of the
    /// file that they come from.
    ///
    /// # Errors
    /// None: the configuration of weights is valid.
    pub fn writer(&self, format: FloatFormat) -> Result<TensorWriter<'_>> {
        let metadata = self.file().map(|file| file.metadata().clone());
        let mut metadata = metadata.unwrap_or_default();
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

/// The differences between the tensors of a model and those found, one line each.
pub(crate) fn misfits(specs: &[TensorSpec], found: &BTreeMap<&str, &[usize]>) -> Vec<String> {
    let mut problems = Vec::new();
    for spec in specs {
        let (name, shape) = (&spec.name, &spec.shape);
        let found = match found.get(name.as_str()) {
            None if spec.required => "nothing".into(),
            Some(found) if found != shape => format!("{found:?}"),
            _ => continue,
        };
        problems.push(format!("{name}: expected shape {shape:?}, found {found}"));
    }
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    for (name, shape) in found.iter().filter(|(name, _)| !known.contains(*name)) {
        problems.push(format!(
            "{name}: expected no such tensor, found shape {shape:?}"
        ));
    }
    problems
}

/// Fails if there are problems.
pub(crate) fn fits(what: &str, problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Tensors {
        what: what.into(),
        problems,
    })
}

#[cfg(test)]
pub(crate) mod tests;
