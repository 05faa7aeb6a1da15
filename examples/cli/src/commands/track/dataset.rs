//! From films to a folder that is trained on.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use gpavatar::import::{SourceEntry, SourceList};
use gpavatar::track::{Embedding, Fit};
use gpavatar::{Gpu, HeadModel, SourceImage};
use image::{DynamicImage, RgbaImage};
use serde_json::json;

use super::Args;
use crate::album::{broken, evenly, failed};
use crate::annotation::azimuth;
use crate::report;
use crate::tracking::{Fits, Footage, Targets, interrupted, no_face};

/// Frames that the person's identity is found from.
const TOGETHER: usize = 16;

/// Identity coefficients beyond are those of nobody.
const UNUSUAL: f64 = 2.5;

/// Landmarks of the parts that training pays attention to.
const REGIONS: [(&str, &[u16]); 3] = [
    ("left_eye", &[263, 387, 386, 385, 362, 380, 374, 373, 473]),
    ("right_eye", &[33, 160, 159, 158, 133, 153, 145, 144, 468]),
    (
        "mouth",
        &[
            291, 61, 0, 267, 37, 270, 40, 17, 314, 84, 321, 91, 13, 312, 82, 311, 81, 14, 317, 87,
            402, 178,
        ],
    ),
];

/// Adds a clip for each film to the folder, which need not exist.
pub fn write(args: &Args, head: &HeadModel, folder: &Path) -> Result<(), Box<dyn Error>> {
    let clips = folder.join("clips");
    let clip = |film: &Path| clips.join(film.file_stem().unwrap_or_default());
    // Said before the work is done.
    if let Some(film) = args.films().into_iter().find(|film| clip(film).exists()) {
        return Err(format!("{}: expected a new clip", clip(film).display()).into());
    }
    let gpu = args.gpu.open()?;
    fs::create_dir_all(&clips).map_err(|error| failed("create", &clips, error))?;
    let mut fits = Fits::new(&args.tracker, head)?;
    start(head, &fits.embedding, folder)?;
    for film in args.films() {
        let clip = clip(film);
        write_clip(args, (&gpu, head), &mut fits, film, &clip)?;
        report::list(&[clip]);
        if interrupted() {
            println!("interrupted: what was tracked so far is written");
            break;
        }
    }
    Ok(())
}

/// Writes what all clips share, or checks that it is the same.
fn start(head: &HeadModel, embedding: &Embedding, folder: &Path) -> Result<(), Box<dyn Error>> {
    let model = folder.join("head.safetensors");
    match model.exists() {
        true if HeadModel::open(&model)?.parts() != head.parts() => {
            let model = model.display();
            return Err(format!("{model}: expected the head model that is fitted").into());
        }
        true => {}
        false => head.write(&model)?,
    }
    let header = folder.join("dataset.json");
    if header.exists() {
        return Ok(());
    }
    let regions = REGIONS.map(|(name, landmarks)| {
        let points = embedding.points().iter();
        let of_region =
            points.filter(|point| point.landmarks.iter().all(|l| landmarks.contains(l)));
        let vertices = of_region.flat_map(|point| point.vertices.into_iter().zip(point.weights));
        let vertices: BTreeSet<u32> = vertices
            .filter(|(_, w)| *w != 0.0)
            .map(|(v, _)| v)
            .collect();
        (name, vertices)
    });
    let mut content = json!({"format": "gpavatar tracked data", "version": 1});
    if regions.iter().all(|(_, vertices)| !vertices.is_empty()) {
        content["regions"] = regions
            .into_iter()
            .map(|(name, ids)| (name, json!(ids)))
            .collect();
    }
    let written = fs::write(&header, serde_json::to_string_pretty(&content)?);
    Ok(written.map_err(|error| failed("write", &header, error))?)
}

/// A frame of a clip.
struct Frame {
    name: String,
    targets: Targets,
    /// How far the head is turned.
    azimuth: f64,
}

fn write_clip(
    args: &Args,
    (gpu, head): (&Gpu, &HeadModel),
    fits: &mut Fits,
    film: &Path,
    clip: &Path,
) -> Result<(), Box<dyn Error>> {
    let tracker = args.tracker.open(gpu, Some(head), 1)?;
    let mut footage = Footage::new(args.open(film)?, tracker);
    // Beside the clips, where training does not look.
    let beside = clip
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new(""));
    let room = tempfile::Builder::new()
        .prefix(".partial")
        .tempdir_in(beside);
    let room = room.map_err(|error| failed("write", clip, error))?;
    let partial = room.path().join("clip");
    let pictures = partial.join("frames");
    fs::create_dir_all(&pictures).map_err(|error| failed("create", &pictures, error))?;

    let (mut frames, mut tracked) = (Vec::new(), 0);
    let bar = report::progress("tracking", footage.film.count());
    while !(tracked > 0 && interrupted())
        && let Some(faces) = footage.advance()?
    {
        let face = faces.first().filter(|face| !face.lost);
        let face = face.map(|face| {
            Ok::<_, gpavatar::Error>((azimuth(&face.pose.rotation), fits.targets(face)?))
        });
        if let Some((azimuth, targets)) = face.transpose()? {
            let name = format!("{tracked:06}.png");
            for (_, source) in footage.sources()? {
                save(&source, &pictures.join(&name))?;
            }
            frames.push(Frame {
                name,
                targets,
                azimuth,
            });
        }
        tracked += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if frames.is_empty() {
        return Err(no_face(film, &format!("none in {tracked} frames")).into());
    }
    let fitted = fitted(fits, &frames)?;
    let shape = fitted[0].shape.clone();
    let (mut motion, mut kept) = (Vec::new(), Vec::new());
    for (frame, fit) in frames.iter().zip(&fitted) {
        if !lies_on(fit, &frame.targets) {
            let path = pictures.join(&frame.name);
            fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
            continue;
        }
        motion.push(super::frame(&fit.drive(head)?, head)?);
        kept.push((frame, fit));
    }
    let sources = sources(&mut kept, &shape);
    let kept = kept.len();
    if kept < 2 {
        let film = film.display();
        return Err(format!(
            "{film}: expected at least 2 frames that the head model fits, found {kept} in {tracked}"
        )
        .into());
    }
    let motion = super::motion_of(film, footage.film.rate(), motion, head)?;
    motion.write(partial.join("motion.json"))?;
    for (name, content) in [
        ("shape.json", serde_json::to_string(&shape)?),
        ("sources.json", serde_json::to_string_pretty(&sources?)?),
    ] {
        let path = partial.join(name);
        fs::write(&path, content).map_err(|error| failed("write", &path, error))?;
    }
    fs::rename(&partial, clip).map_err(|error| failed("write", clip, error))?;
    println!("{tracked} frames, {kept} kept: those with a face that the head model fits");
    let most = shape.iter().fold(0.0, |most: f64, s| most.max(s.abs()));
    if most > UNUSUAL {
        eprintln!(
            "{}: the person is unlike those of the head model (an identity coefficient is {most:.1}); \
             another one may fit better (--head, --embedding)",
            film.display()
        );
    }
    Ok(())
}

/// Two frames from different sides as the sources of an avatar, whose identity is the clip's.
fn sources(frames: &mut [(&Frame, &Fit)], shape: &[f64]) -> serde_json::Result<serde_json::Value> {
    frames.sort_by(|(a, _), (b, _)| a.azimuth.total_cmp(&b.azimuth));
    let quarters = [frames.len() / 4, 3 * frames.len() / 4];
    let chosen = quarters.into_iter().filter_map(|i| frames.get(i));
    let list = SourceList {
        shape: shape.iter().map(|s| *s as f32).collect(),
        sources: chosen
            .map(|(frame, fit)| SourceEntry {
                picture: Path::new("frames").join(&frame.name),
                transform: Some(fit.camera().transform),
                ..SourceEntry::default()
            })
            .collect(),
    };
    let mut content = serde_json::to_value(list)?;
    content["version"] = json!(1);
    Ok(content)
}

/// Whether a fit's points are, in the median, within 4 % of the face's width of its landmarks. Its
/// identity may be an unusual one.
fn lies_on(fit: &Fit, targets: &Targets) -> bool {
    let across = targets.iter().flatten().map(|place| place.x);
    let (low, high) = (
        across.clone().fold(f64::INFINITY, f64::min),
        across.fold(0.0, f64::max),
    );
    fit.residual <= 0.04 * (high - low)
}

/// The head model over all frames, with the identity that it has in some from all sides.
fn fitted(fits: &mut Fits, frames: &[Frame]) -> gpavatar::Result<Vec<Fit>> {
    let mut turned: Vec<&Frame> = frames.iter().collect();
    turned.sort_by(|a, b| a.azimuth.total_cmp(&b.azimuth));
    let some = evenly(turned.len(), TOGETHER);
    let some: Vec<_> = some
        .into_iter()
        .map(|i| turned[i].targets.clone())
        .collect();
    let shape = fits.fitter.fit_together(&some)?[0].shape.clone();
    let mut last: Option<Fit> = None;
    let fitted = frames.iter().map(|frame| {
        let fit = match last.take() {
            Some(mut fit) if lies_on(&fit, &frame.targets) => {
                fits.fitter.follow(&mut fit, &frame.targets)?;
                fit
            }
            _ => fits.fitter.fit(&frame.targets, Some(&shape))?,
        };
        last = Some(fit.clone());
        Ok(fit)
    });
    fitted.collect()
}

/// Without alpha: training takes black for background.
fn save(source: &SourceImage, path: &Path) -> gpavatar::Result<()> {
    let pixels = source.pixels().to_vec();
    let picture = RgbaImage::from_raw(source.width(), source.height(), pixels);
    let picture = DynamicImage::from(picture.unwrap_or_default()).into_rgb8();
    let saved = picture.save(path);
    saved.map_err(|error| broken("write", path, error))
}
