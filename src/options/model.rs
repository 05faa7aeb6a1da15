//! How a model is set up.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::Precision;
use crate::head::HeadModel;

/// How [`Model::with_options`](crate::Model::with_options) sets a model up.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Head model to use instead of the one in the weights file.
    pub head: Option<HeadModel>,
    /// How weights and maps are kept on the device.
    pub precision: Precision,
    /// Keeps all intermediates of the networks for [`Model::taps`](crate::Model::taps), in memory
    /// of their own. For tests and debugging.
    pub trace: bool,
    /// How kernel variants are chosen.
    pub tuning: Tuning,
    /// Told of the kernels that are compiled.
    pub progress: Option<Progress>,
    /// A kernel from disk in place of a dispatch's own.
    #[cfg(feature = "candidates")]
    pub candidate: Option<crate::Candidate>,
}

/// Is told how many kernels have been compiled, and of how many: once before the first, then after each.
/// Natively several threads call.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(usize, usize) + Send + Sync>);

impl Progress {
    /// Tells this function.
    pub fn new(tell: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, done: usize, of: usize) {
        (self.0)(done, of);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

/// How kernel variants are chosen. Variants compute the same, to within rounding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tuning {
    /// The variants that are usually the fastest on such adapters. Nothing is measured, read or
    /// written.
    #[default]
    Estimate,
    /// The fastest variants that the adapter can run. When a model of new sizes is set up, all
    /// variants are timed, which takes some seconds, and the choices are kept in a file. Not for
    /// browsers, where nothing can wait for the device.
    Measure {
        /// The file. Default: one for each adapter, driver and version of the kernels, in the user's
        /// folder for caches (`~/.cache/gpavatar` on Linux); if that cannot be written, the next
        /// process measures again. A file of another adapter or of other kernels is replaced.
        file: Option<PathBuf>,
    },
    /// The choices of such a file, whatever adapter it was measured on; layers that it does not
    /// name are estimated. For results that are the same to the last bit on all adapters of a kind.
    Pinned(PathBuf),
}

/// `estimate`, `measure`, `measure=FILE`, or the path of a file to pin.
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
