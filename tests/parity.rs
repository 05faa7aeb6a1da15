//! The GPU pipeline against golden data of the authors' PyTorch modules, on whatever adapter is
//! there.
//!
//! `cargo test --test parity -- --nocapture` prints every difference; `--ignored` adds the network
//! at its released sizes.

mod common;

use common::{Case, parity};
use gpavatar::{Error, Gpu, GpuOptions, ShaderChecks};

fn check(name: &str, shaders: ShaderChecks) {
    let options = GpuOptions {
        shaders: Some(shaders),
        poison: true,
        ..GpuOptions::default()
    };
    let gpu = Gpu::with_options(&options).unwrap();
    println!("{}", gpu.description());
    let table = parity::compare(&gpu, Case::named(name)).unwrap();
    println!("{table}");
    assert_eq!(table.failures(), 0, "of {} tensors", table.0.len());
}

#[test]
fn small_released_case_with_trusted_shaders() {
    check("small_released_two_sources", ShaderChecks::Trusted);
}

#[test]
fn small_released_case_with_checked_shaders() {
    check("small_released_two_sources", ShaderChecks::Checked);
}

#[test]
fn small_paper_case_with_trusted_shaders() {
    check("small_paper_one_source", ShaderChecks::Trusted);
}

#[test]
fn small_paper_case_with_checked_shaders() {
    check("small_paper_one_source", ShaderChecks::Checked);
}

#[test]
#[ignore = "minutes of all cores"]
fn released_case_with_one_source() {
    check("released_one_source", ShaderChecks::Trusted);
}

#[test]
#[ignore = "minutes of all cores"]
fn released_case_with_three_sources() {
    check("released_three_sources", ShaderChecks::Trusted);
}

#[test]
#[ignore = "minutes of all cores"]
fn paper_case_with_two_sources() {
    check("paper_two_sources", ShaderChecks::Trusted);
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
