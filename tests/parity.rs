//! The GPU pipeline against golden data of the authors' PyTorch modules, on whatever adapter is
//! there.
//!
//! `cargo test --test parity -- --nocapture` prints every difference; `--ignored` adds the other
//! combinations of case, shaders, kernels and adapter, and the network at its released sizes. Half
//! precision is held against full precision.

mod common;

use common::{absent::absent, case, refused, tiny::gpu_with};
use gpavatar::reference::golden::Case;
use gpavatar::reference::parity;
use gpavatar::{
    AdapterKind, Avatar, Drive, Error, Gpu, GpuOptions, Model, ModelOptions, Precision,
    RenderOptions, ShaderChecks, wgpu,
};

fn check(name: &str, change: fn(&mut GpuOptions)) {
    let gpu = gpu_with(change).unwrap();
    println!("{}", gpu.description());
    let table = pollster::block_on(parity::compare(&gpu, case(name))).unwrap();
    println!("{table}");
    assert_eq!(table.failures(), 0, "of {} tensors", table.0.len());
}

fn trusted(options: &mut GpuOptions) {
    options.shaders = ShaderChecks::Trusted;
}

fn checked(options: &mut GpuOptions) {
    options.shaders = ShaderChecks::Checked;
}

/// The kernels for graphics processors, on any adapter.
fn gpu_kernels(options: &mut GpuOptions) {
    options.kernels = Some(AdapterKind::Gpu);
}

fn gl(options: &mut GpuOptions) {
    options.backends = wgpu::Backends::GL;
}

/// A test for each name: a check of cases with options.
macro_rules! tests {
    ($($(#[$ignored:meta])? $name:ident: $check:ident($options:ident, $($case:literal),+);)+) => {$(
        #[test]
        $(#[$ignored])?
        fn $name() {
            for case in [$($case),+] {
                $check(case, $options);
            }
        }
    )+};
}

tests! {
    small_released_case_with_trusted_shaders: check(trusted, "small_released_two_sources");
    small_paper_case_with_checked_shaders: check(checked, "small_paper_one_source");
    #[ignore = "half a minute of all cores"]
    small_released_case_with_checked_shaders: check(checked, "small_released_two_sources");
    #[ignore = "half a minute of all cores"]
    small_paper_case_with_trusted_shaders: check(trusted, "small_paper_one_source");
    #[ignore = "half a minute of all cores"]
    small_released_case_with_gpu_kernels: check(gpu_kernels, "small_released_two_sources");
    #[ignore = "a minute of all cores"]
    released_case_with_one_source_and_trusted_shaders: check(trusted, "released_one_source");
    #[ignore = "a minute of all cores"]
    released_case_with_one_source_and_checked_shaders: check(checked, "released_one_source");
    #[ignore = "a minute of all cores"]
    released_case_with_three_sources_and_trusted_shaders: check(trusted, "released_three_sources");
    #[ignore = "a minute of all cores"]
    released_case_with_three_sources_and_checked_shaders: check(checked, "released_three_sources");
    #[ignore = "a minute of all cores"]
    paper_case_with_two_sources_and_trusted_shaders: check(trusted, "paper_two_sources");
    #[ignore = "a minute of all cores"]
    paper_case_with_two_sources_and_checked_shaders: check(checked, "paper_two_sources");
    small_released_case_in_half_precision: halved(trusted, "small_released_two_sources");
    #[ignore = "a minute of all cores"]
    small_cases_in_half_precision_with_gpu_kernels:
        halved(gpu_kernels, "small_released_two_sources", "small_paper_one_source");
    #[ignore = "two minutes of all cores"]
    released_cases_in_half_precision:
        halved(trusted, "released_one_source", "released_three_sources");
    #[ignore = "a minute of all cores"]
    paper_case_in_half_precision: halved(trusted, "paper_two_sources");
}

#[test]
#[ignore = "a minute of all cores"]
fn small_cases_on_gl() {
    if let Err(Error::NoAdapter { found, .. }) = gpu_with(gl) {
        return absent("gl", &format!("found {found}"));
    }
    check("small_released_two_sources", gl);
    check("small_paper_one_source", gl);
}

/// Renders a case's picture, `[y][x]` of red, green and blue; also returns the bytes that the planes
/// and the model take.
fn picture(gpu: &Gpu, name: &str, precision: Precision) -> (Vec<f32>, [u64; 2]) {
    let case = case(name);
    let options = ModelOptions {
        precision,
        ..ModelOptions::default()
    };
    let model = Model::with_options(gpu, case.weights, options).unwrap();
    let avatar = Avatar::from_images(&model, &case.pictures).unwrap();
    let points = case.points.iter().map(|point| point.to_array()).collect();
    let kept = RenderOptions {
        tensors: true,
        ..RenderOptions::default()
    };
    let drive = Drive::points(points).camera(case.camera);
    let frame = avatar.render_with(&drive, &kept);
    let colours = pollster::block_on(frame.unwrap().image_tensor().unwrap().read(gpu)).unwrap();
    let bytes = [avatar.planes().bytes(), model.device_bytes()];
    (colours, bytes)
}

/// Half precision keeps 45 dB and takes about half the memory; with all stages in half precision,
/// so do planes.
fn halved(name: &str, change: fn(&mut GpuOptions)) {
    let gpu = gpu_with(change).unwrap();
    let (full, [full_planes, full_bytes]) = picture(&gpu, name, Precision::F32);
    // With all in 16 bits the fine samples move, which changes the picture where the field is
    // steep.
    for (precision, share, least) in [(Precision::Mixed, 1, 45.0), (Precision::F16, 2, 35.0)] {
        let (half, [planes, bytes]) = picture(&gpu, name, precision);
        let difference = common::difference(name, &half, &full);
        let psnr = difference.psnr();
        let part = bytes as f64 / full_bytes as f64;
        println!(
            "{}: {name}, {precision:?}: {psnr:.1} dB, {:.1} % of the memory",
            gpu.description(),
            100.0 * part
        );
        assert_eq!(full_planes, share * planes);
        // Small networks hold much besides weights and maps.
        assert!(part < if name.starts_with("small") { 0.8 } else { 0.55 });
        assert!(difference.max() > 0.0, "nothing was rounded");
        assert!(
            psnr > least,
            "{precision:?}: {psnr:.1} dB, expected {least}"
        );
    }
}

#[test]
fn what_is_no_case_is_an_error() {
    let open = |name: &str| Case::open(common::golden_path(name)).map(drop);
    refused::io(open("none.safetensors"), &[]);
    refused::format(open("source_0.png"), &[]);
    refused::format(open("geometry.safetensors"), &[]);
}
