//! Prints how far the tracker's networks are from golden tensors, beside the tolerance of each:
//!
//! ```sh
//! bash weights/track/get.sh
//! cargo run --release --all-features --example track_parity -- net_landmarks.safetensors
//! ```
//!
//! Options: `--cpu` runs the scalar twins instead of the kernels; `--checked` runs the kernels with
//! all checks; `--task FILE` and `--selfie FILE` name other networks. It fails if a tensor is past
//! its tolerance. The layout of cases is that of `gpavatar::reference::track_parity::table`.

use std::error::Error;
use std::path::PathBuf;

use gpavatar::reference::track_parity::table;
use gpavatar::track::NetFiles;
use gpavatar::{Gpu, GpuOptions, ShaderChecks, TensorFile};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("weights/track");
    let mut task = folder.join("face_landmarker.task");
    let mut selfie = folder.join("selfie_segmentation.tflite");
    let (mut cpu, mut shaders, mut cases) = (false, ShaderChecks::Trusted, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut file = || arguments.next().ok_or(format!("{argument} needs a file"));
        match argument.as_str() {
            "--cpu" => cpu = true,
            "--checked" => shaders = ShaderChecks::Checked,
            "--task" => task = file()?.into(),
            "--selfie" => selfie = file()?.into(),
            other if other.starts_with("--") => return Err(format!("no option {other}").into()),
            case => cases.push(PathBuf::from(case)),
        }
    }
    if cases.is_empty() {
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
    let mut failures = 0;
    for case in cases {
        let table = pollster::block_on(table(&files, &TensorFile::open(&case)?, gpu.as_ref()))?;
        println!("\n{}\n{table}", case.display());
        failures += table.failures();
    }
    match failures {
        0 => Ok(()),
        failures => Err(format!("{failures} tensors are past their tolerance").into()),
    }
}
