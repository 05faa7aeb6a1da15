//! What a network hands to the host.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// What a network found: maps by their number in its file. Their memory serves the next run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outputs {
    maps: BTreeMap<usize, Vec<f32>>,
    /// The maps that are the network's outputs, in its order.
    order: Vec<usize>,
    spare: Vec<f32>,
}

impl Outputs {
    /// The memory of a map that the device brings.
    pub fn map(&mut self, map: usize) -> &mut Vec<f32> {
        self.maps.entry(map).or_default()
    }

    /// Computes what is left to the host.
    pub fn finish(&mut self, tail: &[Tail], order: &[usize]) {
        for tail in tail {
            let inputs = tail.inputs.iter().map(|map| self.maps.get(map));
            let inputs: Vec<_> = inputs
                .map(|map| map.map_or(&[][..], Vec::as_slice))
                .collect();
            tail.compute(&inputs, &mut self.spare);
            // It may be one of its inputs.
            let map = self.maps.entry(tail.output).or_default();
            std::mem::swap(map, &mut self.spare);
        }
        self.order.clear();
        self.order.extend_from_slice(order);
    }

    /// The outputs, of which there are `N`.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are more or fewer.
    pub fn get<const N: usize>(&self) -> Result<[&[f32]; N]> {
        let count = self.order.len();
        Error::unless(count == N, "outputs of a network", N, count)?;
        let output = |i: usize| self.maps.get(&self.order[i]).map(Vec::as_slice);
        Ok(std::array::from_fn(|i| output(i).unwrap_or_default()))
    }

    /// All outputs.
    pub fn into_all(mut self) -> Vec<Vec<f32>> {
        let order = self.order.iter();
        order
            .map(|map| self.maps.remove(map).unwrap_or_default())
            .collect()
    }
}

/// A map that the host computes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tail {
    pub kind: TailKind,
    pub inputs: Vec<usize>,
    pub output: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TailKind {
    /// The same numbers.
    Reshape,
    /// One run of so many numbers of each input after another.
    Append(Vec<usize>),
    /// `[y][x][2 x 2][channel]` as `[2 y][2 x][channel]`.
    Spread {
        width: usize,
        channels: usize,
    },
    Logistic,
}

impl Tail {
    /// Writes the map, from its inputs.
    fn compute(&self, inputs: &[&[f32]], map: &mut Vec<f32>) {
        let first = inputs.first().copied().unwrap_or_default();
        map.clear();
        match &self.kind {
            TailKind::Reshape => map.extend_from_slice(first),
            TailKind::Logistic => map.extend(first.iter().map(|x| super::sigmoid(*x))),
            TailKind::Append(runs) => {
                let mut rest = inputs.to_vec();
                while !rest.iter().all(|rest| rest.is_empty()) {
                    for (rest, run) in rest.iter_mut().zip(runs) {
                        let (head, tail) = rest.split_at(rest.len().min(*run));
                        map.extend_from_slice(head);
                        *rest = tail;
                    }
                }
            }
            TailKind::Spread { width, channels } => {
                let row = 4 * width * channels;
                for values in first.chunks_exact(row) {
                    for lower in 0..2 {
                        for pixel in values.chunks_exact(4 * channels) {
                            map.extend_from_slice(&pixel[2 * lower * channels..][..2 * channels]);
                        }
                    }
                }
            }
        }
    }
}
