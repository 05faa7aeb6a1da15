//! Arrays of numpy, matrices of scipy and arrays wrapped by chumpy, pickled or as `.npy` files.

use std::borrow::Cow;

use safetensors::Dtype;

use super::array::{Array, MAX_RANK, StridedLayout};
use super::budget::Budget;
use super::pickle::{Class, Node, Pickle};

/// Largest number of wrappers around an array.
const MAX_WRAPPERS: usize = 4;

/// Largest number of elements of a sparse matrix: twice those of the joint regressor of a body with
/// hands and face.
const MAX_UNFOLDED: usize = 1 << 20;

/// The first bytes of a `.npy` file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a pickled array of numpy, scipy or chumpy. None for any other value.
pub(super) fn array<'a>(node: Node<'_, 'a>) -> Result<Option<Array<'a>>, String> {
    unwrap(node, MAX_WRAPPERS)
}

fn unwrap<'a>(node: Node<'_, 'a>, wrappers: usize) -> Result<Option<Array<'a>>, String> {
    let Some((class, arguments, state)) = node.object() else {
        return Ok(None);
    };
    let attribute = |name: &str| {
        let value = state.and_then(|state| state.get(name));
        value.ok_or_else(|| format!("{} without {name:?}", node.describe()))
    };
    let inner = |name: &str| {
        let node = attribute(name)?;
        let wrappers = (wrappers.checked_sub(1)).ok_or("an array within too many wrappers")?;
        unwrap(node, wrappers)?.ok_or_else(|| no_array(node))
    };
    let array = match class {
        Class::NumpyReconstruct => {
            let [_version, shape, dtype, fortran, data] = (state.and_then(Node::array))
                .ok_or("an array without version, shape, type, order and data")?;
            dense(sizes(shape)?, dtype, fortran.int() == Some(1), data)
        }
        Class::NumpyFromBuffer => {
            let [data, dtype, shape, order] =
                (arguments.array()).ok_or("an array without data, type, shape and order")?;
            dense(sizes(shape)?, dtype, order.text() == Some("F"), data)
        }
        Class::NumpyScalar => {
            let [dtype, data] = arguments.array().ok_or("a number without type and data")?;
            dense(Vec::new(), dtype, false, data)
        }
        Class::ScipyColumns | Class::ScipyRows => {
            let shape = attribute("_shape").or_else(|_| attribute("shape"))?;
            let parts = [inner("data")?, inner("indices")?, inner("indptr")?];
            unfold(
                &sizes(shape)?,
                class == Class::ScipyColumns,
                &parts,
                node.budget(),
            )
        }
        // A leaf of chumpy's graphs of expressions.
        Class::ChumpyArray => inner("x"),
        // Some elements of another array, in another shape.
        Class::ChumpySelect => {
            let (array, indices) = (inner("a")?, inner("idxs")?);
            node.take(8 * (array.len() + 2 * indices.len()))?;
            let (array, indices) = (array.f64()?, indices.i64()?);
            let pick = |&index| array.get(usize::try_from(index).ok()?).copied();
            let values: Option<Vec<f64>> = indices.iter().map(pick).collect();
            let values = values.ok_or("a selection of elements that the array does not have")?;
            let shape = match attribute("preferred_shape") {
                Ok(shape) => sizes(shape)?,
                Err(_) => vec![values.len()],
            };
            Array::from_f64(shape, &values)
        }
        _ => return Ok(None),
    };
    array.map(Some)
}

fn no_array(node: Node) -> String {
    format!("expected an array, found {}", node.describe())
}

fn sizes(node: Node) -> Result<Vec<usize>, String> {
    let sizes = node.elements().filter(|sizes| sizes.len() <= MAX_RANK);
    let sizes = sizes.and_then(|sizes| sizes.map(Node::size).collect());
    sizes.ok_or_else(|| format!("expected a shape, found {}", node.describe()))
}

fn dense<'a>(
    shape: Vec<usize>,
    dtype: Node,
    fortran: bool,
    data: Node<'_, 'a>,
) -> Result<Array<'a>, String> {
    let bytes = (data.taken_bytes()?)
        .ok_or_else(|| format!("expected the bytes of an array, found {}", data.describe()))?;
    let mut layout = StridedLayout::dense(Dtype::U8, shape, fortran)?;
    (layout.dtype, layout.big_endian) = element_type(dtype)?;
    Array::new(layout, bytes)
}

/// `dtype("f8", …)` with the state (version, byte order, …), and whether that is big-endian.
fn element_type(node: Node) -> Result<(Dtype, bool), String> {
    let parts = match node.object() {
        Some((Class::NumpyDtype, arguments, state)) => (arguments.elements())
            .and_then(|mut arguments| arguments.next()?.text())
            .zip(Some(state)),
        _ => None,
    };
    let (code, state) =
        parts.ok_or_else(|| format!("expected an element type, found {}", node.describe()))?;
    let order = state.and_then(|state| state.elements()?.nth(1)?.text());
    Ok((of_code(code)?, order == Some(">")))
}

/// The type of a kind and a number of bytes.
fn of_code(code: &str) -> Result<Dtype, String> {
    Ok(match code {
        "b1" => Dtype::BOOL,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        other => {
            return Err(format!(
                "expected an array of numbers, found type {other:?}"
            ));
        }
    })
}

/// The dense form of a matrix that is compressed by columns or by rows. The non-zero `data` of column
/// (or row) `i`, and their `indices`, lie between `indptr[i]` and `indptr[i + 1]`.
fn unfold(
    shape: &[usize],
    by_columns: bool,
    [data, indices, indptr]: &[Array; 3],
    budget: &Budget,
) -> Result<Array<'static>, String> {
    let &[rows, columns] = shape else {
        return Err(format!("a sparse matrix of {} axes", shape.len()));
    };
    let count = rows
        .checked_mul(columns)
        .filter(|&count| count <= MAX_UNFOLDED);
    let count = count.ok_or_else(|| format!("a sparse matrix of {shape:?}"))?;
    // As numbers and as their bytes.
    budget.take(16 * count + 8 * (data.len() + indices.len() + indptr.len()))?;
    let mut values = vec![0.0; count];
    let (major, minor) = match by_columns {
        true => (columns, rows),
        false => (rows, columns),
    };
    let (data, indices, indptr) = (data.f64()?, indices.i64()?, indptr.i64()?);
    let inconsistent = || "a sparse matrix whose indices do not fit its shape".to_owned();
    let index = |index: i64, end: usize| {
        let index = usize::try_from(index).ok().filter(|&index| index < end);
        index.ok_or_else(inconsistent)
    };
    if indptr.len() != major + 1 || indices.len() != data.len() {
        return Err(inconsistent());
    }
    for (i, bounds) in indptr.windows(2).enumerate() {
        let start = index(bounds[0], data.len() + 1)?;
        let end = index(bounds[1], data.len() + 1)?;
        let run = indices.get(start..end).ok_or_else(inconsistent)?;
        for (&j, value) in run.iter().zip(&data[start..end]) {
            let j = index(j, minor)?;
            let (row, column) = if by_columns { (j, i) } else { (i, j) };
            // Elements that are listed twice are meant to be summed.
            values[row * columns + column] += value;
        }
    }
    Array::from_f64(shape.to_vec(), &values)
}

/// Reads a `.npy` file, a member of an `.npz` archive. If it holds a single pickled object, that
/// object has to be an array, and its values come from the budget.
pub(super) fn npy<'a>(
    bytes: impl Into<Cow<'a, [u8]>>,
    budget: &Budget,
) -> Result<Array<'a>, String> {
    let bytes = bytes.into();
    let Npy {
        order,
        code,
        fortran,
        shape,
        data,
    } = Npy::parse(&bytes)?;
    if code == "O" {
        let pickle = Pickle::within(data, budget)?;
        let object = only_object(pickle.root()).ok_or("expected one pickled object")?;
        let array = array(object)?.ok_or_else(|| no_array(object))?;
        budget.take(data.len())?;
        return Ok(array.into_owned());
    }
    let mut layout = StridedLayout::dense(of_code(code)?, shape, fortran)?;
    layout.big_endian = order == ">";
    let start = bytes.len() - data.len();
    let data = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start..]),
        Cow::Owned(mut bytes) => {
            bytes.drain(..start);
            Cow::Owned(bytes)
        }
    };
    Array::new(layout, data)
}

/// The pickle in a `.npy` file of objects.
///
/// # Errors
/// If it holds numbers.
pub(super) fn npy_pickle(bytes: &[u8]) -> Result<&[u8], String> {
    let Npy {
        code, shape, data, ..
    } = Npy::parse(bytes)?;
    match code {
        "O" => Ok(data),
        _ => Err(format!(
            "expected a pickled object, found an array {code} of shape {shape:?}"
        )),
    }
}

/// The object of a pickled array of one object.
pub(super) fn only_object<'p, 'a>(array: Node<'p, 'a>) -> Option<Node<'p, 'a>> {
    let (_, _, state) = array.object()?;
    let [.., objects]: [Node; 5] = state?.array()?;
    let [object] = objects.array()?;
    Some(object)
}

/// A `.npy` file.
struct Npy<'a> {
    /// Byte order.
    order: &'a str,
    /// Kind and size of an element.
    code: &'a str,
    /// True if the first axis is the innermost one.
    fortran: bool,
    shape: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Npy<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let header_and_data = || -> Option<(&str, &[u8])> {
            let ([major, _minor], rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
            let (length, rest) = rest.split_at_checked(if *major == 1 { 2 } else { 4 })?;
            let mut bytes = [0; 4];
            bytes[..length.len()].copy_from_slice(length);
            let length = usize::try_from(u32::from_le_bytes(bytes)).ok()?;
            let (header, data) = rest.split_at_checked(length)?;
            Some((std::str::from_utf8(header).ok()?, data))
        };
        let (header, data) =
            header_and_data().ok_or("expected a .npy file with header and data")?;
        let (descr, fortran, shape) = npy_header(header).ok_or_else(|| {
            format!("expected a header with descr, fortran_order and shape: {header}")
        })?;
        // Objects have no byte order: "|O".
        let (order, code) = descr.split_at_checked(1).unwrap_or_default();
        Ok(Self {
            order,
            code,
            fortran,
            shape,
            data,
        })
    }
}

/// The three entries of the Python dictionary that heads a `.npy` file.
fn npy_header(header: &str) -> Option<(&str, bool, Vec<usize>)> {
    let after = |key: &str| Some(header.split_once(key)?.1.trim_start());
    let descr = after("'descr':")?.strip_prefix('\'')?.split_once('\'')?.0;
    let fortran = after("'fortran_order':")?.starts_with("True");
    let shape = after("'shape':")?.strip_prefix('(')?.split_once(')')?.0;
    // Python 2 marks large integers.
    let sizes = (shape.split(',')).map(|size| size.trim().trim_end_matches('L'));
    let sizes = sizes.filter(|size| !size.is_empty());
    let sizes = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    Some((descr, fortran, sizes))
}

#[cfg(test)]
mod tests;
