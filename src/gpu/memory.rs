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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stage::testing::check;

    fn need(bytes: u64, lifetime: Range<u32>) -> Need {
        Need { bytes, lifetime }
    }

    #[test]
    fn what_is_in_use_at_different_times_shares_a_buffer() {
        let needs = [
            need(8, 0..4),
            need(64, 2..6),
            need(32, 6..9),
            need(4, 4..5),
            need(8, 8..9),
        ];
        // The second ends when the third and fourth begin; the last fits beside the third.
        assert_eq!(assign(&needs, &[]), (vec![1, 0, 0, 1, 1], vec![64, 8]));
        // A lent buffer is used where it is large enough.
        assert_eq!(assign(&needs, &[16, 40]), (vec![0, 2, 1, 0, 0], vec![64]));
        assert_eq!(assign(&[], &[16]), (vec![], vec![]));
    }

    #[test]
    fn nothing_overlaps() {
        let needs = prop::collection::vec((0u64..100, 0u32..50, 1u32..20), 0..40);
        let lent = prop::collection::vec(0u64..120, 0..4);
        check(256, (needs, lent), |(needs, lent)| {
            let needs: Vec<_> = (needs.into_iter())
                .map(|(bytes, from, steps)| need(bytes, from..from + steps))
                .collect();
            let (chosen, new) = assign(&needs, &lent);
            let sizes: Vec<_> = lent.iter().chain(&new).collect();
            for (i, need) in needs.iter().enumerate() {
                assert!(*sizes[chosen[i]] >= need.bytes);
                for (j, other) in needs.iter().enumerate().skip(i + 1) {
                    let together = need.lifetime.start < other.lifetime.end
                        && other.lifetime.start < need.lifetime.end;
                    assert!(!(together && chosen[i] == chosen[j]), "{i} and {j}");
                }
            }
            // At most one buffer per need, and at least the peak of what is in use at a time.
            let all: u64 = needs.iter().map(|need| need.bytes).sum();
            assert!(new.iter().sum::<u64>() <= all);
        });
    }
}
