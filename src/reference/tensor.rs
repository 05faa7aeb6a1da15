//! Arrays of numbers, and loops over them on all cores.

use std::thread;

use super::Real;
use crate::{Result, Weights};

/// A dense row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// Elements, last axis fastest.
    pub data: Vec<Real>,
}

impl Tensor {
    /// Wraps `data`; its length must be the product of `shape`.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<Real>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape, data }
    }

    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }

    /// A `[height, width, channels]` image from channel-major data `[channels][height][width]`.
    pub fn from_planar([channels, height, width]: [usize; 3], planar: &[Real]) -> Self {
        debug_assert_eq!(channels * height * width, planar.len());
        let texels = height * width;
        let data = (0..texels)
            .flat_map(|texel| (0..channels).map(move |c| planar[c * texels + texel]))
            .collect();
        Self::new([height, width, channels], data)
    }

    /// The inverse of [`Tensor::from_planar`].
    pub fn to_planar(&self) -> Vec<Real> {
        let [height, width, channels] = self.image();
        let texels = height * width;
        (0..channels)
            .flat_map(|c| (0..texels).map(move |texel| self.data[texel * channels + c]))
            .collect()
    }

    /// `[height, width, channels]` of an image.
    pub fn image(&self) -> [usize; 3] {
        let [height, width, channels] = self.shape[..] else {
            unreachable!("an image has three axes, this tensor is {:?}", self.shape)
        };
        [height, width, channels]
    }

    /// The channels of pixel (`row`, `column`) of an image.
    pub fn pixel(&self, row: usize, column: usize) -> &[Real] {
        self.row(row * self.shape[1] + column)
    }

    /// The `index`-th run along the last axis, all other axes flattened.
    pub fn row(&self, index: usize) -> &[Real] {
        let length = self.row_length();
        &self.data[index * length..][..length]
    }

    /// Extent of the last axis.
    pub fn row_length(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// `f` applied to every element.
    pub fn map(mut self, f: impl Fn(Real) -> Real) -> Self {
        self.data.iter_mut().for_each(|v| *v = f(*v));
        self
    }

    /// The image upside down.
    pub fn flip_rows(&self) -> Self {
        let [_, width, channels] = self.image();
        let rows = self.data.chunks_exact(width * channels).rev();
        Self::new(self.shape.clone(), rows.flatten().copied().collect())
    }
}

/// Numbers of a file in this precision.
pub fn reals(values: &[f32]) -> Vec<Real> {
    values.iter().map(|value| Real::from(*value)).collect()
}

/// A checkpoint's tensor.
///
/// # Errors
/// If the checkpoint lacks it.
pub fn load(weights: &Weights, name: &str) -> Result<Vec<Real>> {
    Ok(reals(&weights.f32(name)?))
}

/// Runs `f(index, row)` for every run of `length` elements of `data`, on all cores.
pub fn parallel_rows<T: Send>(data: &mut [T], length: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let rows_per_thread = (data.len() / length).div_ceil(threads).max(1);
    let run = &|i: usize, block: &mut [T]| {
        for (j, row) in block.chunks_exact_mut(length).enumerate() {
            f(i * rows_per_thread + j, row);
        }
    };
    thread::scope(|scope| {
        let mut blocks = data.chunks_mut(rows_per_thread * length).enumerate();
        // One runs here. In a browser, which has no threads, it is the only one.
        let own = blocks.next();
        for (i, block) in blocks {
            scope.spawn(move || run(i, block));
        }
        if let Some((i, block)) = own {
            run(i, block);
        }
    });
}
