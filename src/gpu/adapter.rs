//! The adapter that a device is opened on.

use crate::error::{Error, Result};
use crate::options::GpuOptions;

/// Side of the largest cooperative matrices with `f16` factors and `f32` sums.
pub(super) fn matrix_size(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let feature = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    if !adapter.features().contains(feature) {
        return None;
    }
    let properties = adapter.cooperative_matrix_properties();
    [16, 8].into_iter().find(|size| {
        properties.iter().any(|found| {
            [found.m_size, found.n_size, found.k_size] == [*size; 3]
                && (found.ab_type, found.cr_type) == (F16, F32)
                && !found.saturating_accumulation
        })
    })
}

/// What the host application brings.
#[derive(Clone, Copy, Default)]
pub(super) struct Host<'a> {
    pub instance: Option<&'a wgpu::Instance>,
    /// The adapter has to be able to draw to it.
    pub surface: Option<&'a wgpu::Surface<'a>>,
}

/// wgpu panics where it was built without a backend.
fn has_backends(built: wgpu::Backends) -> Result<()> {
    if !built.is_empty() {
        return Ok(());
    }
    Err(Error::NoAdapter {
        reason: "this program was built without backends for this platform: gpavatar's features `vulkan`, \
                 `gles`, `metal`, `dx12` and `webgpu` bring them"
            .into(),
        found: "none".into(),
    })
}

#[cfg(target_arch = "wasm32")]
pub(super) async fn choose_adapter(_: &GpuOptions, host: Host<'_>) -> Result<wgpu::Adapter> {
    has_backends(wgpu::Instance::enabled_backend_features())?;
    // A browser offers one adapter and hides its name.
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        compatible_surface: host.surface,
        ..Default::default()
    };
    let own = instance(wgpu::Backends::BROWSER_WEBGPU);
    host.instance
        .unwrap_or(&own)
        .request_adapter(&options)
        .await
        .map_err(|error| Error::NoAdapter {
            reason: error.to_string(),
            found: "none".into(),
        })
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) async fn choose_adapter(options: &GpuOptions, host: Host<'_>) -> Result<wgpu::Adapter> {
    has_backends(wgpu::Instance::enabled_backend_features())?;
    let name = options.adapter.as_deref().unwrap_or_default();
    let name = name.to_lowercase();
    let mut best: Option<wgpu::Adapter> = None;
    for backends in [wgpu::Backends::PRIMARY, wgpu::Backends::GL] {
        let found = adapters(options.backends & backends, host).await;
        let suits = |adapter: &wgpu::Adapter| {
            let found = adapter.get_info().name.to_lowercase();
            let draws = |surface| adapter.is_surface_supported(surface);
            found.contains(&name) && host.surface.is_none_or(draws)
        };
        // The first of equal adapters wins: primary backends before GL.
        let candidates = best.into_iter().chain(found.into_iter().filter(suits));
        best = candidates.min_by_key(rank);
        // GL is opened only if no other backend has a matching GPU.
        if best.as_ref().is_some_and(|best| rank(best) < SOFTWARE) {
            break;
        }
    }
    match best {
        Some(adapter) => Ok(adapter),
        None => Err(no_adapter(options, host).await),
    }
}

#[cfg(not(target_arch = "wasm32"))]
const SOFTWARE: u32 = 4;

#[cfg(not(target_arch = "wasm32"))]
fn rank(adapter: &wgpu::Adapter) -> u32 {
    match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => SOFTWARE,
    }
}

/// The error: the request, and the adapters of all backends.
#[cfg(not(target_arch = "wasm32"))]
async fn no_adapter(options: &GpuOptions, host: Host<'_>) -> Error {
    let mut reason = if options.backends == wgpu::Backends::all() {
        "none on any backend".to_string()
    } else {
        let names = options.backends.iter_names();
        let names: Vec<_> = names.map(|(name, _)| name).collect();
        format!("none on {}", names.join(", "))
    };
    if let Some(name) = &options.adapter {
        reason.push_str(&format!(" whose name contains {name:?}"));
    }
    if host.surface.is_some() {
        reason.push_str(" that draws to the surface");
    }
    let mut found = Vec::new();
    for adapter in adapters(wgpu::Backends::all(), host).await {
        let info = adapter.get_info();
        found.push(format!("{} ({})", info.name, info.backend));
    }
    if found.is_empty() {
        found.push("none".into());
    }
    let found = found.join(", ");
    Error::NoAdapter { reason, found }
}

#[cfg(not(target_arch = "wasm32"))]
async fn adapters(backends: wgpu::Backends, host: Host<'_>) -> Vec<wgpu::Adapter> {
    if backends.is_empty() {
        return Vec::new();
    }
    match host.instance {
        Some(instance) => instance.enumerate_adapters(backends).await,
        None => instance(backends).enumerate_adapters(backends).await,
    }
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    wgpu::Instance::new(descriptor)
}

#[cfg(test)]
mod tests;
