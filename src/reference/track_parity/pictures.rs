//! Faces in pictures, from pixels to landmarks and scores, two passes over each.

use super::super::golden::Difference;
use super::super::parity::{Row, Table};
use super::super::{Real, track};
use crate::track::{Detection, Landmarks, Net, NetFiles, Nets, Picture, Region, detection};
use crate::{Error, Gpu, Result, SourceImage, TensorFile};

/// What runs the networks.
enum Engine<'a> {
    Twins(&'a NetFiles),
    Device(Nets),
}

/// A picture on the host and, if the networks are there, on the device.
struct Photo {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    on_device: Option<Picture>,
}

/// What a tensor's numbers may differ by.
#[derive(Clone, Copy)]
struct Bar {
    limit: f32,
    unit: &'static str,
}

const SCORE: Bar = bar(1e-3, "absolute");
const PLACE: Bar = bar(0.02, "pixel");
const REGION: Bar = bar(0.05, "pixel");
const ANGLE: Bar = bar(1e-3, "rad");
const POINTS: Bar = bar(0.05, "pixel");
const PRESENCE: Bar = bar(1e-4, "absolute");
const TONGUE: Bar = bar(1e-3, "absolute");
const EXPRESSION: Bar = bar(2e-3, "absolute");
const MATTE: Bar = bar(5e-3, "absolute");
/// Of landmarks in a clip, each frame following the last.
const FOLLOWED: Bar = bar(0.1, "pixel");

const fn bar(limit: f32, unit: &'static str) -> Bar {
    Bar { limit, unit }
}

/// Compares faces of pictures that `open` brings by their name, with the scalar twins or, on a device,
/// with the kernels. The file holds, for each picture NAME (`rot90` is `astronaut` turned
/// counter-clockwise, `half` its means of 2 x 2 pixels):
///
/// - `NAME.detections`: rows of score, box x0 y0 x1 y1 and six key points, best first;
/// - `NAME.K.roi`, `.xyz`, `.presence`, `.tongue`, `.scores`, `.upright` of face K, a row for each
///   pass, and `NAME.K.next_roi`; regions are centre, size and angle;
/// - `NAME.matte`: every first, second, … pixel of the network's mask;
/// - `clip.searched`, `.roi`, `.presence`, `.xyz`: 24 frames of 256 x 256 that move over
///   `astronaut` by (4, 2) pixels from (60, 0) on, black from the tenth to the twelfth.
///
/// Other tensors, and those that are missing, are left out.
///
/// # Errors
/// [`Error::Argument`] if another number of faces is found; [`Error::Tensors`] if a tensor has another
/// layout; and those of `open`.
pub async fn pictures(
    files: &NetFiles,
    case: &TensorFile,
    open: impl Fn(&str) -> Result<SourceImage>,
    gpu: Option<&Gpu>,
) -> Result<Table> {
    let engine = match gpu {
        Some(gpu) => Engine::Device(Nets::new(gpu, files)?),
        None => Engine::Twins(files),
    };
    let mut run = Run {
        engine,
        case,
        rows: Vec::new(),
    };
    let names = case
        .tensor_names()
        .filter_map(|name| name.strip_suffix(".detections"));
    for name in names {
        let photo = run.photo(&open, name)?;
        run.faces(name, &photo).await?;
        run.matte(name, &photo).await?;
    }
    if case.contains("clip.xyz") {
        let astronaut = run.photo(&open, "astronaut")?;
        run.clip(&astronaut).await?;
    }
    Ok(Table(run.rows))
}

struct Run<'a> {
    engine: Engine<'a>,
    case: &'a TensorFile,
    rows: Vec<Row>,
}

impl Run<'_> {
    fn photo(&self, open: impl Fn(&str) -> Result<SourceImage>, name: &str) -> Result<Photo> {
        let made = matches!(name, "rot90" | "half");
        let image = open(if made { "astronaut" } else { name })?;
        let (width, height, pixels) = (image.width(), image.height(), image.pixels());
        let at = |x: u32, y: u32| {
            let start = 4 * (y as usize * width as usize + x as usize);
            &pixels[start..start + 4]
        };
        match name {
            "rot90" => {
                let turned = (0..width).flat_map(|y| (0..height).map(move |x| (width - 1 - y, x)));
                let turned = turned.flat_map(|(x, y)| at(x, y)).copied().collect();
                self.uploaded(height, width, turned)
            }
            "half" => {
                let half = crate::track::nets::half(pixels, [width, height]);
                self.uploaded(width.div_ceil(2), height.div_ceil(2), half)
            }
            _ => self.uploaded(width, height, pixels.to_vec()),
        }
    }

    fn uploaded(&self, width: u32, height: u32, pixels: Vec<u8>) -> Result<Photo> {
        let on_device = match &self.engine {
            Engine::Twins(_) => None,
            Engine::Device(nets) => Some(Picture::new(nets.gpu(), width, height, &pixels)?),
        };
        Ok(Photo {
            width,
            height,
            pixels,
            on_device,
        })
    }

    /// A network's outputs.
    async fn outputs(&self, net: Net, photo: &Photo, region: &Region) -> Result<Vec<Vec<f32>>> {
        match (&self.engine, &photo.on_device) {
            (Engine::Device(nets), Some(picture)) => nets.run(net, picture, region).await,
            (Engine::Device(nets), None) => Err(Error::gpu("tracking", nets.gpu().description())),
            (Engine::Twins(files), _) => {
                let network = files.network(net).ok_or_else(|| {
                    Error::argument("the networks", "the file for segmentation, too", "none")
                })?;
                let [size, ..] = network.graph.shape(network.graph.input);
                let [gain, shift] = net.input_range();
                let crop = track::crop(&photo.pixels, [photo.width, photo.height], region, size);
                let input: Vec<Real> = crop.data.iter().map(|value| gain * value + shift).collect();
                let maps = track::run(&network.graph, &input);
                let outputs = network.outputs.iter().map(|map| maps[map].data.clone());
                Ok(outputs.collect())
            }
        }
    }

    fn scores(&self, landmarks: &Landmarks, angle: f32) -> Result<Vec<f32>> {
        let points = &landmarks.points;
        let mixer = match &self.engine {
            Engine::Twins(files) => &files.mixer,
            Engine::Device(nets) => nets.mixer(),
        };
        Ok(mixer
            .scores_of(points, |p| [p.x, p.y], angle, &mut Default::default())?
            .to_vec())
    }

    /// Compares what was `found`, if the case has the tensor.
    fn row(&mut self, name: &str, found: &[f32], expected: &[f32], bar: Bar) -> Result<()> {
        let difference = Difference::new(name, found, expected)?;
        self.rows.push(Row {
            passed: difference.max() <= bar.limit,
            tolerance: format!("{:.0e} {}", bar.limit, bar.unit),
            difference,
        });
        Ok(())
    }

    fn tensor(&mut self, name: &str, found: &[f32], bar: Bar) -> Result<()> {
        if !self.case.contains(name) {
            return Ok(());
        }
        let case = self.case;
        let expected = case.f32(name)?;
        self.row(name, found, &expected, bar)
    }

    /// Regions: places and sizes, then angles.
    fn regions(&mut self, name: &str, found: &[Region]) -> Result<()> {
        if !self.case.contains(name) {
            return Ok(());
        }
        let case = self.case;
        let expected = case.f32(name)?;
        let (rows, _) = expected.as_chunks::<5>();
        let places: Vec<f32> = rows.iter().flat_map(|row| &row[..4]).copied().collect();
        let angles: Vec<f32> = rows.iter().map(|row| row[4]).collect();
        let found_places = found
            .iter()
            .flat_map(|r| [r.centre.x, r.centre.y, r.size.x, r.size.y]);
        self.row(name, &found_places.collect::<Vec<_>>(), &places, REGION)?;
        let found_angles: Vec<f32> = found.iter().map(|region| region.angle).collect();
        self.row(&format!("{name} angle"), &found_angles, &angles, ANGLE)
    }

    async fn detect(&self, photo: &Photo) -> Result<Vec<Detection>> {
        let region = detection::letterbox(Region::whole(photo.width, photo.height));
        let outputs = self.outputs(Net::Detector, photo, &region).await?;
        let mut found = Vec::new();
        detection::decode(&outputs[0], &outputs[1], &region, &mut found)?;
        detection::suppress(&mut found);
        Ok(found)
    }

    async fn landmarks(&self, photo: &Photo, region: &Region) -> Result<Landmarks> {
        let outputs = self.outputs(Net::Landmarks, photo, region).await?;
        let mut landmarks = Landmarks::default();
        landmarks.place(&outputs[0], outputs[1][0], outputs[2][0], region)?;
        Ok(landmarks)
    }

    async fn faces(&mut self, name: &str, photo: &Photo) -> Result<()> {
        let tensor = format!("{name}.detections");
        let case = self.case;
        let expected = case.f32(&tensor)?;
        let (rows, _) = expected.as_chunks::<17>();
        let found = self.detect(photo).await?;
        Error::unless(
            found.len() == rows.len(),
            &tensor,
            format_args!("{} faces", rows.len()),
            found.len(),
        )?;
        if found.is_empty() {
            return Ok(());
        }
        let scores: Vec<f32> = found.iter().map(|face| face.score).collect();
        let expected_scores: Vec<f32> = rows.iter().map(|row| row[0]).collect();
        self.row(&format!("{tensor} score"), &scores, &expected_scores, SCORE)?;
        let places = found
            .iter()
            .flat_map(|face| face.corners.into_iter().chain(face.keys));
        let places: Vec<f32> = places.flat_map(|place| place.to_array()).collect();
        let expected: Vec<f32> = rows.iter().flat_map(|row| &row[1..]).copied().collect();
        self.row(&format!("{tensor} places"), &places, &expected, PLACE)?;
        for (index, face) in found.iter().enumerate() {
            let mut region = face.region();
            let (mut regions, mut points, mut presence, mut tongue) =
                (vec![], vec![], vec![], vec![]);
            let (mut scores, mut upright) = (vec![], vec![]);
            for _ in 0..2 {
                let landmarks = self.landmarks(photo, &region).await?;
                regions.push(region);
                points.extend(landmarks.points.iter().flat_map(|point| point.to_array()));
                presence.push(landmarks.presence);
                tongue.push(landmarks.tongue);
                scores.extend(self.scores(&landmarks, 0.0)?);
                upright.extend(self.scores(&landmarks, -region.angle)?);
                region = landmarks.region()?;
            }
            let face = format!("{name}.{index}");
            self.regions(&format!("{face}.roi"), &regions)?;
            self.regions(&format!("{face}.next_roi"), &[region])?;
            self.tensor(&format!("{face}.xyz"), &points, POINTS)?;
            self.tensor(&format!("{face}.presence"), &presence, PRESENCE)?;
            self.tensor(&format!("{face}.tongue"), &tongue, TONGUE)?;
            self.tensor(&format!("{face}.scores"), &scores, EXPRESSION)?;
            self.tensor(&format!("{face}.upright"), &upright, EXPRESSION)?;
        }
        Ok(())
    }

    async fn matte(&mut self, name: &str, photo: &Photo) -> Result<()> {
        let tensor = format!("{name}.matte");
        if !self.case.contains(&tensor) {
            return Ok(());
        }
        let whole = Region::whole(photo.width, photo.height);
        let outputs = self.outputs(Net::Segmentation, photo, &whole).await?;
        let rows = self
            .case
            .shape(&tensor)?
            .first()
            .copied()
            .unwrap_or_default();
        let step = 256 / rows.clamp(1, 256);
        let kept = outputs[0].chunks_exact(256).step_by(step);
        let kept: Vec<f32> = kept
            .flat_map(|row| row.iter().step_by(step))
            .copied()
            .collect();
        self.tensor(&tensor, &kept, MATTE)
    }

    async fn clip(&mut self, astronaut: &Photo) -> Result<()> {
        const FRAMES: u32 = 24;
        const SIDE: u32 = 256;
        let fits = astronaut.width >= 60 + 4 * (FRAMES - 1) + SIDE
            && astronaut.height >= 2 * (FRAMES - 1) + SIDE;
        Error::unless(fits, "the astronaut", "512 x 512 pixels", astronaut.width)?;
        let mut region = None;
        let (mut searched, mut presence, mut points) = (vec![], vec![], vec![]);
        for frame in 0..FRAMES {
            let (left, top) = (60 + 4 * frame, 2 * frame);
            let rows = (top..top + SIDE).flat_map(|y| {
                let start = 4 * (y * astronaut.width + left) as usize;
                &astronaut.pixels[start..start + 4 * SIDE as usize]
            });
            let mut pixels: Vec<u8> = rows.copied().collect();
            if (10..13).contains(&frame) {
                pixels.fill(0);
            }
            let photo = self.uploaded(SIDE, SIDE, pixels)?;
            searched.push(f32::from(u8::from(region.is_none())));
            if region.is_none() {
                region = self.detect(&photo).await?.first().map(Detection::region);
            }
            let landmarks = match &region {
                Some(region) => self.landmarks(&photo, region).await?,
                None => Landmarks::default(),
            };
            presence.push(landmarks.presence);
            region = None;
            if landmarks.presence >= 0.5 {
                points.extend(landmarks.points.iter().flat_map(|point| point.to_array()));
                region = Some(landmarks.region()?);
            } else {
                points.extend([0.0; 3 * crate::track::LANDMARKS]);
            }
        }
        if self.case.contains("clip.searched") {
            let expected: Vec<f32> = self
                .case
                .u8("clip.searched")?
                .iter()
                .map(|byte| f32::from(*byte))
                .collect();
            self.row("clip.searched", &searched, &expected, bar(0.0, "frame"))?;
        }
        self.tensor("clip.presence", &presence, SCORE)?;
        self.tensor("clip.xyz", &points, FOLLOWED)
    }
}
