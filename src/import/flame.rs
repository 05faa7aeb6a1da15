//! FLAME's files.

use std::ops::Range;

use super::archive::Archive;
use super::array::Array;
use super::budget::{Budget, opened};
use super::document::{Document, dictionaries};
use super::numpy;
use super::pickle::Node;
use crate::error::{Error, Result};
use crate::head::{HeadModel, HeadModelParts};
use crate::sniff::{self, Kind};
use crate::weights::TensorFile;

const FORMAT: &str = "FLAME model";

/// How [`head_model`] reads a file.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadOptions {
    /// Number of identity directions to keep, or all. They are sorted by importance; GPAvatar uses
    /// the first 100.
    pub shapes: Option<usize>,
    /// Number of expression directions to keep, or all. GPAvatar uses the first 50.
    pub expressions: Option<usize>,
    /// Number of identity directions in the file, unless its metadata has `n_shape`. By
    /// default 300 of 400 (FLAME's own files) or 100 of 150.
    pub identity_directions: Option<usize>,
    /// Factor from the file's units to the world's, unless the file's metadata has `scale`. In
    /// the world the head fills the cube `[-1, 1]³`.
    pub scale: f32,
}

impl Default for HeadOptions {
    /// GPAvatar's choice: 100 identity and 50 expression directions, scale 5.
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
    #[must_use]
    pub fn whole() -> Self {
        Self {
            shapes: None,
            expressions: None,
            ..Self::default()
        }
    }
}

/// Reads a FLAME model: the pickle that its authors distribute (2020, 2023, 2023 Open), a file of
/// `torch.save` such as GAGAvatar's `FLAME_with_eye.pt`, or its arrays in an `.npz` archive or a
/// safetensors file. Any of them may be compressed by gzip. A head model file of this crate is
/// returned as it is.
///
/// With `V` vertices, `N` directions and `J` joints the entries are:
///
/// | entry                      | shape                                              |
/// |----------------------------|----------------------------------------------------|
/// | `v_template`               | `[V, 3]`                                           |
/// | `shapedirs`                | `[V, 3, N]`, identity first, then expression       |
/// | `posedirs`                 | `[V, 3, 9(J-1)]` or `[9(J-1), 3V]`, may be absent  |
/// | `J_regressor`              | `[J, V]`                                           |
/// | `weights` or `lbs_weights` | `[V, J]`                                           |
/// | `kintree_table`            | `[2, J]`, the parents in its first row             |
/// | or `parents`               | `[J]`                                              |
///
/// In a pickle they are tensors, arrays of numpy, sparse matrices of scipy, or wrapped by chumpy; other
/// entries are not looked at, and the dictionary with them may lie within others. The metadata `n_shape`, `n_expression` and `scale` of a safetensors
/// file take precedence over `options`.
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
    let bytes = crate::file::read(path)?;
    head_model_from_bytes(path.display().to_string(), bytes, options)
}

/// Reads a FLAME model from memory, see [`head_model`]; `what` names it in error messages.
///
/// # Errors
/// [`Error::Format`] if it is none of these files, lacks an entry or has one of another shape;
/// [`Error::Tensors`] if the values are not those of a head model (see [`HeadModel::new`]).
pub fn head_model_from_bytes(
    what: impl Into<String>,
    bytes: Vec<u8>,
    options: &HeadOptions,
) -> Result<HeadModel> {
    let what = what.into();
    with_arrays(&what, bytes, |file, read, budget| {
        let parts = match file {
            Some(file) if !file.contains("v_template") => return Ok(HeadModel::from_file(file)),
            Some(file) => {
                let (options, expressions) = said_by(file, options)?;
                parts(read, &options, expressions, budget)?
            }
            None => parts(read, options, None, budget)?,
        };
        Ok(HeadModel::build(&what, parts))
    })
}

/// Hands the arrays of a file to `make`, and the file itself if it is of safetensors.
fn with_arrays<T>(
    what: &str,
    bytes: Vec<u8>,
    make: impl FnOnce(Option<&TensorFile>, Read, &Budget) -> Result<Result<T>, String>,
) -> Result<T> {
    let invalid = |reason: String| Error::format(what, FORMAT, reason);
    let (bytes, budget) = opened(bytes.into()).map_err(invalid)?;
    let made = match sniff::kind(&bytes) {
        Kind::NumpyArchive => {
            let archive = Archive::within(&bytes, &budget).map_err(invalid)?;
            let read = |name: &str| match archive.entry(&format!("{name}.npy")) {
                Ok(entry) => numpy::npy(entry.content(&bytes)?, &budget).map(Some),
                Err(_) => Ok(None),
            };
            make(None, &read, &budget)
        }
        Kind::Safetensors => {
            let file = TensorFile::from_bytes(what, bytes.into_owned())?;
            make(Some(&file), &|name| Array::of_file(&file, name), &budget)
        }
        _ => {
            let document = Document::within(&bytes, &budget).map_err(invalid)?;
            let (model, others) = model_of(document.root());
            let read = |name: &str| {
                let node = model.get(name);
                node.map(|node| document.numbers(node)).transpose()
            };
            make(None, &read, &budget).map_err(|reason| reason + &others)
        }
    };
    made.map_err(invalid)?
}

/// Reads the triangles of a FLAME model, `f` or `faces` `[F, 3]`, from the file that [`head_model`]
/// reads: three vertices each, counter-clockwise from outside. `what` names the file in messages.
///
/// # Errors
/// [`Error::Format`] if it is none of these files, or has no triangles.
#[cfg(feature = "track")]
pub fn head_triangles_from_bytes(what: impl Into<String>, bytes: Vec<u8>) -> Result<Vec<[u32; 3]>> {
    with_arrays(&what.into(), bytes, |_, read, budget| {
        let faces = match read("f")? {
            Some(faces) => Some(faces),
            None => read("faces")?,
        };
        let faces = faces.ok_or("expected an array f or faces, found none")?;
        faces.expect_shape("f", [None, Some(3)])?;
        budget.take(2 * size_of::<i64>() * faces.len())?;
        let corner = |&corner: &i64| {
            u32::try_from(corner).map_err(|_| format!("f: expected vertices, found {corner}"))
        };
        let corners = faces
            .i64()?
            .iter()
            .map(corner)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Ok(corners.as_chunks().0.to_vec()))
    })
}

/// A landmark, a triangle and the weights of its corners, as they lie in a file.
#[cfg(feature = "track")]
pub(crate) type LandmarkRow = (i64, i64, [f32; 3]);

/// The rows of FLAME's embedding of MediaPipe's landmarks, an archive of numpy.
#[cfg(feature = "track")]
pub(crate) fn landmark_rows(bytes: &[u8]) -> Result<Vec<LandmarkRow>, String> {
    if sniff::kind(bytes) != Kind::NumpyArchive {
        return Err(sniff::reason(bytes).to_string());
    }
    let budget = Budget::of(bytes.len());
    let archive = Archive::within(bytes, &budget)?;
    let read = |name: &str| {
        let entry = archive.entry(&format!("{name}.npy"))?;
        let array = numpy::npy(entry.content(bytes)?, &budget)?;
        budget.take(size_of::<i64>() * array.len())?;
        Ok::<_, String>(array)
    };
    let landmarks = read("landmark_indices")?;
    let [count] = landmarks.expect_shape("landmark_indices", [None])?;
    let triangles = read("lmk_face_idx")?;
    triangles.expect_shape("lmk_face_idx", [Some(count)])?;
    let weights = read("lmk_b_coords")?;
    weights.expect_shape("lmk_b_coords", [Some(count), Some(3)])?;
    let weights = weights.f32()?;
    let (landmarks, triangles) = (landmarks.i64()?, triangles.i64()?);
    let rows = landmarks
        .into_iter()
        .zip(triangles)
        .zip(weights.as_chunks().0);
    Ok(rows
        .map(|((landmark, triangle), weights)| (landmark, triangle, *weights))
        .collect())
}

/// The dictionary with FLAME's arrays, which may lie within others, such as `flame_model` of
/// GAGAvatar's `FLAME_with_eye.pt`. Without one, the file's own, and what it has instead.
fn model_of<'p, 'a: 'p>(root: Node<'p, 'a>) -> (Node<'p, 'a>, String) {
    let is_model = |node: Node| node.get("v_template").is_some();
    if let Some((_, model)) = dictionaries(root).find(|(_, node)| is_model(*node)) {
        return (model, String::new());
    }
    let keys = root.entries().into_iter().flatten().take(8);
    let keys: Vec<String> = keys.map(|(key, _)| key.describe()).collect();
    (
        root,
        match keys.as_slice() {
            [] => format!(" in {}", root.describe()),
            keys => format!(" in {} with {}", root.describe(), keys.join(", ")),
        },
    )
}

/// The options, overridden by a safetensors file's metadata, and its number of expression
/// directions.
fn said_by(
    file: &TensorFile,
    options: &HeadOptions,
) -> Result<(HeadOptions, Option<usize>), String> {
    fn number<T: std::str::FromStr>(file: &TensorFile, key: &str) -> Result<Option<T>, String> {
        let parse = |text: &String| {
            (text.parse())
                .map_err(|_| format!("expected a number as metadata {key:?}, found {text:?}"))
        };
        file.metadata().get(key).map(parse).transpose()
    }
    let options = HeadOptions {
        identity_directions: number(file, "n_shape")?.or(options.identity_directions),
        scale: number(file, "scale")?.unwrap_or(options.scale),
        ..options.clone()
    };
    Ok((options, number(file, "n_expression")?))
}

/// Reads an array, if there is one of that name.
type Read<'r, 'a> = &'r dyn Fn(&str) -> Result<Option<Array<'a>>, String>;

fn parts(
    read: Read,
    options: &HeadOptions,
    expressions: Option<usize>,
    budget: &Budget,
) -> Result<HeadModelParts, String> {
    let named = |name: &str| read(name).map_err(|reason| format!("{name}: {reason}"));
    let find = |names: &[&str]| {
        for name in names {
            if let Some(array) = named(name)? {
                return Ok(array);
            }
        }
        let names = names.join(" or ");
        Err(format!("expected an array {names}, found none"))
    };
    // Of types with fewer bits more bytes are made.
    let floats = |array: Array| {
        budget.take(size_of::<f32>() * array.len())?;
        array.f32()
    };
    let template = find(&["v_template"])?;
    let [vertices, _] = template.expect_shape("v_template", [None, Some(3)])?;
    if vertices == 0 {
        return Err("v_template: expected at least one vertex, found none".into());
    }
    let tree = find(&["kintree_table", "parents"])?;
    let joints = tree.shape().last().copied().unwrap_or(0);
    // The second row of a table numbers the joints.
    budget.take(size_of::<i64>() * tree.len())?;
    let parents = (tree.i64()?.into_iter().take(joints)).map(|parent| match parent {
        // The root's parent in files of unsigned integers.
        0xFFFF_FFFF => Ok(-1),
        parent => i32::try_from(parent)
            .map_err(|_| format!("parents: expected a joint or -1, found {parent}")),
    });
    let parents = parents.collect::<Result<Vec<_>, _>>()?;

    let directions = find(&["shapedirs"])?;
    let [.., count] = directions.expect_shape("shapedirs", [Some(vertices), Some(3), None])?;
    let (shapes, expressions) = divide(count, options, expressions)?;
    let directions = floats(directions)?;
    budget.take(size_of::<[f32; 3]>() * vertices * (shapes.len() + expressions.len()))?;

    let corrective_count = 9 * joints.saturating_sub(1);
    let pose_basis = match named("posedirs")? {
        None => Vec::new(),
        Some(basis) if basis.shape().len() == 2 => {
            basis.expect_shape("posedirs", [Some(corrective_count), Some(3 * vertices)])?;
            vectors(floats(basis)?)
        }
        Some(basis) => {
            let shape = [Some(vertices), Some(3), Some(corrective_count)];
            basis.expect_shape("posedirs", shape)?;
            columns(&floats(basis)?, corrective_count, 0..corrective_count)
        }
    };
    let matrix = |names: &[&str], shape: [usize; 2]| {
        let matrix = find(names)?;
        matrix.expect_shape(names[0], shape.map(Some))?;
        floats(matrix)
    };
    Ok(HeadModelParts {
        template: vectors(floats(template)?),
        shape_basis: columns(&directions, count, shapes),
        expression_basis: columns(&directions, count, expressions),
        pose_basis,
        joint_regressor: matrix(&["J_regressor"], [joints, vertices])?,
        skinning_weights: matrix(&["lbs_weights", "weights"], [vertices, joints])?,
        parents,
        scale: options.scale,
        ..HeadModelParts::default()
    })
}

/// The identity and the expression directions to keep of `count`.
fn divide(
    count: usize,
    options: &HeadOptions,
    expressions: Option<usize>,
) -> Result<(Range<usize>, Range<usize>), String> {
    let identity = match (options.identity_directions, count) {
        (None, 400) => Some(300),
        (None, 150) => Some(100),
        (given, _) => given,
    };
    let rest = identity.and_then(|identity| count.checked_sub(identity));
    match (identity, rest) {
        (Some(identity), Some(rest)) if expressions.unwrap_or(rest) <= rest => {
            let shapes = options.shapes.unwrap_or(identity).min(identity);
            let available = expressions.unwrap_or(rest);
            let kept = options.expressions.unwrap_or(available).min(available);
            Ok((0..shapes, identity..identity + kept))
        }
        _ => Err(format!(
            "expected numbers of identity and expression directions that divide the {count} of \
             shapedirs, found {:?} and {expressions:?}",
            options.identity_directions
        )),
    }
}

/// The vectors of an array whose last axis has a multiple of 3 elements.
fn vectors(values: Vec<f32>) -> Vec<[f32; 3]> {
    values.as_chunks().0.to_vec()
}

/// Some columns of a `[V, 3, count]` tensor, each as `V` vectors.
fn columns(values: &[f32], count: usize, columns: Range<usize>) -> Vec<[f32; 3]> {
    let column = |column| {
        let vertices = values.chunks_exact(3 * count);
        vertices.map(move |v| std::array::from_fn(|axis| v[axis * count + column]))
    };
    columns.flat_map(column).collect()
}

#[cfg(test)]
mod tests;
