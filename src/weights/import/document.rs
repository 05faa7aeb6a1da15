//! Files of pickled Python objects: plain pickles, and PyTorch's archives.

use super::archive::Archive;
use super::array::Array;
use super::numpy;
use super::pickle::{Node, Pickle};
use super::torch::{self, TorchArchive};

/// How deeply lists of numbers may be nested.
const MAX_AXES: usize = 8;

/// A pickle, and where the tensors that it refers to have their elements.
#[derive(Debug)]
pub(super) struct Document<'a> {
    bytes: &'a [u8],
    pickle: Pickle<'a>,
    archive: Option<TorchArchive>,
}

impl<'a> Document<'a> {
    /// Reads what `torch.save` or `pickle.dump` wrote.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        torch::refuse_legacy(bytes)?;
        let archive = match Archive::is_archive(bytes) {
            true => Some(TorchArchive::parse(bytes)?),
            false => None,
        };
        let pickle = match &archive {
            Some(archive) => archive.pickle(bytes)?,
            None => Pickle::parse(bytes)?,
        };
        Ok(Self {
            bytes,
            pickle,
            archive,
        })
    }

    /// Whether it was PyTorch that wrote it.
    pub fn is_archive(&self) -> bool {
        self.archive.is_some()
    }

    /// The object that was written.
    pub fn root(&self) -> Node<'_, 'a> {
        self.pickle.root()
    }

    /// Reads a value as an array: a tensor, one of numpy, a number, or a list of these of equal
    /// shape. None if it is no such thing.
    pub fn array(&self, node: Node<'_, 'a>) -> Result<Option<Array<'a>>, String> {
        if torch::is_tensor(node) {
            let big_endian = self.archive.as_ref().is_some_and(TorchArchive::big_endian);
            let tensor = torch::tensor(node, big_endian)?;
            let archive = self.archive.as_ref().map(|archive| (archive, self.bytes));
            return torch::array(tensor, archive).map(Some);
        }
        if let Some(array) = numpy::array(node)? {
            return Ok(Some(array));
        }
        let mut numbers = Numbers {
            shape: Vec::new(),
            values: Vec::new(),
            // Lists may contain one another more than once, so that few bytes stand for any number
            // of elements.
            budget: self.pickle.len(),
        };
        match numbers.collect(node, 0) {
            Some(()) => Array::from_f64(numbers.shape, &numbers.values).map(Some),
            None => Ok(None),
        }
    }
}

/// The numbers of nested lists.
struct Numbers {
    shape: Vec<usize>,
    values: Vec<f64>,
    budget: usize,
}

impl Numbers {
    /// None if there is something else than numbers, lists that should be of equal length are not,
    /// or they are more than the budget.
    fn collect(&mut self, node: Node, axis: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(1)?;
        if let Some(value) = node.float() {
            self.values.push(value);
            return (axis == self.shape.len()).then_some(());
        }
        let mut elements = node.elements()?;
        if axis == self.shape.len() && self.values.is_empty() && axis < MAX_AXES {
            self.shape.push(elements.len());
        }
        if self.shape.get(axis) != Some(&elements.len()) {
            return None;
        }
        elements.try_for_each(|element| self.collect(element, axis + 1))
    }
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;

    use super::*;

    fn is_float(dtype: Dtype) -> bool {
        matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::F64)
    }

    /// Each of the tensors counts up, in eighths if they are floats.
    #[test]
    fn tensors_of_every_type_and_layout_are_read() {
        let files: [(&[u8], usize); 3] = [
            (include_bytes!("../../../tests/fixtures/values_1.13.pt"), 23),
            (include_bytes!("../../../tests/fixtures/values_2.6.pt"), 26),
            (include_bytes!("../../../tests/fixtures/big_endian.pt"), 5),
        ];
        for (bytes, count) in files {
            let document = Document::parse(bytes).unwrap();
            let entries: Vec<_> = document.root().entries().unwrap().collect();
            assert_eq!(entries.len(), count);
            for (name, node) in entries {
                let name = name.text().unwrap();
                let array = document.array(node).unwrap().unwrap();
                let step = match (name, is_float(array.dtype())) {
                    ("expanded", _) => 0.0,
                    (_, true) => 0.125,
                    (_, false) => 1.0,
                };
                let expected: Vec<f64> = (0..array.len()).map(|i| i as f64 * step).collect();
                assert_eq!(array.f64().unwrap(), expected, "{name}");
                let single: Vec<f32> = expected.iter().map(|&value| value as f32).collect();
                assert_eq!(array.f32().unwrap(), single, "{name}");
                match array.i64() {
                    Ok(integers) => {
                        let expected: Vec<i64> = expected.iter().map(|&v| v as i64).collect();
                        assert_eq!(integers, expected, "{name}");
                    }
                    Err(reason) => assert!(is_float(array.dtype()), "{name}: {reason}"),
                }
                assert_eq!(array.into_f32().unwrap(), single, "{name}");
            }
        }
    }

    /// A list that holds the same list over and over, and so on: few bytes, many numbers.
    #[test]
    fn lists_that_unfold_to_more_than_their_file_are_no_arrays() {
        let mut bytes = b"\x80\x02]K\x01a".to_vec();
        for level in 0..6 {
            bytes.extend([b'q', level, b'0', b']', b'(']);
            bytes.extend([b'h', level].repeat(100));
            bytes.push(b'e');
        }
        bytes.push(b'.');
        let document = Document::parse(&bytes).unwrap();
        assert!(document.array(document.root()).unwrap().is_none());
    }

    #[test]
    fn nested_lists_are_arrays_if_they_are_rectangular() {
        let array = |pickle: &[u8]| {
            let document = Document::parse(pickle).unwrap();
            let array = document.array(document.root()).unwrap();
            array.map(|array| (array.shape().to_vec(), array.f64().unwrap()))
        };
        let rectangular = array(b"\x80\x02](](K\x01K\x02e](K\x03K\x04ee.");
        assert_eq!(rectangular, Some((vec![2, 2], vec![1.0, 2.0, 3.0, 4.0])));
        for other in [
            &b"\x80\x02](](K\x01K\x02e](K\x03ee."[..],
            b"\x80\x02](](K\x01K\x02eK\x03e.",
            b"\x80\x02](K\x01](K\x03ee.",
            b"\x80\x02](K\x01U\x01ae.",
        ] {
            assert_eq!(array(other), None);
        }
    }
}
