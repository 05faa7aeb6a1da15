//! How a model is set up.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use super::Precision;
use crate::head::HeadModel;

/// How [`Model::with_options`](crate::Model::with_options) sets a model up.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Head model to use instead of the one in the weights file, if that has any.
    pub head: Option<HeadModel>,
    /// How weights and maps are kept on the device.
    pub precision: Precision,
    /// Keeps every intermediate result of the networks for
    /// [`Model::taps`](crate::Model::taps), in memory of its own. For tests and debugging.
    pub trace: bool,
    /// How variants of the kernels are chosen.
    pub tuning: Tuning,
}

/// How variants of kernels are chosen: they compute the same, to within rounding, in different
/// ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tuning {
    /// The usual fastest on such adapters. Nothing is measured, read or written.
    #[default]
    Estimate,
    /// The fastest that the adapter can run. All are timed when a model of sizes that are
    /// new to the adapter is set up, which takes some seconds, and the choices are kept in a file.
    /// Not for browsers, where nothing can wait for the device.
    Measure {
        /// The file. Default: one for each adapter, driver and version of the kernels, in the user's
        /// folder for caches (`~/.cache/gpavatar` on Linux); if that cannot be written, the next
        /// process measures again. A file of another adapter or of other kernels is replaced.
        file: Option<PathBuf>,
    },
    /// The choices of such a file, whatever adapter it was measured on; layers that it does not name
    /// are estimated. For results that are the same to the last bit on all adapters of a kind.
    Pinned(PathBuf),
}

/// `estimate`, `measure`, `measure=FILE`, or else the path of a file that pins.
impl FromStr for Tuning {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.strip_prefix("measure=")) {
            ("estimate", _) => Self::Estimate,
            ("measure", _) => Self::Measure { file: None },
            (_, Some(file)) => Self::Measure {
                file: Some(file.into()),
            },
            (file, None) => Self::Pinned(file.into()),
        })
    }
}
