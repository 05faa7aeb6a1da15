//! Head models in files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::maths::HeadModel;
use super::parts::HeadModelParts;
use crate::error::{Error, Result};
use crate::json;
use crate::weights::{FloatFormat, HEAD_MODEL, TensorFile, TensorWriter};

const FORMAT: &str = "head model";
const VERSION: u32 = 1;
/// Metadata key.
pub(super) const KEY: &str = "head_model";

impl HeadModel {
    /// Reads a head model file, or the head model inside a weights file (see [`HeadModel`]).
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is not a safetensors file; and see
    /// [`HeadModel::from_safetensors`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::from_file(&TensorFile::open(path)?)
    }

    /// Reads the content of a head model file or weights file, as [`HeadModel::open`] does.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a safetensors file, holds no head model or one of an unknown
    /// version; [`Error::Tensors`] if tensors are missing or do not fit together (see
    /// [`HeadModel::new`]).
    pub fn from_safetensors(bytes: Vec<u8>) -> Result<Self> {
        Self::from_file(&TensorFile::from_bytes(FORMAT, bytes)?)
    }

    pub(crate) fn from_file(file: &TensorFile) -> Result<Self> {
        Self::build(file.what(), parts(file)?)
    }

    /// The head model inside a weights file, if there is one.
    ///
    /// # Errors
    /// See [`HeadModel::from_safetensors`].
    pub(crate) fn embedded(file: &TensorFile) -> Result<Option<Self>> {
        is_embedded(file).then(|| Self::from_file(file)).transpose()
    }

    /// Writes a head model file (see [`HeadModel`]), replacing an older one as a whole.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        self.writer().write(path)
    }

    /// The content of a head model file.
    ///
    /// # Errors
    /// None for a valid head model, and every [`HeadModel`] is valid.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        self.writer().into_bytes()
    }

    /// Adds the head model to an unfinished weights file, in place of an earlier one. Floats are
    /// stored in `format`.
    ///
    /// ```
    /// # use gpavatar::{FloatFormat, HeadModel, Weights};
    /// # fn example(weights: Weights, head: HeadModel) -> gpavatar::Result<()> {
    /// let mut writer = weights.writer(FloatFormat::F16)?;
    /// head.embed(&mut writer, FloatFormat::F16);
    /// writer.write("weights.safetensors")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn embed<'a>(&'a self, writer: &mut TensorWriter<'a>, format: FloatFormat) {
        writer.retain(|name| !name.starts_with(HEAD_MODEL));
        self.add_to(writer, HEAD_MODEL, format);
    }

    pub(super) fn writer(&self) -> TensorWriter<'_> {
        let mut writer = TensorWriter::new(BTreeMap::new());
        self.add_to(&mut writer, "", FloatFormat::F32);
        writer
    }

    /// Adds the tensors of the file format, `prefix` before their names, and its metadata.
    fn add_to<'a>(&'a self, writer: &mut TensorWriter<'a>, prefix: &str, format: FloatFormat) {
        let parts = &self.parts;
        let (vertices, joints) = (self.vertex_count(), self.joint_count());
        let mut add = |name: &str, shape: &[usize], values: &'a [f32]| {
            if !values.is_empty() {
                let name = format!("{prefix}{name}");
                writer.floats(name, shape, format, || Ok(values.into()));
            }
        };
        add("template", &[vertices, 3], parts.template.as_flattened());
        for (name, basis) in [
            ("shape_basis", &parts.shape_basis),
            ("expression_basis", &parts.expression_basis),
            ("pose_basis", &parts.pose_basis),
        ] {
            let shape = [parts.directions(basis), vertices, 3];
            add(name, &shape, basis.as_flattened());
        }
        let (regressor, weights) = (&parts.joint_regressor, &parts.skinning_weights);
        add("joint_regressor", &[joints, vertices], regressor);
        add("skinning_weights", &[vertices, joints], weights);
        let header = Header {
            version: VERSION,
            scale: parts.scale,
            parents: parts.parents.clone(),
            pose_joints: parts.pose_joints.clone(),
            channels: parts.channels.clone(),
            shape_names: parts.shape_names.clone(),
        };
        let json = serde_json::to_string(&header).expect("numbers and strings are always JSON");
        writer.metadata(KEY, json);
    }
}

/// The metadata entry of the file format.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    scale: f32,
    #[serde(default)]
    parents: Vec<i32>,
    #[serde(default)]
    pose_joints: Vec<u32>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    shape_names: Vec<String>,
}

/// True for a file that holds a head model among other tensors.
fn is_embedded(file: &TensorFile) -> bool {
    file.tensor_names().any(|name| name.starts_with(HEAD_MODEL))
}

fn parts(file: &TensorFile) -> Result<HeadModelParts> {
    let json = file.metadata().get(KEY).ok_or_else(|| {
        let found = match file.contains("v_template") {
            true => "FLAME's tensors, which import::head_model reads",
            false => "none",
        };
        let reason = format!("expected a metadata entry {KEY:?}, found {found}");
        Error::format(file.what(), FORMAT, reason)
    })?;
    let header: Header = json::versioned(file.what(), FORMAT, json, VERSION)?;
    let prefix = if is_embedded(file) { HEAD_MODEL } else { "" };
    let tensor = |name: &str| format!("{prefix}{name}");

    let template = tensor("template");
    let [vertices, _] = file.expect_shape(&template, [None, Some(3)])?;
    let basis = |name: &str, directions: Option<usize>| {
        let name = tensor(name);
        if !file.contains(&name) {
            return Ok(Vec::new());
        }
        file.expect_shape(&name, [directions, Some(vertices), Some(3)])?;
        vectors(file, &name)
    };
    let joints = header.parents.len();
    let joint_matrix = |name: &str, shape: [usize; 2]| {
        let name = tensor(name);
        if joints == 0 && !file.contains(&name) {
            return Ok(Vec::new());
        }
        file.expect_shape(&name, shape.map(Some))?;
        Ok(file.f32(&name)?.into_owned())
    };
    Ok(HeadModelParts {
        template: vectors(file, &template)?,
        shape_basis: basis("shape_basis", None)?,
        expression_basis: basis("expression_basis", None)?,
        pose_basis: basis("pose_basis", Some(9 * joints.saturating_sub(1)))?,
        joint_regressor: joint_matrix("joint_regressor", [joints, vertices])?,
        skinning_weights: joint_matrix("skinning_weights", [vertices, joints])?,
        parents: header.parents,
        pose_joints: header.pose_joints,
        scale: header.scale,
        channels: header.channels,
        shape_names: header.shape_names,
    })
}

fn vectors(file: &TensorFile, name: &str) -> Result<Vec<[f32; 3]>> {
    Ok(file.f32(name)?.as_chunks().0.to_vec())
}
