//! Files of pickled Python objects: plain pickles and PyTorch's archives.

use super::array::Array;
use super::numpy;
use super::pickle::{Node, Pickle};
use super::torch::{self, TorchArchive};
use crate::sniff::{self, Kind};

/// Largest depth of nested lists of numbers.
const MAX_AXES: usize = 8;

/// A pickle, and the archive with the elements of its tensors.
#[derive(Debug)]
pub(super) struct Document<'a> {
    bytes: &'a [u8],
    pickle: Pickle<'a>,
    archive: Option<TorchArchive>,
}

impl<'a> Document<'a> {
    /// Reads a file of `torch.save` or `pickle.dump`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let (archive, pickle) = match sniff::kind(bytes) {
            Kind::Pickle => (None, Pickle::parse(bytes)?),
            _ => {
                let archive = TorchArchive::parse(bytes)?;
                let pickle = archive.pickle(bytes)?;
                (Some(archive), pickle)
            }
        };
        Ok(Self {
            bytes,
            pickle,
            archive,
        })
    }

    /// True for a file of `torch.save`.
    pub fn is_archive(&self) -> bool {
        self.archive.is_some()
    }

    /// The pickled object.
    pub fn root(&self) -> Node<'_, 'a> {
        self.pickle.root()
    }

    /// The numbers under `name`, if the pickled object is a dictionary with that key.
    pub fn entry(&self, name: &str) -> Result<Option<Array<'a>>, String> {
        let node = self.root().get(name);
        node.map(|node| self.numbers(node)).transpose()
    }

    /// Reads an [`array`](Self::array); any other value is an error.
    pub fn numbers(&self, node: Node<'_, 'a>) -> Result<Array<'a>, String> {
        self.array(node)?
            .ok_or_else(|| format!("expected numbers, found {}", node.describe()))
    }

    /// Reads a tensor, an array of numpy, a number, or nested lists of numbers. None for any other
    /// value.
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
            // Lists may contain each other repeatedly, so that few bytes stand for any number of
            // elements.
            budget: self.pickle.len(),
        };
        let collected = numbers.collect(node, 0);
        let array = collected.map(|()| Array::from_f64(numbers.shape, &numbers.values));
        array.transpose()
    }
}

/// The numbers of nested lists.
struct Numbers {
    shape: Vec<usize>,
    values: Vec<f64>,
    budget: usize,
}

impl Numbers {
    /// None if a value is not a number, lengths of lists differ, or the budget is exceeded.
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
