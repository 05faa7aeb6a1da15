//! FLAME's files.

use std::collections::BTreeMap;

use super::archive::Archive;
use super::array::Array;
use super::document::Document;
use super::numpy;
use crate::{Error, FloatFormat, HeadModel, Result, TensorFile, TensorWriter};

const FORMAT: &str = "FLAME model";

/// How [`head_model`] reads a file.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadOptions {
    /// How many identity directions to keep, or all. They are sorted by importance; GPAvatar uses
    /// the first 100.
    pub shapes: Option<usize>,
    /// How many expression directions to keep, or all. GPAvatar uses the first 50.
    pub expressions: Option<usize>,
    /// How many of the file's directions are identity, where it does not say so itself. The default
    /// knows FLAME's 300 of 400, and 100 of 150.
    pub identity_directions: Option<usize>,
    /// Factor from the file's units to the world's, in which the head fills the cube `[-1, 1]³`.
    pub scale: f32,
}

impl Default for HeadOptions {
    /// What GPAvatar was trained with: 100 identity and 50 expression directions, scale 5.
    fn default() -> Self {
        Self {
            shapes: Some(100),
            expressions: Some(50),
            identity_directions: None,
            scale: 5.0,
        }
    }
}

impl HeadOptions {
    /// All directions that the file has.
    pub fn whole() -> Self {
        Self {
            shapes: None,
            expressions: None,
            ..Self::default()
        }
    }
}

/// Reads a FLAME model: the pickle that its authors distribute (2020, 2023, 2023 Open), its arrays
/// in an `.npz` archive or a safetensors file, or a head model file of this crate, which is taken as
/// it is.
///
/// From pickles and archives these entries are read, and no others: `v_template`, `shapedirs`,
/// `posedirs`, `J_regressor`, `kintree_table` and `weights`; as arrays of numpy, sparse matrices of
/// scipy, or wrapped by chumpy.
///
/// ```no_run
/// use gpavatar::import::{HeadOptions, head_model};
///
/// head_model("generic_model.pkl", &HeadOptions::default())?.write("flame.safetensors")?;
/// # Ok::<(), gpavatar::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, else those of [`head_model_from_bytes`].
#[cfg(not(target_arch = "wasm32"))]
pub fn head_model(path: impl AsRef<std::path::Path>, options: &HeadOptions) -> Result<HeadModel> {
    let path = path.as_ref();
    head_model_from_bytes(
        path.display().to_string(),
        crate::file::read(path)?,
        options,
    )
}

/// Reads what [`head_model`] reads from memory; `what` names it in error messages.
///
/// # Errors
/// [`Error::Format`] if it is none of these files or lacks an entry, [`Error::Tensors`] if the
/// entries do not fit together (see [`HeadModel::new`]).
pub fn head_model_from_bytes(
    what: impl Into<String>,
    bytes: Vec<u8>,
    options: &HeadOptions,
) -> Result<HeadModel> {
    let what = what.into();
    let invalid = |reason: String| Error::format(what.as_str(), FORMAT, reason);
    if bytes.starts_with(b"\x80") {
        let document = Document::parse(&bytes).map_err(invalid)?;
        let read = |name: &str| match document.root().get(name) {
            Some(node) => match document.array(node)? {
                Some(array) => Ok(Some(array)),
                None => Err(format!("expected numbers, found {}", node.describe())),
            },
            None => Ok(None),
        };
        return convert(&what, &read, options);
    }
    if Archive::is_archive(&bytes) {
        let archive = Archive::parse(&bytes).map_err(invalid)?;
        let read = |name: &str| match archive.entry(&format!("{name}.npy")) {
            Ok(entry) => {
                let content = entry.content(&bytes)?;
                Ok(Some(numpy::npy(&content)?.into_owned()))
            }
            Err(_) => Ok(None),
        };
        return convert(&what, &read, options);
    }
    let file = TensorFile::from_bytes(what.as_str(), bytes)?;
    if !file.contains("v_template") {
        return HeadModel::from_file(&file);
    }
    let number = |key: &str| file.metadata().get(key)?.parse().ok();
    let options = HeadOptions {
        identity_directions: number("n_shape").or(options.identity_directions),
        ..options.clone()
    };
    convert(&what, &|name| Array::of_file(&file, name), &options)
}

/// Reads an array, if there is one of that name.
type Read<'r, 'a> = &'r dyn Fn(&str) -> Result<Option<Array<'a>>, String>;

/// A head model of FLAME's arrays, by way of the names that they have in safetensors files.
fn convert(what: &str, read: Read, options: &HeadOptions) -> Result<HeadModel> {
    let file = (flame_file(read, options))
        .map_err(|reason| Error::format(what, FORMAT, reason))?
        .into_bytes()?;
    HeadModel::from_file(&TensorFile::from_bytes(what, file)?)
}

fn flame_file(read: Read, options: &HeadOptions) -> Result<TensorWriter<'static>, String> {
    let find = |names: &[&str]| -> Result<Array, String> {
        for name in names {
            if let Some(array) = read(name).map_err(|reason| format!("{name}: {reason}"))? {
                return Ok(array);
            }
        }
        Err(format!(
            "expected an array {}, found none",
            names.join(" or ")
        ))
    };
    let mut writer = TensorWriter::new(BTreeMap::new());
    for names in [
        &["v_template"][..],
        &["posedirs"],
        &["J_regressor"],
        &["lbs_weights", "weights"],
    ] {
        let (name, array) = (names[0], find(names)?);
        let values = array.f32()?;
        writer.floats(name, array.shape(), FloatFormat::F32, || Ok(values.into()));
    }

    let tree = find(&["kintree_table", "parents"])?;
    let joints = tree.shape().last().copied().unwrap_or(0);
    // A table has the joints themselves as its second row.
    let parents = tree
        .i64()?
        .into_iter()
        .take(joints)
        .map(|parent| match parent {
            // The root's, where numbers have no sign.
            0xFFFF_FFFF => Ok(-1),
            parent => i32::try_from(parent).map_err(|_| format!("{parent} among the parents")),
        });
    let parents = parents.collect::<Result<Vec<_>, _>>()?;
    writer.ints("parents", &[parents.len()], &parents);

    let directions = find(&["shapedirs"])?;
    let &[vertices, 3, count] = directions.shape() else {
        let found = directions.shape();
        return Err(format!(
            "expected shapedirs of shape [any, 3, any], found {found:?}"
        ));
    };
    let identity = match (options.identity_directions, count) {
        (Some(identity), _) if identity <= count => identity,
        (None, 400) => 300,
        (None, 150) => 100,
        (given, _) => {
            return Err(format!(
                "expected how many of the {count} directions are identity, found {given:?}"
            ));
        }
    };
    let shapes = options.shapes.unwrap_or(identity).min(identity);
    let expressions = (options.expressions.unwrap_or(count)).min(count - identity);
    let values = directions.f32()?;
    let rows = values.chunks_exact(count.max(1));
    let kept: Vec<f32> = rows
        .flat_map(|row| [&row[..shapes], &row[identity..][..expressions]].concat())
        .collect();
    let shape = [vertices, 3, shapes + expressions];
    writer.floats("shapedirs", &shape, FloatFormat::F32, || Ok(kept.into()));
    writer.metadata("n_shape", shapes.to_string());
    writer.metadata("n_expression", expressions.to_string());
    writer.metadata("scale", options.scale.to_string());
    Ok(writer)
}
