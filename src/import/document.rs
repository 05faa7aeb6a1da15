//! Files of pickled Python objects: plain pickles and PyTorch's archives.

use std::collections::{HashSet, VecDeque};

use safetensors::Dtype;

use super::array::Array;
use super::budget::Budget;
use super::numpy;
use super::pickle::{Node, Pickle, beginning};
use super::torch::{self, TorchArchive};
use crate::sniff::{self, Kind};

/// Largest depth of nested lists of numbers.
const MAX_AXES: usize = 8;

/// Largest number of dictionaries around one that is looked for.
const MAX_DEPTH: usize = 4;

/// A pickle, and the archive with the elements of its tensors.
#[derive(Debug)]
pub(super) struct Document<'a> {
    bytes: &'a [u8],
    pickle: Pickle<'a>,
    archive: Option<TorchArchive>,
}

impl<'a> Document<'a> {
    /// Reads a file of `torch.save` or `pickle.dump`, with a budget of its own.
    #[cfg(test)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        Self::within(bytes, &Budget::of(bytes.len()))
    }

    /// Reads a file of `torch.save` or `pickle.dump`. All that is made of it is taken from the
    /// budget.
    pub fn within(bytes: &'a [u8], budget: &Budget) -> Result<Self, String> {
        let (archive, pickle) = match sniff::kind(bytes) {
            Kind::Pickle => (None, Pickle::within(bytes, budget)?),
            _ => {
                let archive = TorchArchive::within(bytes, budget)?;
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
        // Lists may be shared, too, and are walked anew for each reference. What is left of the
        // file's budget is asked first.
        node.take(1)?;
        let mut numbers = Numbers {
            shape: Vec::new(),
            bytes: Vec::new(),
            // Lists may contain each other repeatedly, so that few bytes stand for any number of
            // elements.
            budget: self.pickle.len(),
        };
        let collected = numbers.collect(node, 0);
        node.take(size_of::<f64>() * (self.pickle.len() - numbers.budget))?;
        let array = collected.map(|()| Array::of_bytes(numbers.shape, Dtype::F64, numbers.bytes));
        array.transpose()
    }
}

/// The dictionaries in a value and those within them, the outermost first, each with the keys that
/// lead to it, joined by dots.
pub(super) fn dictionaries<'p, 'a: 'p>(
    root: Node<'p, 'a>,
) -> impl Iterator<Item = (String, Node<'p, 'a>)> {
    let mut queue = VecDeque::from([(String::new(), root, 0)]);
    let mut seen = HashSet::from([root.identity()]);
    std::iter::from_fn(move || {
        let (path, node, depth) = queue.pop_front()?;
        if depth < MAX_DEPTH {
            for (key, value) in node.entries().into_iter().flatten() {
                // Values may be shared, and contain themselves.
                if value.entries().is_some() && seen.insert(value.identity()) {
                    let key = match key.text() {
                        Some(key) => beginning(key).to_owned(),
                        None => key.describe(),
                    };
                    let path = match path.as_str() {
                        "" => key,
                        path => format!("{path}.{key}"),
                    };
                    // A few bytes of a key may be in any number of paths.
                    if value.take(path.len() + 64).is_err() {
                        break;
                    }
                    queue.push_back((path, value, depth + 1));
                }
            }
        }
        Some((path, node))
    })
}

/// The numbers of nested lists.
struct Numbers {
    shape: Vec<usize>,
    /// Of the numbers, in 64 bits each.
    bytes: Vec<u8>,
    budget: usize,
}

impl Numbers {
    /// None if a value is not a number, lengths of lists differ, or the budget is exceeded.
    fn collect(&mut self, node: Node, axis: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(1)?;
        if let Some(value) = node.float() {
            self.bytes.extend(value.to_le_bytes());
            return (axis == self.shape.len()).then_some(());
        }
        let mut elements = node.elements()?;
        if axis == self.shape.len() && self.bytes.is_empty() && axis < MAX_AXES {
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
