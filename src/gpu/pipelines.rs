//! Compiled kernels, kept in a file for the next process.

use std::path::PathBuf;
use std::sync::Mutex;

use super::locked;
use crate::error::Result;
use crate::file;
use crate::hash::fnv;
use crate::options::PipelineCache;

/// A driver's compiled kernels and their file, or the host's. Whatever is wrong with the file, kernels are compiled
/// as if there were none.
pub(super) struct Pipelines {
    pub(super) cache: wgpu::PipelineCache,
    file: Option<Store>,
}

struct Store {
    /// Names adapter and format of the data.
    key: String,
    path: PathBuf,
    /// Bytes of the data when it was read or written last.
    saved: Mutex<usize>,
}

impl Pipelines {
    /// Reads the file of the adapter in a folder, if the device can use one.
    pub(super) fn open(
        device: &wgpu::Device,
        info: &wgpu::AdapterInfo,
        kept: &PipelineCache,
    ) -> Option<Self> {
        let folder = match kept {
            PipelineCache::Folder(folder) => folder,
            PipelineCache::Host(cache) => {
                return Some(Self {
                    cache: cache.clone(),
                    file: None,
                });
            }
        };
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let key = wgpu::util::pipeline_cache_key(info)?;
        let path = folder.join(format!("{key}.bin"));
        let content = file::read(&path).unwrap_or_default();
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("gpavatar"),
            data: unsealed(&key, &content),
            fallback: true,
        };
        // SAFETY: the data is what `get_data` returned for this key: its hash says that it is
        // complete and unchanged. wgpu and the driver check that both are the same versions as
        // then. Someone who can write into the user's folder could forge all of that, and could
        // as well replace programs there.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        let held = cache.get_data().map_or(0, |data| data.len());
        let saved = Mutex::new(held);
        let file = Some(Store { key, path, saved });
        Some(Self { cache, file })
    }

    /// Writes the file if there are more kernels than it has. If that fails, the next process
    /// compiles them again.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else {
            return;
        };
        let mut saved = locked(&file.saved);
        let Some(data) = self.cache.get_data() else {
            return;
        };
        if data.len() > *saved && file.write(&data).is_ok() {
            *saved = data.len();
        }
    }
}

impl Store {
    fn write(&self, data: &[u8]) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(file::failed("write", folder))?;
        }
        file::replace(&self.path, |write| {
            write(&seal(&self.key, data))?;
            write(data)
        })
    }
}

/// Precedes the data in the file.
fn seal(key: &str, data: &[u8]) -> [u8; 8] {
    fnv([key.as_bytes(), data]).to_le_bytes()
}

/// The data of a file, if it is complete, unchanged and of this key.
fn unsealed<'a>(key: &str, content: &'a [u8]) -> Option<&'a [u8]> {
    let (hash, data) = content.split_first_chunk()?;
    (seal(key, data) == *hash).then_some(data)
}

#[cfg(test)]
mod tests;
