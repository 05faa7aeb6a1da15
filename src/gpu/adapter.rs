//! The adapter that a device is opened on.

use crate::error::{Error, Result};
use crate::options::Tuning;

/// Rows and columns of the largest cooperative matrices that take numbers of 16 bits and sum in 32.
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

pub(super) const BACKENDS: [(&str, wgpu::Backends); 5] = [
    ("vulkan", wgpu::Backends::VULKAN),
    ("metal", wgpu::Backends::METAL),
    ("dx12", wgpu::Backends::DX12),
    ("gl", wgpu::Backends::GL),
    ("webgpu", wgpu::Backends::BROWSER_WEBGPU),
];

/// An environment variable and its value, if it has one.
pub(super) fn variable(name: &'static str) -> Option<(&'static str, String)> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some((name, value))
}

/// What an option, else an environment variable says, if anything.
pub(super) fn choice<T: Copy>(
    given: Option<T>,
    name: &'static str,
    known: &[(&str, T)],
) -> Result<Option<T>> {
    match (given, variable(name)) {
        (None, Some((name, value))) => one_of(name, &value, known).map(Some),
        _ => Ok(given),
    }
}

/// What an option, else the environment says of tuning, if anything.
pub(super) fn tuning(given: Option<&Tuning>) -> Option<Tuning> {
    let named = || variable("GPAVATAR_TUNING")?.1.parse().ok();
    given.cloned().or_else(named)
}

/// What `name` stands for, regardless of case.
pub(super) fn one_of<T: Copy>(what: &str, name: &str, known: &[(&str, T)]) -> Result<T> {
    match known
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
    {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            Err(Error::argument(
                what,
                format!("one of {}", names.join(", ")),
                name,
            ))
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(super) async fn choose_adapter(
    instance: &wgpu::Instance,
    _: wgpu::Backends,
    _: Option<&str>,
    _: Option<&str>,
) -> Result<wgpu::Adapter> {
    // A browser offers one adapter and hides its name.
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    instance
        .request_adapter(&options)
        .await
        .map_err(|error| Error::NoAdapter {
            reason: error.to_string(),
            found: "none".into(),
        })
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) async fn choose_adapter(
    instance: &wgpu::Instance,
    backends: wgpu::Backends,
    name: Option<&str>,
    backend: Option<&str>,
) -> Result<wgpu::Adapter> {
    let adapters = instance.enumerate_adapters(backends).await;
    // Real GPUs first; of equals, the backend with the least translation in between.
    let rank = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        let device = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        (device, info.backend == wgpu::Backend::Gl)
    };
    let wanted = name.map(str::to_lowercase);
    let best = adapters
        .into_iter()
        .filter(|adapter| match &wanted {
            None => true,
            Some(wanted) => adapter.get_info().name.to_lowercase().contains(wanted),
        })
        .min_by_key(rank);
    match best {
        Some(adapter) => Ok(adapter),
        None => Err(no_adapter(name, backend).await),
    }
}

/// The error that says what was asked for, and what there is on any backend.
#[cfg(not(target_arch = "wasm32"))]
async fn no_adapter(name: Option<&str>, backend: Option<&str>) -> Error {
    let mut reason = match backend {
        None => "none on any backend".to_string(),
        Some(backend) => format!("none on the backend {backend:?}"),
    };
    if let Some(name) = name {
        reason.push_str(&format!(" whose name contains {name:?}"));
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    let describe = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        format!("{} ({})", info.name, info.backend)
    };
    let found = match adapters.as_slice() {
        [] => "none".to_string(),
        some => some.iter().map(describe).collect::<Vec<_>>().join(", "),
    };
    Error::NoAdapter { reason, found }
}
