//! Numeric formats, and which ones a model uses where.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Numeric formats of a model.
///
/// | precision | stage          | weights   | maps  | samples | arithmetic |
/// |-----------|----------------|-----------|-------|---------|------------|
/// | `F32`     | all            | `f32`     | `f32` | `f32`   | `f32`      |
/// | `Mixed`   | encoder        | `snorm16` | `f32` |         | `f32`      |
/// |           | field          | `f32`     | `f32` | `f16`   | `f32`      |
/// |           | super-resolver | `snorm16` | `f16` |         | `f32`      |
/// | `F16`     | encoder        | `snorm16` | `f16` |         | `f16`      |
/// |           | field          | `f16`     | `f16` | `f16`   | `f32`      |
/// |           | super-resolver | `snorm16` | `f16` |         | `f16`      |
///
/// - Weights are those of a stage's matrices and filters. `snorm16` are integers of 16 bits with a
///   quantisation scale for each output channel.
/// - Maps are feature maps; those of the field are the tri-planes.
/// - Samples are the field's values along the rays.
/// - Arithmetic is that of 3x3 convolutions. `f16` needs the device feature
///   [`SHADER_F16`](wgpu::Features::SHADER_F16) and adds up to 36 products in 16 bits. All other
///   arithmetic has 32 bits.
///
/// With [cooperative matrices](crate::GpuOptions::matrices), convolutions of `f16` maps
/// round both factors of a product to `f16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// All numbers have 32 bits. The golden data are compared in this precision.
    #[default]
    F32,
    /// Maps that decide where samples lie keep 32 bits. On the golden cases pictures agree with
    /// those in `F32` to 62 dB or more, in little more than half the memory.
    Mixed,
    /// Planes have half the size. Rounded planes move fine samples a little, which shows where the
    /// field is steep: 50 to 71 dB on the golden cases.
    F16,
}

impl Precision {
    /// Formats of the encoder.
    pub(crate) fn encoder(self) -> Formats {
        match self {
            Self::F32 => Formats::F32,
            Self::Mixed => Formats {
                weights: Format::Snorm16,
                ..Formats::F32
            },
            Self::F16 => self.super_resolver(),
        }
    }

    /// Formats of everything from rays to the low-resolution image.
    pub(crate) fn field(self) -> Formats {
        match self {
            Self::F32 => Formats::F32,
            Self::Mixed => Formats {
                samples: Format::F16,
                ..Formats::F32
            },
            Self::F16 => Formats {
                weights: Format::F16,
                maps: Format::F16,
                samples: Format::F16,
                arithmetic: Format::F32,
            },
        }
    }

    /// Formats of the super-resolver.
    pub(crate) fn super_resolver(self) -> Formats {
        let stored = Formats {
            weights: Format::Snorm16,
            maps: Format::F16,
            ..Formats::F32
        };
        match self {
            Self::F32 => Formats::F32,
            Self::Mixed => stored,
            Self::F16 => Formats {
                arithmetic: Format::F16,
                ..stored
            },
        }
    }
}

/// `f32`, `mixed` or `f16`
impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Mixed => "mixed",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    /// Reads `f32`, `mixed` or `f16`.
    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::F32, Self::Mixed, Self::F16];
        let found = all
            .into_iter()
            .find(|precision| precision.to_string() == text);
        found.ok_or_else(|| Error::argument("precision", "f32, mixed or f16", format!("{text:?}")))
    }
}

/// Format of a tensor's elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits: 11 of precision, up to 65,504.
    F16,
    /// Integers of 16 bits for -1 to 1.
    Snorm16,
}

/// `f32`, `f16` or `snorm16`
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Snorm16 => "snorm16",
        })
    }
}

impl Format {
    /// Bytes of this many elements.
    pub(crate) fn bytes(self, elements: u64) -> u64 {
        match self {
            Self::F32 => 4 * elements,
            Self::F16 | Self::Snorm16 => 2 * elements,
        }
    }
}

/// Formats of one stage: a row of the table of [`Precision`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Formats {
    pub weights: Format,
    pub maps: Format,
    pub samples: Format,
    /// The narrowest format in which kernels may compute.
    pub arithmetic: Format,
}

impl Formats {
    pub(crate) const F32: Self = Self {
        weights: Format::F32,
        maps: Format::F32,
        samples: Format::F32,
        arithmetic: Format::F32,
    };

    /// The shader definitions of these formats.
    pub(crate) fn definitions(self) -> Vec<&'static str> {
        let all = [
            ("WEIGHTS_SNORM16", self.weights == Format::Snorm16),
            ("SAMPLES_F16", self.samples == Format::F16),
            ("MAPS_F16", self.maps == Format::F16),
            ("ARITHMETIC_F16", self.arithmetic == Format::F16),
        ];
        let holding = all.into_iter().filter(|(_, holds)| *holds);
        holding.map(|(name, _)| name).collect()
    }
}
