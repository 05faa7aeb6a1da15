//! The tracker: networks and decisions together.

use std::borrow::Cow;
use std::f32::consts::TAU;

use glam::{DVec2, Vec3, Vec3Swizzles};
use image::{GrayImage, RgbaImage};

use super::canonical::{Canonical, HeadPose, Placement};
use super::cut::{cut, has_alpha};
use super::detection::{self, Detection, TILINGS, letterbox, tiles};
use super::driver::FaceFrame;
use super::embedding::Embedding;
use super::files::{Net, NetFiles};
use super::fit::{Fit, FitOptions, Fitter};
use super::follow::{Face, Faces, Verdict, judge};
use super::landmarks::Landmarks;
use super::matte;
use super::mixer;
use super::nets::{Nets, Picture};
use super::outputs::Outputs;
use super::region::{Region, overlap};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::head::{ARKIT, HeadModel};
use crate::source::{SourceImage, composite_on_black};

/// Quarter turns of a picture, in the order in which they are tried on a face that is not upright.
const TURNS: [f32; 4] = [0.0, 0.25, 0.5, 0.75];
/// Regions that overlap by more than this show the same face.
const SAME: f32 = 0.5;

/// Beside so much smaller a source the picture is too large to be matted as a whole: the network sees 256
/// pixels of it.
const SMALL: f32 = 3.0;

/// How a [`Tracker`] works.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackerOptions {
    /// Most faces of a picture, or of a video at a time.
    pub faces: usize,
    /// Turns landmarks upright before expressions are read from them. Without it scores are those of
    /// MediaPipe, which depend on how the head is tilted.
    pub upright: bool,
    /// Passes the tongue's score on. No case is known in which it is right.
    pub tongue: bool,
    /// Side of a source picture, in pixels.
    pub source_size: u32,
}

impl Default for TrackerOptions {
    /// One face, upright, no tongue, sources of 512 pixels.
    fn default() -> Self {
        Self {
            faces: 1,
            upright: true,
            tongue: false,
            source_size: 512,
        }
    }
}

/// Finds and follows faces in pictures and videos, on the device of the avatars.
///
/// ```no_run
/// use gpavatar::track::{NetFiles, Tracker, TrackerOptions};
/// use gpavatar::{Avatar, Gpu, Model};
///
/// # async fn example(photo: gpavatar::image::RgbaImage) -> Result<(), gpavatar::Error> {
/// let gpu = Gpu::new()?;
/// let files = NetFiles::open("face_landmarker.task", None)?;
/// let tracker = Tracker::new(&gpu, &files, TrackerOptions::default())?;
/// let model = Model::open(&gpu, "weights.safetensors")?;
/// for still in tracker.still(&photo).await? {
///     let avatar = Avatar::from_images(&model, &[still.source])?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Tracker {
    nets: Nets,
    options: TrackerOptions,
    canonical: Canonical,
    placement: Placement,
    overlay: Option<Overlay>,
    faces: Faces,
    tracked: Vec<TrackedFace>,
    workspace: Workspace,
    /// The video's mask, empty before its first one.
    mask: Vec<f32>,
}

/// Memory of a frame, which serves the next one.
#[derive(Default)]
struct Workspace {
    found: Vec<Detection>,
    landmarks: Landmarks,
    detector: Outputs,
    landmark_net: Outputs,
    mixer: mixer::Workspace,
}

/// A head model, and what lays it over faces.
#[derive(Clone)]
struct Overlay {
    embedding: Embedding,
    fitter: Fitter,
    targets: Vec<Option<DVec2>>,
}

/// A face, and what its expression and pose are.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedFace {
    /// Numbers the faces of a video.
    pub id: u64,
    /// The region that the landmarks were looked for in.
    pub region: Region,
    /// Its landmarks.
    pub landmarks: Landmarks,
    /// Scores of ARKit's 52 channels in alphabetical order, from 0 to 1, before any calibration.
    pub scores: [f32; 52],
    /// Where the head is.
    pub pose: HeadPose,
    /// The head model of [`Tracker::for_head`], laid over the face in the crop of [`HeadPose::source`].
    /// The frames of a video share the identity that first fitted well.
    pub fit: Option<Fit>,
    /// True if it was not found in this frame: everything else is of the last frame that it was in.
    pub lost: bool,
}

/// A face of a still.
#[derive(Clone, Debug)]
pub struct TrackedStill {
    /// The face, in the whole picture.
    pub face: TrackedFace,
    /// A square crop around it with its camera, the background black: what an avatar is built from.
    pub source: SourceImage,
}

impl TrackedFace {
    /// What a [`Driver`](super::Driver) takes, or none while the face is lost. A poor fit is left out.
    pub fn frame(&self) -> Option<FaceFrame<'_>> {
        (!self.lost).then_some(FaceFrame {
            scores: &self.scores,
            pose: self.pose,
            fit: self.fit.as_ref().filter(|fit| !fit.poor),
            presence: self.landmarks.presence,
        })
    }
}

impl Tracker {
    /// A tracker for the shipped head model.
    ///
    /// # Errors
    /// [`Error::Argument`] if an option is 0; [`Error::Format`] if the files hold no canonical face;
    /// and those of [`Nets::new`].
    pub fn new(gpu: &Gpu, files: &NetFiles, options: TrackerOptions) -> Result<Self> {
        Error::unless(options.faces > 0, "faces to track", "at least 1", 0)?;
        let ok = (1..=SourceImage::MAX_SIDE).contains(&options.source_size);
        let expected = format_args!("1 to {} pixels", SourceImage::MAX_SIDE);
        Error::unless(
            ok,
            "size of a source picture",
            expected,
            options.source_size,
        )?;
        Ok(Self {
            nets: Nets::new(gpu, files)?,
            canonical: Canonical::parse("the task", files.geometry())?,
            placement: Placement::SHIPPED,
            overlay: None,
            faces: Faces::new(options.faces),
            tracked: Vec::new(),
            workspace: Workspace::default(),
            mask: Vec::new(),
            options,
        })
    }

    /// The same for a head model in the proportions of people, such as FLAME: crops and poses are about
    /// its origin and in its units, and it is laid over every face, which gives the person's identity.
    ///
    /// # Errors
    /// [`Error::Argument`] if the embedding is not in this head, has fewer than 12 points or cannot be
    /// compared with a face.
    pub fn for_head(mut self, head: &HeadModel, embedding: &Embedding) -> Result<Self> {
        let rest = embedding.rest(head)?;
        self.placement = self.canonical.placement(embedding, &rest)?;
        self.overlay = Some(Overlay {
            embedding: embedding.clone(),
            fitter: Fitter::new(head, embedding, FitOptions::of(head))?,
            targets: Vec::new(),
        });
        Ok(self)
    }

    /// The networks.
    pub fn nets(&self) -> &Nets {
        &self.nets
    }

    /// Finds the faces of a still, the surest first: none if there are none. Small faces are looked for
    /// in parts of the picture, faces that are not upright in turned ones.
    ///
    /// The background of the sources is black: by the picture's own alpha if it has any, else by the
    /// network for segmentation, which sees the whole picture or, of small faces, each source; without
    /// that network it stays.
    ///
    /// # Errors
    /// [`Error::Argument`] for a picture without pixels; [`Error::Gpu`] if the device failed.
    pub async fn still(&self, picture: &RgbaImage) -> Result<Vec<TrackedStill>> {
        let (width, height) = picture.dimensions();
        let mut pixels = Cow::Borrowed(&**picture);
        let own_alpha = has_alpha(&pixels);
        if own_alpha {
            // What lies below a transparent pixel can be anything.
            composite_on_black(pixels.to_mut());
        }
        let on_device = Picture::new(self.nets.gpu(), width, height, &pixels)?;
        let faces = self.faces_of(&on_device).await?;
        let (size, matted) = ((width, height), !own_alpha && self.nets.has_segmentation());
        let (mut stills, mut whole) = (Vec::with_capacity(faces.len()), None);
        for face in faces {
            let (region, _) = face.pose.source();
            let small = width.max(height) as f32 > SMALL * region.size.max_element();
            if matted && !small && whole.is_none() {
                let mask = self.mask_of(&on_device, &on_device.whole()).await?;
                whole = Some(alpha_of(&pixels, size, &mask)?);
            }
            let alpha = whole.as_deref().filter(|_| !small);
            let mut crop = self.crop(&pixels, size, alpha, &region)?;
            if matted && small {
                let mask = self.mask_of(&on_device, &region).await?;
                let side = self.options.source_size;
                let alpha = alpha_of(&crop, (side, side), &mask)?;
                for (pixel, alpha) in crop.chunks_exact_mut(4).zip(alpha) {
                    pixel[3] = alpha;
                }
                composite_on_black(&mut crop);
            }
            let source = self.source(crop, &face)?;
            stills.push(TrackedStill { source, face });
        }
        Ok(stills)
    }

    /// Opacity of the people in a picture, a byte a pixel: by its own alpha if it has any, else by the
    /// network for segmentation and the picture's edges.
    ///
    /// # Errors
    /// [`Error::Argument`] for a picture without pixels, or without alpha if there is no such network;
    /// [`Error::Gpu`] if the device failed.
    pub async fn matte(&self, picture: &RgbaImage) -> Result<GrayImage> {
        let (width, height) = picture.dimensions();
        let alpha = match has_alpha(picture) {
            true => picture.pixels().map(|pixel| pixel[3]).collect(),
            false => {
                let on_device = Picture::new(self.nets.gpu(), width, height, picture)?;
                let mask = self.mask_of(&on_device, &on_device.whole()).await?;
                alpha_of(picture, (width, height), &mask)?
            }
        };
        let matte = GrayImage::from_raw(width, height, alpha);
        matte.ok_or_else(|| Error::argument("matte", "a byte a pixel", "fewer"))
    }

    /// Finds and follows the faces of a video's next frame, `seconds` after the last one. The oldest
    /// come first; those that were lost less than two seconds ago are among them.
    ///
    /// Frames may be left out, and one frame is looked at at a time: what arrives while this future
    /// waits for the device is better dropped than queued.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed. The faces stay those of the last frame.
    pub async fn frame(&mut self, picture: &Picture, seconds: f64) -> Result<&[TrackedFace]> {
        let mut workspace = std::mem::take(&mut self.workspace);
        let looked = self.advance(picture, &mut workspace).await;
        self.workspace = workspace;
        looked?;
        self.faces.advance(seconds);
        let faces = self.faces.faces();
        let of = |id: u64| faces.iter().find(|face| face.id == id);
        self.tracked.retain(|tracked| of(tracked.id).is_some());
        for tracked in &mut self.tracked {
            tracked.lost = of(tracked.id).is_none_or(|face| face.lost);
        }
        Ok(&self.tracked)
    }

    /// The faces of the last frame.
    pub fn faces(&self) -> &[TrackedFace] {
        &self.tracked
    }

    /// Forgets the video: the next frame is the first one of another.
    pub fn restart(&mut self) {
        self.faces = Faces::new(self.options.faces);
        self.tracked.clear();
        self.mask.clear();
    }

    /// Sources of the faces that are in a video's last frame, in the order of [`Tracker::faces`] and
    /// with the faces' numbers. The matte follows that of the frame before.
    ///
    /// # Errors
    /// [`Error::Argument`] if the picture is not of the frame's size; [`Error::Gpu`] if the device
    /// failed.
    pub async fn sources(
        &mut self,
        frame: &RgbaImage,
        picture: &Picture,
    ) -> Result<Vec<(u64, SourceImage)>> {
        let size = frame.dimensions();
        let mut alpha = None;
        if self.nets.has_segmentation() {
            let new = self.mask_of(picture, &picture.whole()).await?;
            match self.mask.is_empty() {
                true => self.mask = new,
                false => matte::follow(&mut self.mask, &new),
            }
            alpha = Some(alpha_of(frame, size, &self.mask)?);
        }
        let there = self.tracked.iter().filter(|face| !face.lost);
        let sources = there.map(|face| {
            let (region, _) = face.pose.source();
            let crop = self.crop(frame, size, alpha.as_deref(), &region)?;
            Ok((face.id, self.source(crop, face)?))
        });
        sources.collect()
    }

    /// Finds new faces and follows those that are known.
    async fn advance(&mut self, picture: &Picture, workspace: &mut Workspace) -> Result<()> {
        if self.faces.searches() {
            workspace.found.clear();
            let whole = letterbox(picture.whole());
            self.detect(picture, &whole, workspace).await?;
            detection::suppress(&mut workspace.found);
            self.faces.detected(&workspace.found);
        }
        for i in 0..self.faces.faces().len() {
            let face = self.faces.faces()[i];
            if !face.lost {
                self.follow(picture, &face, workspace).await?;
            }
        }
        Ok(())
    }

    /// Looks for a followed face where it should be.
    async fn follow(
        &mut self,
        picture: &Picture,
        face: &Face,
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.look(picture, &face.region, workspace).await?;
        if !self.faces.seen(face.id, &workspace.landmarks) {
            return Ok(());
        }
        let (scores, pose) = self.read(&face.region, workspace)?;
        let index = self
            .tracked
            .iter()
            .position(|tracked| tracked.id == face.id);
        let index = index.unwrap_or_else(|| {
            self.tracked.push(TrackedFace {
                id: face.id,
                region: face.region,
                landmarks: Landmarks::default(),
                scores,
                pose,
                fit: None,
                lost: false,
            });
            self.tracked.len() - 1
        });
        let tracked = &mut self.tracked[index];
        std::mem::swap(&mut tracked.landmarks, &mut workspace.landmarks);
        tracked.region = face.region;
        (tracked.scores, tracked.pose) = (scores, pose);
        if let Some(overlay) = &mut self.overlay {
            overlay.follow(tracked)?;
        }
        Ok(())
    }

    /// The faces of a still, the surest first.
    async fn faces_of(&self, picture: &Picture) -> Result<Vec<TrackedFace>> {
        let whole = picture.whole();
        let mut workspace = Workspace::default();
        let (mut faces, mut seen) = (Vec::<TrackedFace>::new(), false);
        for turn in TURNS {
            let turned = |region: Region| Region {
                angle: TAU * turn,
                ..region
            };
            workspace.found.clear();
            let square = turned(letterbox(whole));
            self.detect(picture, &square, &mut workspace).await?;
            for tiling in TILINGS {
                if !workspace.found.is_empty() {
                    break;
                }
                for tile in tiles(whole, tiling) {
                    let tile = turned(tile);
                    self.detect(picture, &tile, &mut workspace).await?;
                }
            }
            detection::suppress(&mut workspace.found);
            for i in 0..workspace.found.len() {
                if faces.len() == self.options.faces {
                    break;
                }
                let detection = workspace.found[i];
                let settled = self.settle(picture, &detection, &mut workspace).await?;
                let Some(region) = settled else {
                    continue;
                };
                let corners = region.corners();
                let same = |face: &TrackedFace| overlap(face.region.corners(), corners) > SAME;
                if faces.iter().any(same) {
                    continue;
                }
                let (scores, pose) = self.read(&region, &mut workspace)?;
                let mut face = TrackedFace {
                    id: faces.len() as u64,
                    region,
                    landmarks: workspace.landmarks.clone(),
                    scores,
                    pose,
                    fit: None,
                    lost: false,
                };
                if let Some(overlay) = &self.overlay {
                    face.fit = overlay.clone().fit(&face)?;
                }
                faces.push(face);
            }
            // Turning helps a face that was seen but not understood.
            seen |= !workspace.found.is_empty();
            if !faces.is_empty() || !seen {
                break;
            }
        }
        Ok(faces)
    }

    /// Runs the detector on a square of the picture.
    async fn detect(
        &self,
        picture: &Picture,
        region: &Region,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let outputs = &mut workspace.detector;
        (self.nets)
            .run_into(Net::Detector, picture, region, outputs)
            .await?;
        let [regressors, logits] = outputs.get()?;
        detection::decode(regressors, logits, region, &mut workspace.found)
    }

    /// Passes over a face of a still until its region settles, which leaves its landmarks.
    async fn settle(
        &self,
        picture: &Picture,
        detection: &Detection,
        workspace: &mut Workspace,
    ) -> Result<Option<Region>> {
        let mut region = detection.region();
        for pass in 1.. {
            self.look(picture, &region, workspace).await?;
            match judge(pass, &region, &workspace.landmarks, detection.score)? {
                Verdict::Again(next) => region = next,
                Verdict::Face => return Ok(Some(region)),
                Verdict::Nothing => break,
            }
        }
        Ok(None)
    }

    /// Runs the landmark net on a region of the picture.
    async fn look(
        &self,
        picture: &Picture,
        region: &Region,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let outputs = &mut workspace.landmark_net;
        (self.nets)
            .run_into(Net::Landmarks, picture, region, outputs)
            .await?;
        let [points, presence, tongue] = outputs.get()?;
        let (&[presence], &[tongue]) = (presence, tongue) else {
            let found = format_args!("{} and {}", presence.len(), tongue.len());
            return Err(Error::argument(
                "presence and tongue",
                "a number each",
                found,
            ));
        };
        (workspace.landmarks).place(points, presence, tongue, region)
    }

    /// Scores and pose of the landmarks that were found in a region.
    fn read(&self, region: &Region, workspace: &mut Workspace) -> Result<([f32; 52], HeadPose)> {
        let landmarks = &workspace.landmarks;
        let angle = if self.options.upright {
            -region.angle
        } else {
            0.0
        };
        let place = |point: &Vec3| point.xy().to_array();
        let (points, memory) = (&landmarks.points, &mut workspace.mixer);
        let [_, found @ ..] = (self.nets.mixer()).scores_of(points, place, angle, memory)?;
        let mut scores = [0.0; ARKIT.len()];
        scores[..found.len()].copy_from_slice(&found);
        if self.options.tongue {
            scores[ARKIT.len() - 1] = landmarks.tongue;
        }
        let pose = self.placement.pose(&self.canonical.pose(landmarks)?);
        Ok((scores, pose))
    }

    /// The mask of a region, stretched to a square.
    async fn mask_of(&self, picture: &Picture, region: &Region) -> Result<Vec<f32>> {
        let mut outputs = Outputs::default();
        (self.nets)
            .run_into(Net::Segmentation, picture, region, &mut outputs)
            .await?;
        let [mask] = outputs.get()?;
        Ok(mask.to_vec())
    }

    /// The pixels of a source.
    fn crop(
        &self,
        pixels: &[u8],
        size: (u32, u32),
        alpha: Option<&[u8]>,
        region: &Region,
    ) -> Result<Vec<u8>> {
        let side = self.options.source_size;
        cut(pixels, sides(size), alpha, region, side)
    }

    fn source(&self, crop: Vec<u8>, face: &TrackedFace) -> Result<SourceImage> {
        let (_, camera) = face.pose.source();
        let fit = face.fit.as_ref().filter(|fit| !fit.poor);
        let camera = fit.map_or(camera, Fit::camera);
        let side = self.options.source_size;
        Ok(SourceImage::from_rgba8(side, side, crop)?.tracked(camera))
    }
}

impl Overlay {
    /// Lays the head model over a face. None where the landmarks are those of no face.
    fn fit(&mut self, face: &TrackedFace) -> Result<Option<Fit>> {
        self.aim(face)?;
        Ok(self.fitter.fit(&self.targets, None).ok())
    }

    /// The same in the next frame of a video.
    fn follow(&mut self, face: &mut TrackedFace) -> Result<()> {
        self.aim(face)?;
        let Some(fit) = &mut face.fit else {
            let fit = self.fitter.fit(&self.targets, None).ok();
            face.fit = fit.filter(|fit| !fit.poor);
            return Ok(());
        };
        let followed = self.fitter.follow(fit, &self.targets);
        if (followed.is_err() || fit.poor)
            && let Ok(anew) = self.fitter.fit(&self.targets, Some(&fit.shape))
        {
            *fit = anew;
        }
        Ok(())
    }

    fn aim(&mut self, face: &TrackedFace) -> Result<()> {
        let (crop, _) = face.pose.source();
        (self.embedding).targets(&face.landmarks, &crop, Embedding::SIZE, &mut self.targets)
    }
}

/// The alpha of a picture from its mask.
fn alpha_of(pixels: &[u8], size: (u32, u32), mask: &[f32]) -> Result<Vec<u8>> {
    let mut alpha = Vec::with_capacity(pixels.len() / 4);
    matte::refine(pixels, sides(size), mask, |_, row| {
        alpha.extend(row.iter().map(|value| (255.0 * value).round() as u8));
    })?;
    Ok(alpha)
}

fn sides((width, height): (u32, u32)) -> [usize; 2] {
    [width as usize, height as usize]
}

#[cfg(test)]
mod tests;
