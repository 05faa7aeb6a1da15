//! Prints how far the tracker is from golden tensors, beside the tolerance of each: its networks, what
//! they find in pictures, and fits of the shipped head model:
//!
//! ```sh
//! bash weights/track/get.sh
//! cargo run --release --all-features --example track_parity -- net_landmarks.safetensors
//! ```
//!
//! Options: `--cpu` runs the scalar twins instead of the kernels; `--checked` runs the kernels with
//! all checks; `--times` prints what each network takes; `--task FILE` and `--selfie FILE` name other networks. It fails if a tensor is past
//! its tolerance. The layouts of cases are those of `table` and `pictures` in
//! `gpavatar::reference::track_parity` and of `gpavatar::reference::track_fits::fits`; pictures lie
//! beside their case.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gpavatar::reference::track_fits::{fits, is_case};
use gpavatar::reference::track_parity::{pictures, table};
use gpavatar::track::{Net, NetFiles, Nets, Picture, Region};
use gpavatar::{Gpu, GpuOptions, HeadModel, ShaderChecks, SourceImage, TensorFile};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("weights/track");
    let mut task = folder.join("face_landmarker.task");
    let mut selfie = folder.join("selfie_segmentation.tflite");
    let mut times = false;
    let (mut cpu, mut shaders, mut cases) = (false, ShaderChecks::Trusted, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut file = || arguments.next().ok_or(format!("{argument} needs a file"));
        match argument.as_str() {
            "--times" => times = true,
            "--cpu" => cpu = true,
            "--checked" => shaders = ShaderChecks::Checked,
            "--task" => task = file()?.into(),
            "--selfie" => selfie = file()?.into(),
            other if other.starts_with("--") => return Err(format!("no option {other}").into()),
            case => cases.push(PathBuf::from(case)),
        }
    }
    if cases.is_empty() && !times {
        return Err("expected the files of cases".into());
    }
    let files = NetFiles::open(&task, Some(&selfie))?;
    for unknown in files.unknown() {
        eprintln!("{unknown} differs from the file that this was tested with");
    }
    let gpu = match cpu {
        true => None,
        false => {
            let options = GpuOptions {
                shaders,
                ..GpuOptions::from_env()?
            };
            Some(Gpu::with_options(&options)?)
        }
    };
    println!(
        "{}",
        gpu.as_ref().map_or("scalar twins".into(), Gpu::description)
    );
    if let (true, Some(gpu)) = (times, &gpu) {
        measure(gpu, &files)?;
    }
    let mut failures = 0;
    for case in cases {
        let tensors = TensorFile::open(&case)?;
        if is_case(&tensors) {
            let weights =
                PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("weights/demo.safetensors");
            let table = fits(&tensors, &HeadModel::open(weights)?)?;
            println!("\n{}\n{table}", case.display());
            failures += table.failures();
            continue;
        }
        let of_pictures = tensors
            .tensor_names()
            .any(|name| name.ends_with(".detections"));
        let table = match of_pictures {
            true => {
                let folder = case.parent().unwrap_or(Path::new("."));
                let open = |name: &str| SourceImage::open(folder.join(format!("{name}.png")));
                pollster::block_on(pictures(&files, &tensors, open, gpu.as_ref()))?
            }
            false => pollster::block_on(table(&files, &tensors, gpu.as_ref()))?,
        };
        println!("\n{}\n{table}", case.display());
        failures += table.failures();
    }
    match failures {
        0 => Ok(()),
        failures => Err(format!("{failures} tensors are past their tolerance").into()),
    }
}

/// Prints the time from a picture on the device to the outputs on the host, median of 20 runs, and
/// that of each kernel.
fn measure(gpu: &Gpu, files: &NetFiles) -> Result<(), Box<dyn Error>> {
    let nets = Nets::new(gpu, files)?;
    let picture = Picture::new(gpu, 256, 256, &vec![128; 4 * 256 * 256])?;
    let region = Region::whole(256, 256);
    for net in [Net::Detector, Net::Landmarks, Net::Segmentation] {
        let run = || pollster::block_on(nets.run(net, &picture, &region));
        run()?;
        let mut times = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            run()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let profile = pollster::block_on(nets.profile(net, &picture, &region))?;
        let mut kernels = BTreeMap::<_, (u32, f64)>::new();
        for kernel in &profile.kernels {
            let (count, time) = kernels.entry(kernel.kernel).or_default();
            (*count, *time) = (*count + 1, *time + kernel.milliseconds);
        }
        println!("{net:?}: {:.2} ms (fastest {:.2})", times[10], times[0]);
        for (kernel, (count, time)) in kernels {
            println!("  {count:3} x {kernel}: {time:.2} ms");
        }
    }
    let points: Vec<_> = (0..478).map(|k| [k as f32, (k * k % 97) as f32]).collect();
    let start = Instant::now();
    for _ in 0..20 {
        nets.scores(&points, 0.0)?;
    }
    println!(
        "scores: {:.2} ms",
        start.elapsed().as_secs_f64() * 1e3 / 20.0
    );
    Ok(())
}
