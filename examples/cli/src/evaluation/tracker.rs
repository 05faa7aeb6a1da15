//! How well the tracker reads pictures of people about whom everything is known.

use std::fmt::{self, Write};
use std::time::Instant;

use gpavatar::glam::{DMat3, DQuat, DVec3};
use gpavatar::track::{
    Calibration, Driver, DriverOptions, Embedding, FaceFrame, Fit, FitOptions, Fitter, Region,
    TrackedStill, Tracker,
};
use gpavatar::{Camera, Geometry, HeadModel};
use image::imageops::{self, FilterType};
use image::{Rgba, RgbaImage};
use serde::Serialize;

use super::{Evaluation, Identity, Kind, NEUTRAL, Result, Target};
use crate::annotation::azimuth;
use crate::metrics::mean;

/// Rotations and channels are judged up to this azimuth of the camera, in degrees.
const TURNED: f64 = 30.0;
/// Pictures that are put before each photograph.
const FRONTS: usize = 3;
/// What the channels of both sides are judged together as.
const CHANNELS: [&str; 7] = [
    "jawOpen",
    "mouthSmile",
    "mouthFrown",
    "mouthPucker",
    "eyeBlink",
    "browInnerUp",
    "browDown",
];
/// Horizontal gaze: of the left and the right eye, the channels that look to the person's left and
/// right.
const GAZE: [[&str; 2]; 2] = [
    ["eyeLookOutLeft", "eyeLookInLeft"],
    ["eyeLookInRight", "eyeLookOutRight"],
];

/// Measures of the tracker.
#[derive(Debug, Serialize)]
pub struct TrackerScores {
    pub pictures: usize,
    /// Pictures in which one face was found.
    pub found: usize,
    /// The lowest presence of these.
    pub presence: f64,
    /// Rotation of the head, its identity known, in degrees over `turned` pictures: median, and what
    /// 90 % are within.
    pub rotation: [f64; 2],
    pub turned: usize,
    /// Expression channels of these pictures, left and right together: read beside true values.
    pub channels: Vec<ChannelScores>,
    /// Mattes of these people before photographs.
    pub mattes: Option<MatteScores>,
    /// Photographs without people in which a face was found, by their place in the folder.
    pub false_faces: Vec<usize>,
    pub photographs: usize,
    /// Median time of a still in milliseconds, its source included.
    pub milliseconds: f64,
}

/// How a channel is read.
#[derive(Debug, Serialize)]
pub struct ChannelScores {
    pub name: &'static str,
    /// Pearson's correlation with the truth.
    pub correlation: f64,
    /// Slope of the regression on the truth.
    pub slope: f64,
}

/// How well people are told from what is behind them.
#[derive(Debug, Serialize)]
pub struct MatteScores {
    pub pictures: usize,
    /// Median over the pictures: intersection over union at half opacity, and mean error.
    pub iou: f64,
    pub error: f64,
}

/// What was measured so far.
#[derive(Default)]
struct Readings {
    pictures: usize,
    presence: Vec<f64>,
    degrees: Vec<f64>,
    milliseconds: Vec<f64>,
    /// For each of [`CHANNELS`], then the gaze: true and read values.
    pairs: [Vec<[f64; 2]>; CHANNELS.len() + 1],
}

impl Evaluation {
    /// Number of pictures that [`Evaluation::track`] looks at, photographs aside.
    pub fn stills(&self) -> usize {
        let of = |identity: &Identity| identity.targets.iter().filter(|t| t.is_random()).count();
        self.identities.iter().map(of).sum()
    }

    /// Tracks the random targets of all identities, and puts some of them before photographs, which
    /// must be of no people. `head` is the head model that the pictures were drawn with.
    ///
    /// # Errors
    /// If a picture cannot be read, the head model is another one, or the device fails.
    pub fn track(
        &self,
        tracker: &Tracker,
        head: &HeadModel,
        photographs: &[RgbaImage],
        mut watch: impl FnMut(),
    ) -> Result<TrackerScores> {
        let embedding = Embedding::shipped_for_drawings();
        let mut fitter = Fitter::new(head, &embedding, FitOptions::of(head))?;
        let mut readings = Readings::default();
        for identity in &self.identities {
            let mut people = Person {
                tracker,
                embedding: &embedding,
                fitter: &mut fitter,
                shape: identity.shape.iter().map(|s| f64::from(*s)).collect(),
                driver: Driver::new(head, raw())?,
            };
            // The person at rest, which expressions are measured from.
            let at_rest =
                |t: &&Target| matches!(&t.kind, Kind::Channel { channel } if channel == NEUTRAL);
            if let Some(target) = identity.targets.iter().find(at_rest)
                && let Some((still, fit)) = people.look(&self.picture(&target.picture)?)?
            {
                people.driver.drive(Some(&frame(&still, &fit)), 0.0)?;
                people.driver.calibrate();
            }
            for target in identity.targets.iter().filter(|t| t.is_random()) {
                let picture = self.picture(&target.picture)?;
                readings.pictures += 1;
                let start = Instant::now();
                let found = people.look(&picture)?;
                readings
                    .milliseconds
                    .push(1000.0 * start.elapsed().as_secs_f64());
                if let Some((still, fit)) = found {
                    let drive = people.driver.drive(Some(&frame(&still, &fit)), 0.0)?;
                    let resolved = drive.resolve(Some(head), head.vertex_count())?;
                    if let Geometry::Coefficients { expression, .. } = resolved.geometry {
                        let read = |name: &str| Some(expression[head.channel(name).ok()?]);
                        readings.add(self, target, &still, &fit, read);
                    }
                }
                watch();
            }
        }
        let mut false_faces = Vec::new();
        for (i, photograph) in photographs.iter().enumerate() {
            if !pollster::block_on(tracker.still(photograph))?.is_empty() {
                false_faces.push(i);
            }
        }
        let mattes = self.mattes(tracker, photographs)?;
        Ok(readings.scores(mattes, false_faces, photographs.len()))
    }

    /// Judges mattes of people before photographs.
    fn mattes(&self, tracker: &Tracker, photographs: &[RgbaImage]) -> Result<Option<MatteScores>> {
        let random = self.identities.iter().flat_map(|i| &i.targets);
        let mut random = random.filter(|t| t.is_random()).cycle();
        let (mut ious, mut errors) = (Vec::new(), Vec::new());
        for photograph in photographs {
            for target in random.by_ref().take(FRONTS) {
                let person = self.picture(&target.picture)?;
                let mut scene = filled(photograph, person.width());
                imageops::overlay(&mut scene, &person, 0, 0);
                // Blending rounds; a picture with alpha of its own needs no matte.
                scene.pixels_mut().for_each(|pixel| pixel[3] = 255);
                let found = pollster::block_on(tracker.matte(&scene))?;
                let pairs = person.pixels().zip(found.pixels());
                let (mut both, mut any, mut error) = (0u32, 0u32, 0.0);
                for (Rgba([.., truth]), found) in pairs {
                    let found = found[0];
                    both += u32::from(*truth >= 128 && found >= 128);
                    any += u32::from(*truth >= 128 || found >= 128);
                    error += f64::from(truth.abs_diff(found)) / 255.0;
                }
                ious.push(f64::from(both) / f64::from(any.max(1)));
                errors.push(error / f64::from(person.width() * person.height()));
            }
        }
        Ok((!ious.is_empty()).then(|| MatteScores {
            pictures: ious.len(),
            iou: quantile(&mut ious, 0.5),
            error: quantile(&mut errors, 0.5),
        }))
    }
}

/// Reads channels as they are, calibrated when told.
fn raw() -> DriverOptions {
    DriverOptions {
        calibration: Calibration::Manual,
        smooth: false,
        ..DriverOptions::default()
    }
}

fn frame<'a>(still: &'a TrackedStill, fit: &'a Fit) -> FaceFrame<'a> {
    FaceFrame {
        scores: &still.face.scores,
        pose: still.face.pose,
        fit: Some(fit),
        presence: still.face.landmarks.presence,
    }
}

/// A photograph as a square, its middle.
fn filled(photograph: &RgbaImage, side: u32) -> RgbaImage {
    let (width, height) = photograph.dimensions();
    let short = width.min(height);
    let (x, y) = ((width - short) / 2, (height - short) / 2);
    let middle = imageops::crop_imm(photograph, x, y, short, short).to_image();
    imageops::resize(&middle, side, side, FilterType::Triangle)
}

/// Somebody whose identity is known.
struct Person<'a> {
    tracker: &'a Tracker,
    embedding: &'a Embedding,
    fitter: &'a mut Fitter,
    shape: Vec<f64>,
    driver: Driver,
}

impl Person<'_> {
    /// Tracks and fits a picture, if one face is found in it.
    fn look(&mut self, picture: &RgbaImage) -> Result<Option<(TrackedStill, Fit)>> {
        let mut stills = pollster::block_on(self.tracker.still(picture))?;
        let Some(still) = stills.pop() else {
            return Ok(None);
        };
        let whole = Region::whole(picture.width(), picture.height());
        let landmarks = &still.face.landmarks;
        let mut targets = Vec::new();
        (self.embedding).targets(landmarks, &whole, Embedding::SIZE, &mut targets)?;
        let fit = self.fitter.fit(&targets, Some(&self.shape))?;
        Ok(Some((still, fit)))
    }
}

impl Readings {
    fn add(
        &mut self,
        evaluation: &Evaluation,
        target: &Target,
        still: &TrackedStill,
        fit: &Fit,
        read: impl Fn(&str) -> Option<f32>,
    ) {
        self.presence.push(still.face.landmarks.presence.into());
        let (rotation, azimuth) = target.rotation();
        if azimuth.abs() > TURNED {
            return;
        }
        self.degrees.push(degrees(fit.rotation, rotation));
        let value = |name: &str| {
            let place = evaluation
                .channels
                .iter()
                .position(|channel| channel == name)?;
            Some([target.expression[place], read(name)?].map(f64::from))
        };
        for (pairs, stem) in self.pairs.iter_mut().zip(CHANNELS) {
            let names = [
                stem.to_owned(),
                format!("{stem}Left"),
                format!("{stem}Right"),
            ];
            pairs.extend(names.iter().filter_map(|name| value(name)));
        }
        for names in GAZE {
            if let [Some(left), Some(right)] = names.map(value) {
                self.pairs[CHANNELS.len()].push([left[0] - right[0], left[1] - right[1]]);
            }
        }
    }

    fn scores(
        mut self,
        mattes: Option<MatteScores>,
        false_faces: Vec<usize>,
        photographs: usize,
    ) -> TrackerScores {
        let names = CHANNELS.into_iter().chain(["gaze, horizontal"]);
        let channels = names.zip(&self.pairs).map(|(name, pairs)| {
            let (correlation, slope) = regression(pairs);
            ChannelScores {
                name,
                correlation,
                slope,
            }
        });
        TrackerScores {
            channels: channels.collect(),
            pictures: self.pictures,
            found: self.presence.len(),
            presence: self.presence.iter().copied().fold(1.0, f64::min),
            turned: self.degrees.len(),
            rotation: [0.5, 0.9].map(|share| quantile(&mut self.degrees, share)),
            mattes,
            false_faces,
            photographs,
            milliseconds: quantile(&mut self.milliseconds, 0.5),
        }
    }
}

impl Target {
    /// The head's rotation before the camera, the neck's included, and the camera's azimuth in degrees.
    fn rotation(&self) -> (DMat3, f64) {
        let camera = Camera::from_transform(self.transform).rotation().as_dmat3();
        let neck = self.pose.first_chunk::<3>().copied().unwrap_or_default();
        let neck = DMat3::from_quat(DQuat::from_scaled_axis(DVec3::from(neck.map(f64::from))));
        (neck.transpose() * camera, azimuth(&camera).to_degrees())
    }
}

/// The angle between two rotations.
fn degrees(a: DMat3, b: DMat3) -> f64 {
    let turn = a.transpose() * b;
    let trace = turn.x_axis.x + turn.y_axis.y + turn.z_axis.z;
    ((trace - 1.0) / 2.0).clamp(-1.0, 1.0).acos().to_degrees()
}

/// Correlation, and slope of the second on the first; 0 where nothing varies.
fn regression(pairs: &[[f64; 2]]) -> (f64, f64) {
    let of = |f: &dyn Fn(&[f64; 2]) -> f64| mean(pairs.iter().map(f)).unwrap_or(0.0);
    let (x, y) = (of(&|p| p[0]), of(&|p| p[1]));
    let xx = of(&|p| (p[0] - x).powi(2));
    let yy = of(&|p| (p[1] - y).powi(2));
    let xy = of(&|p| (p[0] - x) * (p[1] - y));
    let over = |by: f64| if by > 0.0 { xy / by } else { 0.0 };
    (over((xx * yy).sqrt()), over(xx))
}

/// The value that this share of the values is within, 0 of none.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (share * values.len() as f64) as usize;
    values
        .get(index.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

impl TrackerScores {
    /// Two tables in Markdown.
    pub fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "| tracker | value |\n|---|---|")?;
        let (found, pictures) = (self.found, self.pictures);
        writeln!(out, "| faces found | {found} of {pictures} |")?;
        writeln!(out, "| lowest presence | {:.4} |", self.presence)?;
        let [median, most] = self.rotation;
        let turned = self.turned;
        writeln!(
            out,
            "| rotation, identity known, {turned} pictures up to ±{TURNED}° | {median:.2}°, 90 % within {most:.2}° |"
        )?;
        if let Some(MatteScores {
            pictures,
            iou,
            error,
        }) = self.mattes
        {
            let (false_faces, photographs) = (self.false_faces.len(), self.photographs);
            writeln!(
                out,
                "| faces in photographs of no people | {false_faces} of {photographs} |"
            )?;
            writeln!(
                out,
                "| mattes before them, {pictures} pictures, median | IoU {iou:.3}, error {error:.4} |"
            )?;
        }
        writeln!(out, "| milliseconds per still | {:.0} |", self.milliseconds)?;
        writeln!(
            out,
            "\n| channel, both sides | correlation | slope |\n|---|---|---|"
        )?;
        for ChannelScores {
            name,
            correlation,
            slope,
        } in &self.channels
        {
            writeln!(out, "| {name} | {correlation:.2} | {slope:.2} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regressions_of_lines_and_of_nothing() {
        let line: Vec<[f64; 2]> = (0..5)
            .map(|k| [f64::from(k), 3.0 - 0.5 * f64::from(k)])
            .collect();
        let (correlation, slope) = regression(&line);
        assert!((correlation + 1.0).abs() < 1e-12 && (slope + 0.5).abs() < 1e-12);
        assert_eq!(regression(&[[1.0, 2.0], [1.0, 3.0]]), (0.0, 0.0));
        assert_eq!(regression(&[]), (0.0, 0.0));
    }

    #[test]
    fn quantiles_are_values() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0], 1.0), 3.0);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }

    #[test]
    fn an_angle_between_rotations() {
        let about_y = |angle: f64| DMat3::from_rotation_y(angle);
        assert!((degrees(about_y(0.1), about_y(0.4)) - 0.3f64.to_degrees()).abs() < 1e-9);
    }
}
