//! From photographs to sources.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use gpavatar::HeadModel;
use gpavatar::import::Sources;
use gpavatar::track::TrackedStill;
use image::RgbaImage;

use super::Args;
use crate::album::failed;
use crate::annotation::{annotated, quality};
use crate::avatar::cells;
use crate::report;
use crate::sheet::{self, Cell};
use crate::tracking::{interrupted, photo, shape_of};

/// A face of a photograph.
struct Found {
    path: PathBuf,
    still: TrackedStill,
    annotated: RgbaImage,
}

/// Writes a folder of sources for each person.
pub fn write(args: &Args, head: &HeadModel) -> Result<(), Box<dyn Error>> {
    let out = args.output.clone().unwrap_or("sources".into());
    // Said before the work is done.
    if fs::read_dir(&out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{}: expected a new or empty folder", out.display()).into());
    }
    let gpu = args.gpu.open()?;
    let tracker = args.tracker.open(&gpu, Some(head), args.faces)?;
    let mut people: Vec<Vec<Found>> = Vec::new();
    let mut left_out = Vec::new();
    let bar = report::progress("tracking", Some(args.inputs.len()));
    for path in &args.inputs {
        match photo(&tracker, path) {
            Ok((picture, stills)) => {
                for (i, still) in stills.into_iter().enumerate() {
                    people.resize_with(people.len().max(i + 1), Vec::new);
                    people[i].push(Found {
                        path: path.clone(),
                        annotated: annotated(&picture, &still.face),
                        still,
                    });
                }
            }
            Err(error) => left_out.push(error),
        }
        bar.inc(1);
        if interrupted() {
            break;
        }
    }
    bar.finish_and_clear();
    if people.is_empty() && left_out.len() == 1 {
        return Err(left_out.remove(0).into());
    }
    for error in &left_out {
        eprintln!("left out: {error}");
    }
    if people.is_empty() {
        return Err(format!("expected a face, found none in {} pictures", left_out.len()).into());
    }
    let mut folders = Vec::new();
    for (i, person) in people.iter().enumerate() {
        let folder = match args.faces {
            1 => out.clone(),
            _ => out.join(format!("face_{i}")),
        };
        fs::create_dir_all(folder.parent().unwrap_or(Path::new("")))
            .map_err(|error| failed("create", &folder, error))?;
        write_person(args, head, person, &folder)?;
        folders.push(folder);
    }
    report::list(&folders);
    Ok(())
}

fn write_person(
    args: &Args,
    head: &HeadModel,
    person: &[Found],
    folder: &Path,
) -> Result<(), Box<dyn Error>> {
    let faces: Vec<_> = person.iter().map(|found| &found.still.face).collect();
    let fits = args.tracker.identity(head, &faces)?;
    let images = person.iter().map(|found| found.still.source.clone());
    let images: Vec<_> = images.collect();
    let name = |found: &Found| {
        let name = found.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let sources = Sources {
        cameras: images.iter().map(|image| image.camera().copied()).collect(),
        frames: person.iter().map(name).collect(),
        images,
        shape: fits.as_deref().map_or(Vec::new(), shape_of),
    };
    sources.write(folder)?;
    let mut rows = Vec::new();
    for (i, (found, source)) in person.iter().zip(cells(&sources.images)).enumerate() {
        let fit = fits.as_ref().and_then(|fits| fits.get(i));
        let face = &found.still.face;
        println!("{}: {}", found.path.display(), quality(face, fit));
        let label = format!("presence {:.3}", face.landmarks.presence);
        rows.push([Cell::new(label, found.annotated.clone()), source]);
    }
    let rows: Vec<&[Cell]> = rows.iter().map(|row| row.as_slice()).collect();
    let path = folder.join("sheet.png");
    let saved = sheet::sheet(&rows, 2, 1024).save(&path);
    saved.map_err(|error| format!("{}: {error}", path.display()).into())
}
