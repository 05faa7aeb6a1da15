//! Puts the expression and the pose of a photograph on the shipped people: one row, the photograph's
//! source first.
//!
//! ```sh
//! bash weights/track/get.sh
//! cargo run --release --features track --example expression -- photo.jpg expression.png
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};

use gpavatar::image::imageops::{self, FilterType};
use gpavatar::image::{self, RgbaImage};
use gpavatar::track::{Calibration, Driver, DriverOptions, NetFiles, Tracker, TrackerOptions};
use gpavatar::{Avatar, AvatarOptions, Camera, Gpu, Model, SourceImage};

const PEOPLE: [&str; 3] = ["indigo", "ginger", "beard"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(photo), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("expected a photograph and a file for the result".into());
    };
    let weights = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("weights");
    let gpu = Gpu::new()?;
    println!("{}", gpu.description());
    let selfie = weights.join("track/selfie_segmentation.tflite");
    let files = NetFiles::open(weights.join("track/face_landmarker.task"), Some(&selfie))?;
    let tracker = Tracker::new(&gpu, &files, TrackerOptions::default())?;
    let photo = image::open(photo)?.to_rgba8();
    let stills = pollster::block_on(tracker.still(&photo))?;
    let still = stills.first().ok_or("there is no face")?;

    let model = Model::open(&gpu, weights.join("demo.safetensors"))?;
    let head = model.head().ok_or("the model has no head model")?;
    // One photograph says nothing about the person at rest.
    let options = DriverOptions {
        calibration: Calibration::Manual,
        ..DriverOptions::default()
    };
    let drive = Driver::new(head, options)?.drive(still.face.frame().as_ref(), 0.0)?;
    // The pose of the photograph itself, and not relative to the first frame.
    let drive = drive.camera(*still.source.camera().ok_or("no camera")?);

    let mut pictures = vec![picture_of(&still.source)?];
    let samples = std::fs::read_to_string(weights.join("samples/samples.json"))?;
    let samples: serde_json::Value = serde_json::from_str(&samples)?;
    for name in PEOPLE {
        let people = samples["samples"].as_array().into_iter().flatten();
        let person = people.clone().find(|person| person["name"] == name);
        let person = person.ok_or("a person of the samples is missing")?;
        let options = AvatarOptions {
            shape: serde_json::from_value(person["shape"].clone())?,
            ..AvatarOptions::default()
        };
        let source = sample(&weights.join("samples").join(name))?;
        let avatar = Avatar::with_options(&model, &[source], &options)?;
        pictures.push(avatar.render(&drive)?.to_image()?);
    }
    let side = pictures[1].width();
    let mut row = RgbaImage::new(side * pictures.len() as u32, side);
    for (i, picture) in (0..).zip(&pictures) {
        let picture = imageops::resize(picture, side, side, FilterType::CatmullRom);
        imageops::replace(&mut row, &picture, i64::from(side) * i, 0);
    }
    row.save(&out)?;
    println!("{out}");
    Ok(())
}

/// The first picture of a shipped person.
fn sample(folder: &Path) -> Result<SourceImage, gpavatar::Error> {
    let picture = SourceImage::open(folder.join("source_0.png"))?;
    Ok(picture.tracked(Camera::orbit(10.6, 2.0, 8.0)))
}

fn picture_of(source: &SourceImage) -> Result<RgbaImage, Box<dyn Error>> {
    let pixels = source.pixels().to_vec();
    let picture = RgbaImage::from_raw(source.width(), source.height(), pixels);
    Ok(picture.ok_or("a picture without pixels")?)
}
