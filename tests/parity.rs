//! The GPU pipeline against golden data of the authors' PyTorch modules, on whatever adapter is
//! there.
//!
//! `cargo test --test parity -- --nocapture` prints every difference; `--ignored` adds the other
//! combinations of case, shaders, kernels and adapter, and the network at its released sizes.

mod common;

use common::{Case, parity};
use gpavatar::{AdapterKind, Error, Gpu, GpuOptions, ShaderChecks};

fn check(name: &str, options: &GpuOptions) {
    let options = GpuOptions {
        poison: true,
        ..options.clone()
    };
    let gpu = Gpu::with_options(&options).unwrap();
    println!("{}", gpu.description());
    let table = pollster::block_on(parity::compare(&gpu, Case::named(name))).unwrap();
    println!("{table}");
    assert_eq!(table.failures(), 0, "of {} tensors", table.0.len());
}

fn trusted() -> GpuOptions {
    GpuOptions {
        shaders: Some(ShaderChecks::Trusted),
        ..GpuOptions::default()
    }
}

fn checked() -> GpuOptions {
    GpuOptions {
        shaders: Some(ShaderChecks::Checked),
        ..GpuOptions::default()
    }
}

/// The kernels for graphics processors, whatever runs them.
fn gpu_kernels() -> GpuOptions {
    GpuOptions {
        kernels: Some(AdapterKind::Gpu),
        ..GpuOptions::default()
    }
}

#[test]
fn small_released_case_with_trusted_shaders() {
    check("small_released_two_sources", &trusted());
}

#[test]
fn small_paper_case_with_checked_shaders() {
    check("small_paper_one_source", &checked());
}

#[test]
#[ignore = "half a minute of all cores"]
fn small_released_case_with_checked_shaders() {
    check("small_released_two_sources", &checked());
}

#[test]
#[ignore = "half a minute of all cores"]
fn small_paper_case_with_trusted_shaders() {
    check("small_paper_one_source", &trusted());
}

#[test]
#[ignore = "half a minute of all cores"]
fn small_released_case_with_gpu_kernels() {
    check("small_released_two_sources", &gpu_kernels());
}

#[test]
#[ignore = "a minute of all cores"]
fn small_cases_on_gl() {
    let gl = GpuOptions {
        backend: Some("gl".into()),
        ..GpuOptions::default()
    };
    if let Err(Error::NoAdapter { found, .. }) = Gpu::with_options(&gl) {
        return println!("no GL adapter among {found}: not compared");
    }
    check("small_released_two_sources", &gl);
    check("small_paper_one_source", &gl);
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_one_source_and_trusted_shaders() {
    check("released_one_source", &trusted());
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_one_source_and_checked_shaders() {
    check("released_one_source", &checked());
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_three_sources_and_trusted_shaders() {
    check("released_three_sources", &trusted());
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_three_sources_and_checked_shaders() {
    check("released_three_sources", &checked());
}

#[test]
#[ignore = "a minute of all cores"]
fn paper_case_with_two_sources_and_trusted_shaders() {
    check("paper_two_sources", &trusted());
}

#[test]
#[ignore = "a minute of all cores"]
fn paper_case_with_two_sources_and_checked_shaders() {
    check("paper_two_sources", &checked());
}

#[test]
fn what_is_no_case_is_an_error() {
    let open = |name: &str| Case::open(common::golden_path(name)).err();
    assert!(matches!(open("none.safetensors"), Some(Error::Io { .. })));
    assert!(matches!(open("source_0.png"), Some(Error::Format { .. })));
    assert!(matches!(
        open("geometry.safetensors"),
        Some(Error::Format { .. })
    ));
}
