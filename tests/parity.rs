//! The GPU pipeline against golden data of the authors' PyTorch modules, on whatever adapter is
//! there.
//!
//! `cargo test --test parity -- --nocapture` prints every difference; `--ignored` adds the network
//! at its released sizes.

mod common;

use common::{Case, parity};
use gpavatar::{AdapterKind, Error, Gpu, GpuOptions, ShaderChecks};

fn check(mut case: Case, options: GpuOptions) {
    let gpu = Gpu::with_options(&GpuOptions {
        poison: true,
        ..options
    })
    .unwrap();
    println!("{}", gpu.description());
    let rows = parity::compare(&gpu, &mut case).unwrap();
    let failed: Vec<String> = rows
        .iter()
        .filter(|row| !row.passed)
        .map(|row| {
            let difference = &row.difference;
            format!(
                "{}: {:e}, expected {}",
                difference.name(),
                difference.max(),
                row.tolerance
            )
        })
        .collect();
    let lines = failed.join("\n");
    assert!(
        failed.is_empty(),
        "{} of {} tensors:\n{lines}",
        failed.len(),
        rows.len()
    );
}

fn shaders(shaders: ShaderChecks) -> GpuOptions {
    GpuOptions {
        shaders: Some(shaders),
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
    check(
        Case::small("small_released_two_sources"),
        shaders(ShaderChecks::Trusted),
    );
}

#[test]
fn small_released_case_with_checked_shaders() {
    check(
        Case::small("small_released_two_sources"),
        shaders(ShaderChecks::Checked),
    );
}

#[test]
fn small_paper_case_with_trusted_shaders() {
    check(
        Case::small("small_paper_one_source"),
        shaders(ShaderChecks::Trusted),
    );
}

#[test]
fn small_paper_case_with_checked_shaders() {
    check(
        Case::small("small_paper_one_source"),
        shaders(ShaderChecks::Checked),
    );
}

#[test]
fn small_released_case_with_gpu_kernels() {
    check(Case::small("small_released_two_sources"), gpu_kernels());
}

#[test]
#[ignore = "a minute of all cores"]
fn small_cases_on_gl() {
    let gl = || GpuOptions {
        backend: Some("gl".into()),
        ..GpuOptions::default()
    };
    if let Err(Error::NoAdapter { found, .. }) = Gpu::with_options(&gl()) {
        return println!("no GL adapter among {found}: not compared");
    }
    check(Case::small("small_released_two_sources"), gl());
    check(Case::small("small_paper_one_source"), gl());
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_one_source_and_trusted_shaders() {
    check(
        Case::full("released_one_source"),
        shaders(ShaderChecks::Trusted),
    );
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_one_source_and_checked_shaders() {
    check(
        Case::full("released_one_source"),
        shaders(ShaderChecks::Checked),
    );
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_three_sources_and_trusted_shaders() {
    check(
        Case::full("released_three_sources"),
        shaders(ShaderChecks::Trusted),
    );
}

#[test]
#[ignore = "a minute of all cores"]
fn released_case_with_three_sources_and_checked_shaders() {
    check(
        Case::full("released_three_sources"),
        shaders(ShaderChecks::Checked),
    );
}

#[test]
#[ignore = "a minute of all cores"]
fn paper_case_with_two_sources_and_trusted_shaders() {
    check(
        Case::full("paper_two_sources"),
        shaders(ShaderChecks::Trusted),
    );
}

#[test]
#[ignore = "a minute of all cores"]
fn paper_case_with_two_sources_and_checked_shaders() {
    check(
        Case::full("paper_two_sources"),
        shaders(ShaderChecks::Checked),
    );
}

#[test]
#[ignore = "minutes of all cores"]
fn released_case_with_one_source_and_gpu_kernels() {
    check(Case::full("released_one_source"), gpu_kernels());
}
