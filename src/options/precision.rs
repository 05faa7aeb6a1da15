//! How numbers are stored.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::gpu::Storage;
use crate::stage::style_unet::Numbers;

/// How a model keeps its weights and maps on the device. Arithmetic has 32 bits but where said
/// otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits: what the golden data hold for.
    #[default]
    Full,
    /// 16 bits in all that is large, but for the encoder's maps, the planes and the radiance field's
    /// weights, which decide where samples lie: little more than half the memory, and pictures
    /// 62 dB or more from the full ones on the golden cases. Weights are integers with a gain
    /// for each output channel. With [matrices](crate::GpuOptions::matrices), what the super-resolver's
    /// convolutions multiply is rounded to halves, too.
    Half,
    /// 16 bits in these as well, and planes, of which every avatar has its own, of half the size.
    /// Rounded planes move the fine samples a little, so pictures differ more where the field is steep:
    /// 50 to 71 dB on the golden cases. On devices with the feature [`SHADER_F16`](wgpu::Features::SHADER_F16)
    /// convolutions may also multiply in 16 bits, and add up to 36 products in them.
    Fastest,
}

impl FromStr for Precision {
    type Err = Error;

    /// Reads `full`, `half` or `fastest`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "full" => Ok(Self::Full),
            "half" => Ok(Self::Half),
            "fastest" => Ok(Self::Fastest),
            _ => Err(Error::argument(
                "precision",
                "full, half or fastest",
                format!("{text:?}"),
            )),
        }
    }
}

impl Precision {
    /// Of the encoder, the planes and the radiance field.
    pub(crate) fn volume(self) -> Storage {
        match self {
            Self::Full => Storage::Full,
            Self::Half => Storage::Mixed,
            Self::Fastest => Storage::Half,
        }
    }

    /// Of a network whose numbers are stored like this.
    pub(crate) fn numbers(self, storage: Storage) -> Numbers {
        Numbers {
            storage,
            half_arithmetic: self == Self::Fastest,
        }
    }

    /// Of the super-resolver.
    pub(crate) fn super_resolver(self) -> Storage {
        match self {
            Self::Full => Storage::Full,
            Self::Half | Self::Fastest => Storage::Half,
        }
    }
}
