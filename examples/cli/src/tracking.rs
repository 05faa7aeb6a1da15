//! The tracker on photographs and films.

mod journal;
mod performance;

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gpavatar::glam::DVec2;
use gpavatar::track::{
    Calibration, Driver, DriverOptions, Embedding, Fit, FitOptions, Fitter, NetFiles, Picture,
    Retarget, TrackedFace, TrackedStill, Tracker, TrackerOptions,
};
use gpavatar::{Error, Gpu, HeadModel, Result, SourceImage};
use image::RgbaImage;

use crate::album::failed;
use crate::demo;
use crate::film::Film;
pub use journal::{Journal, Subject};
pub use performance::Performance;

/// Longest side of a frame whose memory on the device is used for the next one.
const REUSED: u32 = 4096;

#[derive(clap::Args)]
#[command(next_help_heading = "Tracker")]
pub struct TrackerArgs {
    /// Folder with the tracker's networks [default: weights/track of the repository]
    #[arg(long, value_name = "FOLDER")]
    nets: Option<PathBuf>,
    /// Where landmarks lie on the head model, JSON [default: where they lie on the shipped one]
    #[arg(long, value_name = "FILE")]
    embedding: Option<PathBuf>,
}

impl TrackerArgs {
    /// A tracker of so many faces, for a head model.
    ///
    /// # Errors
    /// If the networks or the embedding are missing or broken.
    pub fn open(&self, gpu: &Gpu, head: Option<&HeadModel>, faces: usize) -> Result<Tracker> {
        let folder = self.nets.clone();
        let folder = folder.unwrap_or_else(|| demo::file("weights/track"));
        let [task, segmentation] =
            ["face_landmarker.task", "selfie_segmentation.tflite"].map(|name| folder.join(name));
        for file in [&task, &segmentation] {
            if !file.exists() {
                return Err(Error::Argument {
                    what: file.display().to_string(),
                    expected: "a network of the tracker, which `bash weights/track/get.sh` brings"
                        .into(),
                    found: "no such file".into(),
                });
            }
        }
        let files = NetFiles::open(task, Some(&segmentation))?;
        for unknown in files.unknown() {
            eprintln!("{unknown} is not the file that the tracker was tested with");
        }
        let options = TrackerOptions {
            faces,
            ..TrackerOptions::default()
        };
        let tracker = Tracker::new(gpu, &files, options)?;
        match (head, self.embedding()?) {
            (Some(head), Some(embedding)) => tracker.for_head(head, &embedding),
            _ => Ok(tracker),
        }
    }

    /// Fits of the head model to one person's faces, with the same identity. None without an embedding:
    /// the shipped head is drawn, and has no identity of a person.
    ///
    /// # Errors
    /// As for [`Fitter::fit_together`].
    pub fn identity(&self, head: &HeadModel, faces: &[&TrackedFace]) -> Result<Option<Vec<Fit>>> {
        if self.embedding.is_none() {
            return Ok(None);
        }
        let mut fits = Fits::new(self, head)?;
        let targets = faces.iter().map(|face| fits.targets(face));
        let targets = targets.collect::<Result<Vec<_>>>()?;
        fits.fitter.fit_together(&targets).map(Some)
    }

    /// What depends on these arguments in the faces of a film, to be compared.
    pub fn described(&self) -> String {
        let path = self.embedding.as_deref().unwrap_or(Path::new(""));
        path.display().to_string()
    }

    /// The embedding that was given.
    pub fn embedding(&self) -> Result<Option<Embedding>> {
        let read = |path: &PathBuf| {
            let json = std::fs::read_to_string(path);
            let json = json.map_err(|error| failed("read", path, error))?;
            Embedding::from_json(&path.display().to_string(), &json)
        };
        self.embedding.as_ref().map(read).transpose()
    }
}

/// Fits a head model to faces.
pub struct Fits {
    pub embedding: Embedding,
    pub fitter: Fitter,
}

/// Where a source has the points of an embedding.
pub type Targets = Vec<Option<DVec2>>;

impl Fits {
    /// # Errors
    /// If the embedding is not one in this head.
    pub fn new(args: &TrackerArgs, head: &HeadModel) -> Result<Self> {
        let embedding = args.embedding()?.unwrap_or_else(Embedding::shipped);
        let fitter = Fitter::new(head, &embedding, FitOptions::of(head))?;
        Ok(Self { embedding, fitter })
    }

    /// Where a face's source has the landmarks.
    ///
    /// # Errors
    /// As for [`Embedding::targets`].
    pub fn targets(&self, face: &TrackedFace) -> Result<Targets> {
        let mut targets = Vec::new();
        let (crop, _) = face.pose.source();
        let (embedding, landmarks) = (&self.embedding, &face.landmarks);
        embedding.targets(landmarks, &crop, Embedding::SIZE, &mut targets)?;
        Ok(targets)
    }

    /// The fit to a face alone, in its source.
    ///
    /// # Errors
    /// As for [`Fitter::fit`].
    pub fn alone(&mut self, face: &TrackedFace) -> Result<Fit> {
        let targets = self.targets(face)?;
        self.fitter.fit(&targets, None)
    }
}

/// The identity that fits of one person have in common.
pub fn shape_of(fits: &[Fit]) -> Vec<f32> {
    let shape = fits.first().map(|fit| &fit.shape);
    shape.into_iter().flatten().map(|s| *s as f32).collect()
}

/// The faces of a photograph, the surest first, and its pixels.
///
/// # Errors
/// If it cannot be read or has no face.
pub fn photo(tracker: &Tracker, path: &Path) -> Result<(RgbaImage, Vec<TrackedStill>)> {
    let picture = SourceImage::open_rgba(path)?;
    let stills = pollster::block_on(tracker.still(&picture))?;
    match stills.is_empty() {
        true => Err(no_face(path, "none")),
        false => Ok((picture, stills)),
    }
}

/// The error of a picture or a film without a face.
pub fn no_face(path: &Path, found: &str) -> Error {
    Error::Argument {
        what: path.display().to_string(),
        expected: "a face".into(),
        found: found.into(),
    }
}

/// A film whose faces are followed.
pub struct Footage {
    pub film: Film,
    tracker: Tracker,
    frame: RgbaImage,
    picture: Option<(Picture, (u32, u32))>,
}

impl Footage {
    pub fn new(film: Film, tracker: Tracker) -> Self {
        Self {
            film,
            tracker,
            frame: RgbaImage::new(0, 0),
            picture: None,
        }
    }

    /// The faces of the next frame, none at the film's end.
    ///
    /// # Errors
    /// As for [`Film::next`] and [`Tracker::frame`].
    pub fn advance(&mut self) -> Result<Option<&[TrackedFace]>> {
        if !self.film.next(&mut self.frame)? {
            return Ok(None);
        }
        let (gpu, size) = (self.tracker.nets().gpu(), self.frame.dimensions());
        let reused = self.picture.as_mut();
        let reused = reused.filter(|(_, last)| *last == size && size.0.max(size.1) <= REUSED);
        match reused {
            Some((picture, _)) => picture.replace(gpu, &self.frame)?,
            None => {
                let picture = Picture::new(gpu, size.0, size.1, &self.frame)?;
                self.picture = Some((picture, size));
            }
        }
        let Some((picture, _)) = &self.picture else {
            return Ok(None);
        };
        let seconds = 1.0 / self.film.rate();
        pollster::block_on(self.tracker.frame(picture, seconds)).map(Some)
    }

    /// Passes over the next frame; false at the film's end.
    ///
    /// # Errors
    /// As for [`Film::next`].
    pub fn skip(&mut self) -> Result<bool> {
        self.film.next(&mut self.frame)
    }

    /// The faces of the last frame.
    pub fn faces(&self) -> &[TrackedFace] {
        self.tracker.faces()
    }

    /// The last frame.
    pub fn frame(&self) -> &RgbaImage {
        &self.frame
    }

    /// The sources of the last frame, cropped and matted.
    ///
    /// # Errors
    /// As for [`Tracker::sources`].
    pub fn sources(&mut self) -> Result<Vec<(u64, SourceImage)>> {
        match &self.picture {
            Some((picture, _)) => pollster::block_on(self.tracker.sources(&self.frame, picture)),
            None => Ok(Vec::new()),
        }
    }
}

#[derive(clap::Args)]
#[command(next_help_heading = "Tracker")]
pub struct DriverArgs {
    /// The face at rest, from which expressions are measured: the first still second of the film, what
    /// is seldom exceeded, or none
    #[arg(long, value_name = "HOW", default_value = "first-second",
          value_parser = PossibleValuesParser::new(["first-second", "running", "none"])
              .map(|name| match &*name {
                  "running" => Calibration::Running,
                  "none" => Calibration::Manual,
                  _ => Calibration::FirstSecond,
              }))]
    calibration: Calibration,
    /// Turns left into right, as in a mirror
    #[arg(long)]
    mirror: bool,
    /// Frames per second [default: the film's; 25 for folders]
    #[arg(long, value_name = "N", value_parser = rate)]
    fps: Option<f64>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate| (1.0..=240.0).contains(rate));
    rate.ok_or_else(|| "expected 1 to 240".into())
}

impl DriverArgs {
    /// A driver of a head model: by its channels' names, or by an embedding.
    fn driver(&self, head: &HeadModel, tracker: &TrackerArgs) -> Result<Driver> {
        let options = DriverOptions {
            calibration: self.calibration,
            mirror: self.mirror,
            ..DriverOptions::default()
        };
        match tracker.embedding()? {
            Some(embedding) if head.parts().channels.is_empty() => {
                let shipped = HeadModel::open(demo::weights())?;
                let source = (&shipped, &Embedding::shipped());
                let retarget = Retarget::cached(source, (head, &embedding))?;
                Driver::retargeted(head, retarget, options)
            }
            _ => Driver::new(head, options),
        }
    }

    /// The performance of a film's face on a head model.
    ///
    /// # Errors
    /// As for [`TrackerArgs::open`] and [`Driver::new`].
    pub fn performance(
        &self,
        film: Film,
        gpu: &Gpu,
        head: &HeadModel,
        tracker: &TrackerArgs,
    ) -> Result<Performance> {
        let footage = Footage::new(film, tracker.open(gpu, Some(head), 1)?);
        Ok(Performance::new(footage, self.driver(head, tracker)?))
    }

    /// Frames per second, if they were given.
    pub fn fps(&self) -> Option<f64> {
        self.fps
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C is noticed by [`interrupted`]; a second one ends the program.
pub fn notice_interrupts() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let set = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        // Without a handler Ctrl-C ends the program, and what was tracked is lost.
        if let Err(error) = set {
            eprintln!("{error}");
        }
    });
}

/// True once somebody has pressed Ctrl-C.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
