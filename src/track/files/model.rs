//! TensorFlow Lite's models: their tensors and operators, as the file has them.

use super::flat::Table;

/// Most dimensions of a tensor.
pub(super) const MOST_AXES: usize = 4;

/// The model of a file. It borrows all numbers.
pub(crate) struct Model<'a> {
    pub tensors: Vec<Stored<'a>>,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    pub operators: Vec<Operator<'a>>,
}

/// A tensor: computed, or a constant.
pub(crate) struct Stored<'a> {
    /// Sizes as the file has them, at most four.
    pub shape: Vec<usize>,
    pub numbers: Numbers<'a>,
}

/// A constant's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Numbers<'a> {
    /// None: the tensor is computed.
    Computed,
    F32(&'a [[u8; 4]]),
    F16(&'a [[u8; 2]]),
    I32(&'a [[u8; 4]]),
}

/// An operator with its options.
pub(crate) struct Operator<'a> {
    /// Number of its kind.
    pub code: i32,
    /// Name of its kind, if it is none of TensorFlow Lite's own.
    pub custom: &'a [u8],
    pub inputs: Vec<Option<usize>>,
    pub output: usize,
    options: Option<Table<'a>>,
    pub custom_options: &'a [u8],
}

impl<'a> Model<'a> {
    /// Reads a `.tflite` file with one graph, whose numbers are f32, f16 or i32.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.get(4..8) != Some(b"TFL3") {
            return Err("it does not begin like a TensorFlow Lite model".into());
        }
        let root = Table::root(bytes)?;
        let version = root.u32(0)?;
        if version != 3 {
            return Err(format!("expected version 3, found {version}"));
        }
        let mut kinds = Vec::new();
        for kind in root.tables(1)? {
            // Small numbers stood in another field once.
            let code = i32::from(kind.i8(0)?).max(kind.i32(3, 0)?);
            kinds.push((code, kind.bytes(1)?));
        }
        let buffers = root.tables(4)?;
        let graphs = root.tables(2)?;
        let [graph] = graphs[..] else {
            return Err(format!("expected one graph, found {}", graphs.len()));
        };
        let mut tensors = Vec::new();
        for (index, tensor) in graph.tables(0)?.into_iter().enumerate() {
            let buffer = tensor.u32(2)? as usize;
            let stored = buffers
                .get(buffer)
                .map_or(Err(format!("there is no buffer {buffer}")), |buffer| {
                    Stored::new(&tensor, buffer.bytes(0)?)
                });
            tensors.push(stored.map_err(|reason| format!("tensor {index}: {reason}"))?);
        }
        let known = |index: i32| {
            let index = usize::try_from(index).ok();
            (index.filter(|index| *index < tensors.len())).ok_or("there is no such tensor")
        };
        let mut operators = Vec::new();
        for (index, operator) in graph.tables(3)?.into_iter().enumerate() {
            let invalid = |reason: &str| format!("operator {index}: {reason}");
            let kind = kinds.get(operator.u32(0)? as usize);
            let (code, custom) = *kind.ok_or_else(|| invalid("its kind is not listed"))?;
            let inputs = operator.i32s(1, 8)?.into_iter().map(|input| match input {
                -1 => Ok(None),
                index => known(index).map(Some),
            });
            let outputs = operator.i32s(2, 8)?;
            let [output] = outputs[..] else {
                return Err(invalid(&format!(
                    "expected one output, found {}",
                    outputs.len()
                )));
            };
            operators.push(Operator {
                code,
                custom,
                inputs: inputs.collect::<Result<_, _>>().map_err(invalid)?,
                output: known(output).map_err(invalid)?,
                options: operator.table(4)?,
                custom_options: operator.bytes(5)?,
            });
        }
        let listed = |field| {
            let indices = graph.i32s(field, 64)?.into_iter().map(known);
            indices
                .collect::<Result<Vec<_>, _>>()
                .map_err(str::to_string)
        };
        Ok(Self {
            inputs: listed(1)?,
            outputs: listed(2)?,
            operators,
            tensors,
        })
    }
}

impl<'a> Stored<'a> {
    fn new(tensor: &Table<'a>, data: &'a [u8]) -> Result<Self, String> {
        let shape = tensor.i32s(0, MOST_AXES)?.into_iter().map(|size| {
            // Products of four such sizes fit 64 bits.
            (usize::try_from(size).ok().filter(|size| *size <= 1 << 15))
                .ok_or_else(|| format!("a side of {size}"))
        });
        let shape = shape.collect::<Result<Vec<_>, _>>()?;
        let elements = shape.iter().map(|size| *size as u64).product::<u64>();
        let numbers = match tensor.i8(1)? {
            _ if data.is_empty() => Numbers::Computed,
            0 => Numbers::F32(whole(data, elements)?),
            1 => Numbers::F16(whole(data, elements)?),
            2 => Numbers::I32(whole(data, elements)?),
            kind => return Err(format!("expected f32, f16 or i32, found type {kind}")),
        };
        Ok(Self { shape, numbers })
    }
}

/// All of `data` as so many elements.
fn whole<const N: usize>(data: &[u8], elements: u64) -> Result<&[[u8; N]], String> {
    match data.as_chunks() {
        (chunks, []) if chunks.len() as u64 == elements => Ok(chunks),
        _ => Err(format!(
            "expected {elements} elements of {N} bytes, found {} bytes",
            data.len()
        )),
    }
}

impl Numbers<'_> {
    /// How many they are.
    pub fn count(&self) -> usize {
        match self {
            Self::Computed => 0,
            Self::F32(numbers) | Self::I32(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
        }
    }

    /// The same as `f32`. Numbers of 16 bits are widened exactly, the smallest ones included.
    pub fn floats(&self) -> Option<Vec<f32>> {
        match self {
            Self::F32(numbers) => Some(numbers.iter().map(|n| f32::from_le_bytes(*n)).collect()),
            Self::F16(numbers) => {
                let widened = numbers
                    .iter()
                    .map(|n| half::f16::from_le_bytes(*n).to_f32());
                Some(widened.collect())
            }
            Self::Computed | Self::I32(_) => None,
        }
    }

    /// The `N` whole numbers that they have to be.
    pub fn integers<const N: usize>(&self) -> Option<[i32; N]> {
        let Self::I32(numbers) = self else {
            return None;
        };
        let numbers: [[u8; 4]; N] = (*numbers).try_into().ok()?;
        Some(numbers.map(i32::from_le_bytes))
    }
}

impl Operator<'_> {
    /// Option `index`, an `i8`, 0 by default.
    pub fn small(&self, index: usize) -> Result<i8, String> {
        self.options.map_or(Ok(0), |options| options.i8(index))
    }

    /// Option `index`, an `i32`.
    pub fn number(&self, index: usize, default: i32) -> Result<i32, String> {
        let option = |options: Table<'_>| options.i32(index, default);
        self.options.map_or(Ok(default), option)
    }
}
