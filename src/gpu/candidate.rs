//! Kernels from disk that stand in for a dispatch's own.

use std::collections::BTreeMap;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::kernel::{BindingInfo, BindingKind, Kernel, KernelSource, kernels};
use super::program::Dispatch;
use super::{Gpu, Tensor};
#[cfg(not(target_arch = "wasm32"))]
use crate::build::compose::read;
use crate::build::compose::{Composer, Files};
use crate::build::reflect;
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::file;

/// A kernel that takes the place of a dispatch's own, to be compared with it.
///
/// It has the same bindings, in the same layouts. [`Model::taps`](crate::Model::taps) gives what the
/// dispatch writes, as `candidate.BINDING`.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// Layer or step: [`KernelTime::label`](super::KernelTime::label).
    pub dispatch: String,
    /// `FOLDER/FILE` of the kernel. Default: the dispatch's own.
    pub kernel: Option<String>,
    /// Override constants, in place of the dispatch's own or in addition.
    pub constants: BTreeMap<String, u32>,
    /// Workgroups along x, y and z. Default: the dispatch's own.
    pub workgroups: Option<[u32; 3]>,
    files: Arc<Files>,
}

impl Candidate {
    /// The dispatch as it is.
    #[must_use]
    pub fn in_use(dispatch: &str) -> Self {
        Self {
            dispatch: dispatch.into(),
            ..Self::default()
        }
    }

    /// A candidate from the WGSL files below `folders`. Later folders replace files of earlier ones.
    ///
    /// # Safety
    /// Trusted shaders ([`ShaderChecks`](crate::ShaderChecks)) are compiled without run-time checks:
    /// the kernel's loops have to end, and its indices to stay within the buffers.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub unsafe fn new(dispatch: &str, folders: &[&Path]) -> Result<Self> {
        let mut files = Files::new();
        for folder in folders {
            read(folder, "", &mut files).map_err(file::failed("read", folder))?;
        }
        Ok(Self {
            files: files.into(),
            ..Self::in_use(dispatch)
        })
    }

    pub(super) fn is_for(&self, dispatch: &Dispatch) -> bool {
        self.dispatch == dispatch.label
    }

    /// Takes the place of the dispatch's kernel. Returns what the dispatch writes, by binding.
    pub(super) fn replace(
        &self,
        gpu: &Gpu,
        dispatch: &mut Dispatch,
    ) -> Result<Vec<(String, Tensor)>> {
        if !self.files.is_empty() {
            dispatch.kernel = self.compose(gpu, &dispatch.kernel)?;
        }
        dispatch.grid = self.workgroups.unwrap_or(dispatch.grid);
        let written = dispatch
            .kernel
            .source
            .bindings
            .iter()
            .filter(|binding| binding.kind == BindingKind::Storage { read_only: false });
        let bound = written.filter_map(|binding| {
            let (name, tensor) = dispatch
                .bound
                .iter()
                .find(|(name, _)| *name == binding.name)?;
            Some((format!("candidate.{name}"), tensor.clone()))
        });
        Ok(bound.collect())
    }

    /// The kernel, under the definitions of the one in use.
    fn compose(&self, gpu: &Gpu, in_use: &Kernel) -> Result<Arc<Kernel>> {
        let own = in_use.source.name.split(", ").next().unwrap_or_default();
        let file = self.kernel.as_deref().unwrap_or(own);
        let refused =
            |reason: String| Error::argument(format!("candidate {file}"), "a kernel", reason);
        if !self.files.contains_key(file) {
            return Err(refused("no such file".into()));
        }
        let composer = Composer::new(&self.files, kernels::DEFINITIONS).map_err(refused)?;
        let definitions = in_use.source.definitions;
        let composed = composer.compose(file, definitions).map_err(refused)?;
        let kernel = reflect::Kernel::new(&composed, definitions.to_vec()).map_err(refused)?;
        let source = source(file, kernel);
        source.check(&gpu.device().limits())?;
        let declared = |name: &&'static str| source.constants.contains(name);
        let mut constants = in_use.constants().to_vec();
        constants.retain(|(name, _)| declared(name) && !self.constants.contains_key(*name));
        for (name, value) in &self.constants {
            let name = source.constants.iter().find(|declared| *declared == name);
            let name = name.ok_or_else(|| refused(format!("no constant {name:?}")))?;
            constants.push((name, *value));
        }
        gpu.kernel(source, &constants)
    }
}

/// The kernel under a name of its own. Kernels live as long as the process, and so does this one.
fn source(file: &str, kernel: reflect::Kernel) -> &'static KernelSource {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    fn kept<T>(values: Vec<T>) -> &'static [T] {
        values.leak()
    }
    let name = format!(
        "{file}, candidate {}",
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let bindings = kernel.bindings.into_iter().map(|binding| BindingInfo {
        group: binding.group,
        index: binding.index,
        name: binding.name.leak(),
        kind: match binding.kind {
            reflect::BindingKind::Uniform { bytes } => BindingKind::Uniform { bytes },
            reflect::BindingKind::Storage { read_only } => BindingKind::Storage { read_only },
            reflect::BindingKind::StorageTexture => BindingKind::StorageTexture,
        },
    });
    let overrides = kernel.overrides.into_iter();
    Box::leak(Box::new(KernelSource {
        name: name.leak(),
        wgsl: kernel.wgsl.leak(),
        workgroup_size: kernel.workgroup_size,
        workgroup_bytes: kernel.workgroup_bytes,
        subgroups: kernel.subgroups,
        half_arithmetic: kernel.half_arithmetic,
        matrices: kernel.matrices,
        bindings: kept(bindings.collect()),
        constants: kept(overrides.map(|name| &*name.leak()).collect()),
        definitions: kept(kernel.definitions),
        variants: &[],
    }))
}
