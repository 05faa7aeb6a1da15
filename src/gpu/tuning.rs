//! Choice of the fastest of several equivalent kernel variants.

#[cfg(not(target_arch = "wasm32"))]
mod timing;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
#[cfg(not(target_arch = "wasm32"))]
use timing::Timing;

use super::kernel::kernels;
use super::{Gpu, ProgramBuilder, locked};
use crate::error::{Error, Result};
use crate::hash::fnv;
use crate::options::{Formats, Tuning};

/// The measurements of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The variant that is used.
    pub variant: String,
    /// Duration of each variant; `None` if the device's limits forbid it.
    pub nanoseconds: BTreeMap<String, Option<u64>>,
}

/// Contents of a tuning file.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Name, backend and driver.
    adapter: String,
    /// A hash of all WGSL.
    kernels: String,
    /// By layer.
    choices: BTreeMap<String, Choice>,
}

/// Chooses the variants of one model's layers and remembers them.
pub(crate) struct Tuner {
    tuning: Tuning,
    /// The file that keeps measurements, if a folder for it is known.
    file: Option<PathBuf>,
    record: Mutex<Record>,
    #[cfg(not(target_arch = "wasm32"))]
    timing: Mutex<Timing>,
}

const FORMAT: &str = "file of measured variants";

impl Tuner {
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`] for a file that is named and cannot be used;
    /// [`Error::Argument`] for measurements in a browser, where nothing can wait for the device.
    pub(crate) fn new(gpu: &Gpu, tuning: &Tuning) -> Result<Self> {
        // Only measurements are tied to the adapter and to the WGSL, whose hash takes a while.
        let mut record = match tuning {
            Tuning::Measure { .. } => Record::new(gpu.adapter_name()),
            Tuning::Estimate | Tuning::Pinned(_) => Record::default(),
        };
        let file = match tuning {
            Tuning::Estimate => None,
            Tuning::Measure { .. } if cfg!(target_arch = "wasm32") => {
                let expected = "estimate, as nothing in a browser waits for the device";
                return Err(Error::argument("tuning", expected, "measure"));
            }
            Tuning::Measure { file: None } => {
                let file = record.default_file();
                // An unreadable file is measured again.
                record.adopt(file.as_deref().and_then(|file| read(file).ok()));
                file
            }
            Tuning::Measure { file: Some(file) } => {
                if file.exists() {
                    record.adopt(Some(read(file)?));
                }
                Some(file.clone())
            }
            Tuning::Pinned(file) => {
                record.choices = read(file)?.choices;
                None
            }
        };
        Ok(Self {
            tuning: tuning.clone(),
            file,
            record: Mutex::new(record),
            #[cfg(not(target_arch = "wasm32"))]
            timing: Mutex::default(),
        })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        locked(&self.record)
    }

    /// Everything that was measured, by layer.
    pub(crate) fn choices(&self) -> BTreeMap<String, Choice> {
        self.record().choices.clone()
    }

    /// The variant of a layer. `candidates` is not empty, and its first is usually the fastest.
    /// `plan` plans a layer to be timed.
    ///
    /// # Errors
    /// [`Error::Format`] if a pinned variant is none of the candidates; [`Error::Gpu`] if the
    /// device failed.
    pub(crate) fn choose<V: Copy + Display>(
        &self,
        gpu: &Gpu,
        (layer, formats): (&str, Formats),
        candidates: &[V],
        plan: impl Fn(V, &mut ProgramBuilder<'_>) -> Result<()>,
    ) -> Result<V> {
        let estimated = candidates[0];
        if self.tuning == Tuning::Estimate {
            return Ok(estimated);
        }
        let named = |name: &str| candidates.iter().find(|v| v.to_string() == name).copied();
        // Held while measuring, so that no other measurement keeps the device busy.
        let mut record = self.record();
        let kept = record.choices.get(layer);
        if let Tuning::Pinned(file) = &self.tuning {
            let Some(choice) = kept else {
                return Ok(estimated);
            };
            return named(&choice.variant).ok_or_else(|| {
                let names: Vec<_> = candidates.iter().map(V::to_string).collect();
                let found = &choice.variant;
                let reason = format!("{layer}: expected one of {names:?}, found {found:?}");
                Error::format(file.display().to_string(), FORMAT, reason)
            });
        }
        // A choice that was not compared with every candidate is outdated.
        let compared = |choice: &&Choice| {
            let mut names = candidates.iter().map(V::to_string);
            names.all(|name| choice.nanoseconds.contains_key(&name))
        };
        let kept = kept.filter(compared);
        if let Some(variant) = kept.and_then(|choice| named(&choice.variant)) {
            return Ok(variant);
        }
        if candidates.len() == 1 {
            return Ok(estimated);
        }
        #[cfg(not(target_arch = "wasm32"))]
        let (best, nanoseconds) = locked(&self.timing).measure(gpu, formats, candidates, plan)?;
        #[cfg(target_arch = "wasm32")]
        let (best, nanoseconds) = {
            let _ = (gpu, formats, plan);
            (estimated, BTreeMap::new())
        };
        let choice = Choice {
            variant: best.to_string(),
            nanoseconds,
        };
        record.choices.insert(layer.to_string(), choice);
        Ok(best)
    }

    /// Writes the measurements to the file.
    ///
    /// # Errors
    /// [`Error::Io`] if the user's own file cannot be written.
    pub(crate) fn save(&self) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        match self.record().write(file) {
            // The next process measures again.
            Err(_) if self.tuning == (Tuning::Measure { file: None }) => Ok(()),
            result => result,
        }
    }
}

impl Record {
    /// An empty record for this adapter.
    fn new(adapter: String) -> Self {
        let hash = fnv(kernels::ALL.iter().map(|kernel| kernel.wgsl));
        Self {
            adapter,
            kernels: format!("{hash:016x}"),
            choices: BTreeMap::new(),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn default_file(&self) -> Option<PathBuf> {
        let name = format!("variants-{:016x}.json", fnv([&self.adapter, &self.kernels]));
        Some(dirs::cache_dir()?.join("gpavatar").join(name))
    }

    #[cfg(target_arch = "wasm32")]
    fn default_file(&self) -> Option<PathBuf> {
        None
    }

    /// Adopts measurements of this adapter with these kernels.
    fn adopt(&mut self, kept: Option<Self>) {
        if let Some(kept) = kept
            && kept.adapter == self.adapter
            && kept.kernels == self.kernels
        {
            self.choices = kept.choices;
        }
    }

    /// Writes the file, unless it is up to date.
    #[cfg(not(target_arch = "wasm32"))]
    fn write(&self, file: &Path) -> Result<()> {
        if self.choices.is_empty() || read(file).is_ok_and(|kept| kept == *self) {
            return Ok(());
        }
        let failed = |source| Error::Io {
            action: "write",
            path: file.to_owned(),
            source,
        };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        crate::file::replace(file, |write| write(&text))
    }

    #[cfg(target_arch = "wasm32")]
    fn write(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn read(file: &Path) -> Result<Record> {
    let text = crate::file::read(file)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::format(file.display().to_string(), FORMAT, error.to_string()))
}

#[cfg(target_arch = "wasm32")]
fn read(file: &Path) -> Result<Record> {
    let source = std::io::ErrorKind::Unsupported.into();
    Err(Error::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
