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
mod tests;
