//! The workspace: which tensors of a program share a buffer.

use std::ops::Range;

use super::{Gpu, Tensor};
use crate::error::Result;
use crate::options::Format;

/// Tensors of a program and their lifetimes, in steps of planning.
#[derive(Default)]
pub(super) struct Lifetimes {
    now: u32,
    tensors: Vec<(Tensor, String, Range<u32>)>,
}

impl Lifetimes {
    /// Begins a tensor's lifetime. It lasts to the end unless the tensor is released.
    pub(super) fn begin(&mut self, label: &str, tensor: &Tensor) {
        self.now += 1;
        let lifetime = self.now..u32::MAX;
        self.tensors
            .push((tensor.clone(), label.to_string(), lifetime));
    }

    /// Ends the lifetime of a tensor, or of the one that it is a slice of.
    pub(super) fn end(&mut self, tensor: &Tensor) {
        self.now += 1;
        let mut tensors = self.tensors.iter_mut();
        if let Some((_, _, lifetime)) = tensors.find(|(other, ..)| other.shares(tensor)) {
            lifetime.end = self.now;
        }
    }

    /// Places all tensors in buffers and reuses those that are `lent`. Returns all buffers and the
    /// bytes of the new ones.
    pub(super) fn allocate(
        self,
        gpu: &Gpu,
        lent: Vec<wgpu::Buffer>,
    ) -> Result<(Vec<wgpu::Buffer>, u64)> {
        let needs: Vec<_> = (self.tensors.iter())
            .map(|(tensor, _, lifetime)| Need {
                bytes: tensor.bytes(),
                lifetime: lifetime.clone(),
            })
            .collect();
        let sizes: Vec<_> = lent.iter().map(wgpu::Buffer::size).collect();
        let (chosen, new) = assign(&needs, &sizes);
        let mut buffers = lent;
        for bytes in &new {
            // Named after the first tensor of its size.
            let number = buffers.len();
            let named = (0..needs.len()).find(|&i| chosen[i] == number && needs[i].bytes == *bytes);
            let label = named.map_or("working memory", |i| &self.tensors[i].1);
            let shape = [1, (bytes / 4) as u32, 1];
            let memory = Tensor::empty(gpu, label, Format::F32, shape)?;
            buffers.push(memory.buffer().clone());
        }
        for ((tensor, ..), buffer) in self.tensors.iter().zip(chosen) {
            tensor.place(&buffers[buffer]);
        }
        Ok((buffers, new.iter().sum()))
    }
}

/// A tensor's demand for memory.
#[derive(Clone, Debug, PartialEq)]
struct Need {
    bytes: u64,
    lifetime: Range<u32>,
}

/// Assigns to each need a buffer that is large enough and otherwise free during its lifetime,
/// either one of sizes `lent` or a new one. Returns each need's buffer number, where lent buffers
/// come first, and the sizes of the new buffers.
///
/// Larger needs choose first, and take the smallest buffer that fits (Pisarchyk and Lee 2020,
/// "Greedy by Size for Shared Objects").
fn assign(needs: &[Need], lent: &[u64]) -> (Vec<usize>, Vec<u64>) {
    let mut buffers: Vec<(u64, Vec<&Range<u32>>)> =
        lent.iter().map(|bytes| (*bytes, Vec::new())).collect();
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(needs[i].bytes));
    let mut chosen = vec![0; needs.len()];
    for i in order {
        let Need { bytes, lifetime } = &needs[i];
        let apart =
            |other: &&Range<u32>| other.end <= lifetime.start || lifetime.end <= other.start;
        let fit = (0..buffers.len())
            .filter(|&b| buffers[b].0 >= *bytes && buffers[b].1.iter().all(&apart))
            .min_by_key(|&b| buffers[b].0);
        chosen[i] = fit.unwrap_or_else(|| {
            buffers.push((*bytes, Vec::new()));
            buffers.len() - 1
        });
        buffers[chosen[i]].1.push(lifetime);
    }
    let new = buffers[lent.len()..]
        .iter()
        .map(|(bytes, _)| *bytes)
        .collect();
    (chosen, new)
}

#[cfg(test)]
mod tests;
