//! Typed, strided views of bytes, as PyTorch and numpy store their numbers.

use std::borrow::Cow;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::weights::{TensorFile, expect_shape};

/// Largest number of axes.
pub(super) const MAX_RANK: usize = 32;

/// Number of elements that even an array of few bytes may have.
const FREE_ELEMENTS: usize = 1 << 16;

/// The order of an array's elements in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StridedLayout {
    pub dtype: Dtype,
    pub big_endian: bool,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Distance between neighbours along each axis, in elements.
    pub strides: Vec<usize>,
    /// First element.
    pub offset: usize,
}

impl StridedLayout {
    /// Row-major, as in C, or column-major, as in Fortran.
    pub fn dense(dtype: Dtype, shape: Vec<usize>, fortran: bool) -> Result<Self, String> {
        let mut strides = vec![0; shape.len()];
        let mut stride = 1usize;
        let mut from_innermost: Vec<usize> = (0..shape.len()).collect();
        if !fortran {
            from_innermost.reverse();
        }
        for axis in from_innermost {
            strides[axis] = stride;
            stride = (stride.checked_mul(shape[axis]))
                .ok_or_else(|| format!("shape {shape:?} is beyond the address space"))?;
        }
        Ok(Self {
            dtype,
            big_endian: false,
            shape,
            strides,
            offset: 0,
        })
    }

    /// Number of elements, if `length` bytes hold them.
    pub fn checked_count(&self, length: usize) -> Result<usize, String> {
        let misfit = || {
            format!(
                "{length} bytes do not hold elements {} of shape {:?}, strides {:?}, offset {}",
                self.dtype, self.shape, self.strides, self.offset
            )
        };
        if self.shape.len() != self.strides.len() || self.shape.len() > MAX_RANK {
            return Err(misfit());
        }
        if self.shape.contains(&0) {
            return Ok(0);
        }
        let available = length / self.size();
        let mut count = 1usize;
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            count = count.checked_mul(size).ok_or_else(misfit)?;
            let distance = (size - 1).checked_mul(stride);
            let next = distance.and_then(|distance| last.checked_add(distance));
            last = next.ok_or_else(misfit)?;
        }
        // Elements may be shared, as in an expanded tensor, but not without limit: otherwise a few
        // bytes could become any number of elements.
        if last >= available || count > available.max(FREE_ELEMENTS) {
            return Err(misfit());
        }
        Ok(count)
    }

    /// Bytes of an element.
    fn size(&self) -> usize {
        self.dtype.bitsize().div_ceil(8).max(1)
    }

    fn is_dense(&self) -> bool {
        let mut stride = 1;
        (self.shape.iter().zip(&self.strides).rev()).all(|(&size, &found)| {
            let expected = stride;
            stride *= size;
            size == 1 || found == expected
        })
    }
}

/// Numbers of some type and layout.
#[derive(Clone, Debug)]
pub(super) struct Array<'a> {
    layout: StridedLayout,
    count: usize,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Array<'a> {
    /// # Errors
    /// If not all elements lie within `bytes`.
    pub fn new(mut layout: StridedLayout, bytes: Cow<'a, [u8]>) -> Result<Self, String> {
        let count = layout.checked_count(bytes.len())?;
        // The stride of an axis of one element is not used and may be any number.
        for (stride, size) in layout.strides.iter_mut().zip(&layout.shape) {
            if *size == 1 {
                *stride = 0;
            }
        }
        Ok(Self {
            layout,
            count,
            bytes,
        })
    }

    /// An array of these numbers, row-major.
    pub fn from_f64(shape: Vec<usize>, values: &[f64]) -> Result<Self, String> {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::of_bytes(shape, Dtype::F64, bytes)
    }

    /// An array of numbers in little-endian bytes, row-major.
    pub fn of_bytes(shape: Vec<usize>, dtype: Dtype, bytes: Vec<u8>) -> Result<Self, String> {
        let layout = StridedLayout::dense(dtype, shape, false)?;
        Self::new(layout, bytes.into())
    }

    /// A tensor of a safetensors file, if it has one of that name.
    pub fn of_file(file: &'a TensorFile, name: &str) -> Result<Option<Self>, String> {
        let Ok((info, bytes)) = file.tensor(name) else {
            return Ok(None);
        };
        let layout = StridedLayout::dense(info.dtype, info.shape.clone(), false)?;
        Self::new(layout, bytes.into()).map(Some)
    }

    /// The same with bytes of its own.
    pub fn into_owned(self) -> Array<'static> {
        Array {
            layout: self.layout,
            count: self.count,
            bytes: Cow::Owned(self.bytes.into_owned()),
        }
    }

    pub fn dtype(&self) -> Dtype {
        self.layout.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// The shape, if it is the expected one; `None` stands for any size.
    pub fn expect_shape<const N: usize>(
        &self,
        name: &str,
        expected: [Option<usize>; N],
    ) -> Result<[usize; N], String> {
        expect_shape(name, Some(self.shape()), expected)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The values, row-major, rounded to single precision.
    pub fn f32(&self) -> Result<Vec<f32>, String> {
        self.floats(|value| value as f32)
    }

    /// The values, row-major.
    pub fn f64(&self) -> Result<Vec<f64>, String> {
        self.floats(|value| value)
    }

    fn floats<T>(&self, float: impl Fn(f64) -> T) -> Result<Vec<T>, String> {
        Ok(match self.layout.dtype {
            Dtype::BOOL | Dtype::U8 => self.gather(|[b]: [u8; 1]| float(b.into())),
            Dtype::I8 => self.gather(|b| float(i8::from_le_bytes(b).into())),
            Dtype::I16 => self.gather(|b| float(i16::from_le_bytes(b).into())),
            Dtype::U16 => self.gather(|b| float(u16::from_le_bytes(b).into())),
            Dtype::F16 => self.gather(|b| float(f16::from_le_bytes(b).into())),
            Dtype::BF16 => self.gather(|b| float(bf16::from_le_bytes(b).into())),
            Dtype::I32 => self.gather(|b| float(i32::from_le_bytes(b).into())),
            Dtype::U32 => self.gather(|b| float(u32::from_le_bytes(b).into())),
            Dtype::F32 => self.gather(|b| float(f32::from_le_bytes(b).into())),
            Dtype::I64 => self.gather(|b| float(i64::from_le_bytes(b) as f64)),
            Dtype::U64 => self.gather(|b| float(u64::from_le_bytes(b) as f64)),
            Dtype::F64 => self.gather(|b| float(f64::from_le_bytes(b))),
            other => return Err(format!("expected numbers, found type {other}")),
        })
    }

    /// The same values as [`f32`](Self::f32), borrowed where the bytes are native, dense floats.
    pub fn into_f32(self) -> Result<Cow<'a, [f32]>, String> {
        if let Cow::Borrowed(bytes) = self.bytes
            && self.layout.dtype == Dtype::F32
            && self.layout.big_endian == cfg!(target_endian = "big")
            && self.count > 0
            && self.layout.is_dense()
            && let Ok(values) = bytemuck::try_cast_slice(&bytes[..bytes.len() / 4 * 4])
        {
            return Ok(values[self.layout.offset..][..self.count].into());
        }
        self.f32().map(Cow::Owned)
    }

    /// The values, row-major.
    ///
    /// # Errors
    /// If they are not integers, or one is out of range.
    pub fn i64(&self) -> Result<Vec<i64>, String> {
        Ok(match self.layout.dtype {
            Dtype::BOOL | Dtype::U8 => self.gather(|[b]: [u8; 1]| b.into()),
            Dtype::I8 => self.gather(|b| i8::from_le_bytes(b).into()),
            Dtype::I16 => self.gather(|b| i16::from_le_bytes(b).into()),
            Dtype::U16 => self.gather(|b| u16::from_le_bytes(b).into()),
            Dtype::I32 => self.gather(|b| i32::from_le_bytes(b).into()),
            Dtype::U32 => self.gather(|b| u32::from_le_bytes(b).into()),
            Dtype::I64 => self.gather(i64::from_le_bytes),
            Dtype::U64 => {
                let checked =
                    |value| i64::try_from(value).map_err(|_| format!("{value} as an integer"));
                let values = self.gather(u64::from_le_bytes);
                return values.into_iter().map(checked).collect();
            }
            other => return Err(format!("expected integers, found type {other}")),
        })
    }

    /// All elements in row-major order, each from its bytes in little-endian order.
    fn gather<const N: usize, T>(&self, element: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (cells, _) = self.bytes.as_chunks::<N>();
        let element = |cell: &[u8; N]| {
            let mut cell = *cell;
            if self.layout.big_endian {
                cell.reverse();
            }
            element(cell)
        };
        let (shape, strides) = (&self.layout.shape, &self.layout.strides);
        if self.count == 0 {
            return Vec::new();
        }
        let mut position = self.layout.offset;
        if self.layout.is_dense() {
            return cells[position..][..self.count]
                .iter()
                .map(element)
                .collect();
        }
        let mut values = Vec::with_capacity(self.count);
        let mut index = vec![0; shape.len()];
        while values.len() < self.count {
            values.push(element(&cells[position]));
            // Advances the innermost axis that is not at its end.
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                position += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                position -= index[axis] * strides[axis];
                index[axis] = 0;
            }
        }
        values
    }
}

#[cfg(test)]
mod tests;
