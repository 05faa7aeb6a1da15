//! What the tracker found, as numbers.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use gpavatar::track::{ARKIT, Fit, TrackedFace};
use gpavatar::{HeadModel, SourceImage};
use serde::Serialize;

use super::Args;
use crate::tracking::{Fits, Footage, interrupted};

/// A line of output.
#[derive(Serialize)]
struct Line<'a> {
    picture: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<usize>,
    width: u32,
    height: u32,
    faces: Vec<Face>,
}

#[derive(Serialize)]
struct Face {
    id: u64,
    lost: bool,
    presence: f32,
    tongue: f32,
    /// The turned rectangle that the landmarks were looked for in.
    region: Region,
    /// x, y, z in pixels of the picture.
    landmarks: Vec<[f32; 3]>,
    scores: BTreeMap<&'static str, f32>,
    pose: Pose,
    /// None if the head model cannot be laid over the landmarks.
    fit: Option<Fitted>,
}

#[derive(Serialize)]
struct Region {
    centre: [f32; 2],
    size: [f32; 2],
    angle: f32,
}

#[derive(Serialize)]
struct Pose {
    /// Where the head's origin is, in pixels of the picture.
    origin: [f64; 2],
    /// Pixels for a world unit.
    unit: f64,
    /// The part of the picture that becomes a source, and its camera there.
    source: Region,
    transform: [[f32; 4]; 3],
}

#[derive(Serialize)]
struct Fitted {
    shape: Vec<f64>,
    expression: Vec<f64>,
    jaw: [f64; 3],
    /// The camera in the source.
    transform: [[f32; 4]; 3],
    /// In pixels of a source of 512.
    residual: f64,
    poor: bool,
}

/// Prints a line for each photograph, or for each frame of films.
pub fn print(args: &Args, head: &HeadModel, films: bool) -> Result<(), Box<dyn Error>> {
    let gpu = args.gpu.open()?;
    let mut fits = Fits::new(&args.tracker, head)?;
    for path in args.films() {
        let tracker = args.tracker.open(&gpu, Some(head), args.faces)?;
        let mut line = |frame, (width, height): (u32, u32), faces: Vec<&TrackedFace>| {
            let faces = faces
                .into_iter()
                .map(|face| Face::new(face, fits.alone(face).ok()));
            let line = Line {
                picture: path,
                frame,
                width,
                height,
                faces: faces.collect(),
            };
            println!("{}", serde_json::to_string(&line)?);
            Ok::<_, Box<dyn Error>>(())
        };
        if !films {
            let picture = SourceImage::open_rgba(path)?;
            let stills = pollster::block_on(tracker.still(&picture))?;
            let faces = stills.iter().map(|still| &still.face).collect();
            line(None, picture.dimensions(), faces)?;
            continue;
        }
        let mut footage = Footage::new(args.open(path)?, tracker);
        let mut frame = 0;
        while !interrupted() && footage.advance()?.is_some() {
            let faces = footage.faces().iter().collect();
            line(Some(frame), footage.frame().dimensions(), faces)?;
            frame += 1;
        }
    }
    Ok(())
}

impl Face {
    fn new(face: &TrackedFace, fit: Option<Fit>) -> Self {
        let (source, camera) = face.pose.source();
        Self {
            id: face.id,
            lost: face.lost,
            presence: face.landmarks.presence,
            tongue: face.landmarks.tongue,
            region: (&face.region).into(),
            landmarks: face.landmarks.points.iter().map(|p| p.to_array()).collect(),
            scores: ARKIT.into_iter().zip(face.scores).collect(),
            pose: Pose {
                origin: face.pose.origin.to_array(),
                unit: face.pose.unit,
                source: (&source).into(),
                transform: camera.transform,
            },
            fit: fit.map(|fit| Fitted {
                transform: fit.camera().transform,
                shape: fit.shape,
                expression: fit.expression,
                jaw: fit.jaw.to_array(),
                residual: fit.residual,
                poor: fit.poor,
            }),
        }
    }
}

impl From<&gpavatar::track::Region> for Region {
    fn from(region: &gpavatar::track::Region) -> Self {
        Self {
            centre: region.centre.to_array(),
            size: region.size.to_array(),
            angle: region.angle,
        }
    }
}
