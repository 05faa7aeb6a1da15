//! How well a network renders heads that it never saw: a folder of source pictures, drives and true
//! pictures, rendered and measured.

use std::error::Error;
use std::fmt::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gpavatar::import::SourceEntry;
use gpavatar::{
    Avatar, AvatarOptions, Background, Camera, Drive, Model, RenderOptions, SourceImage,
};
use image::{Rgba, RgbaImage};
use serde::{Deserialize, Serialize, Serializer};

use self::matte::{EdgeScores, Edges};
use crate::costs::Times;
use crate::metrics::{Agreement, Picture, changing, in_box, in_ellipses, l1, mean, psnr, ssim};
use crate::tracked::{read_json, rows};

mod matte;
mod tracker;

pub use self::tracker::TrackerScores;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// An evaluation folder, as its `evaluation.json` describes it.
#[derive(Deserialize)]
pub struct Evaluation {
    #[serde(skip)]
    folder: PathBuf,
    /// Side of the targets in pixels.
    image_size: u32,
    /// Names of the expression coefficients.
    channels: Vec<String>,
    pub identities: Vec<Identity>,
}

const FILE: &str = "evaluation.json";
const FORMAT: &str = "gpavatar evaluation";
const VERSION: u32 = 1;

/// The file's first fields, which identify its format and version.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// A person.
#[derive(Deserialize)]
pub struct Identity {
    pub name: String,
    /// Identity coefficients of the head model.
    shape: Vec<f32>,
    /// To build an avatar from: the first alone, or all.
    sources: [SourceEntry; 3],
    pub targets: Vec<Target>,
}

/// A drive and its true picture.
#[derive(Deserialize)]
pub struct Target {
    #[serde(flatten)]
    pub kind: Kind,
    picture: PathBuf,
    expression: Vec<f32>,
    pose: Vec<f32>,
    #[serde(deserialize_with = "rows")]
    transform: [[f32; 4]; 3],
    /// The face: left, top, right and bottom in pixels, the latter two exclusive.
    face_box: [usize; 4],
    /// Ellipses around the eyes and the mouth: centre and radii in pixels.
    regions: [[f64; 4]; 3],
}

/// The purpose of a target.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    /// A drive and a camera as in training; `neutral` is the same with the face at rest.
    Random {
        #[serde(default)]
        neutral: Option<PathBuf>,
        /// The truth with finer edges, to judge alpha by.
        #[serde(default)]
        matte: Option<PathBuf>,
    },
    /// One channel of the expression alone, or [`NEUTRAL`].
    Channel { channel: String },
    /// The same drive and camera for every identity.
    Identity,
    /// The same drive from the front and from either side.
    View {
        /// Degrees.
        yaw: f64,
    },
}

/// The channel of a target that shows the face at rest.
pub const NEUTRAL: &str = "neutral";
/// A pixel of eyes or mouth belongs to an expression that changes a channel by more than this.
const EXPRESSION_THRESHOLD: f64 = 0.15;
/// Expressions that change at most this many pixels are not judged.
const EXPRESSION_PIXELS: usize = 20;
/// Number of others that an identity is compared with.
const OTHERS: usize = 20;
/// Views that turn by less than this, in degrees, are from the front.
const FRONTAL: f64 = 1.0;

impl Evaluation {
    /// Reads the description of an evaluation folder, with no more than `most` identities.
    pub fn open(folder: &Path, most: Option<usize>) -> Result<Self> {
        let path = folder.join(FILE);
        let at = path.display();
        let Header { format, version } = read_json(&path)?;
        if format != FORMAT || version != VERSION {
            let expected = format!("{FORMAT:?} of version {VERSION}");
            let found = format!("{format:?} of version {version}");
            return Err(format!("{at}: expected {expected}, found {found}").into());
        }
        let mut evaluation: Self = read_json(&path)?;
        folder.clone_into(&mut evaluation.folder);
        evaluation.identities.truncate(most.unwrap_or(usize::MAX));
        (evaluation.check()).map_err(|reason| format!("{at}: {reason}"))?;
        Ok(evaluation)
    }

    /// Refuses descriptions that could not be measured.
    fn check(&self) -> Result<(), String> {
        if self.identities.is_empty() {
            return Err("expected at least one identity, found none".into());
        }
        for (i, identity) in self.identities.iter().enumerate() {
            let is_identity = |target: &&Target| matches!(target.kind, Kind::Identity);
            let found = identity.targets.iter().filter(is_identity).count();
            if found > 1 {
                return Err(format!(
                    "identities[{i}]: expected one target of kind \"identity\", found {found}"
                ));
            }
            for (t, target) in identity.targets.iter().enumerate() {
                let at = format!("identities[{i}].targets[{t}]");
                let (found, expected) = (target.expression.len(), self.channels.len());
                if found != expected {
                    return Err(format!(
                        "{at}.expression: expected {expected} values, one per channel, found {found}"
                    ));
                }
                let [left, top, right, bottom] = target.face_box;
                let side = self.image_size as usize;
                if !(left < right && right <= side && top < bottom && bottom <= side) {
                    return Err(format!(
                        "{at}.face_box: expected [left, top, right, bottom] with pixels of a \
                         picture {side} wide between them, found {:?}",
                        target.face_box
                    ));
                }
                if let Some(region) = target.regions.iter().find(|r| !(r[2] > 0.0 && r[3] > 0.0)) {
                    return Err(format!(
                        "{at}.regions: expected ellipses [cx, cy, rx, ry] with positive radii, \
                         found {region:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// How many pictures [`Evaluation::measure`] renders.
    pub fn renderings(&self) -> usize {
        let of = |identity: &Identity| {
            let random = identity.targets.iter().filter(|t| t.is_random()).count();
            identity.targets.len() + random * identity.sources.len()
        };
        self.identities.iter().map(of).sum()
    }

    /// Renders everything and measures it; `watch` sees every rendering.
    ///
    /// # Errors
    /// If a picture cannot be read or has another size than it should, the model renders pictures
    /// of another size, its head model lacks a channel, or the device fails.
    pub fn measure(&self, model: &Model, mut watch: impl FnMut(&Rendering)) -> Result<Scores> {
        let (expected, found) = (self.image_size, model.config().output_size);
        if found != expected {
            return Err(format!(
                "the targets of {} are {expected} pixels wide, the model's pictures {found}",
                self.folder.display()
            )
            .into());
        }
        let mut tally = Tally::default();
        for identity in &self.identities {
            let within = |error: Box<dyn Error>| format!("identity {}: {error}", identity.name);
            self.measure_identity(model, identity, &mut tally, &mut watch)
                .map_err(within)?;
        }
        Ok(tally.scores(self.identities.len()))
    }

    fn measure_identity(
        &self,
        model: &Model,
        identity: &Identity,
        tally: &mut Tally,
        watch: &mut impl FnMut(&Rendering),
    ) -> Result<()> {
        let sources = identity.sources.iter();
        let sources = sources.map(|source| source.open(&self.folder));
        let sources: Vec<SourceImage> = sources.collect::<gpavatar::Result<_>>()?;
        let options = AvatarOptions {
            shape: identity.shape.clone(),
            ..AvatarOptions::default()
        };
        let mut alone = Vec::new();
        for source in sources.chunks(1) {
            let start = Instant::now();
            alone.push(Avatar::with_options(model, source, &options)?);
            model.gpu().wait("building an avatar")?;
            tally.avatar_seconds.push(start.elapsed().as_secs_f64());
        }
        let of_all_sources = Avatar::with_options(model, &sources, &options)?;

        let mut views = Vec::new();
        let mut channels = Vec::new();
        for target in &identity.targets {
            let truth = self.truth(&target.picture)?;
            let mut render = |avatar: &Avatar, of: Range<usize>| -> Result<Picture> {
                let picture = self.render(avatar, target, &mut tally.frame_seconds)?;
                watch(&Rendering {
                    identity,
                    target,
                    sources: &sources,
                    of,
                    truth: &truth.picture,
                    picture: &picture,
                });
                Ok(picture)
            };
            let picture = render(&alone[0], 0..1)?;
            let whole = truth.picture.pixels();
            let psnr = |picture: &Picture| psnr(picture, &truth.picture, &whole);
            match &target.kind {
                Kind::Random { neutral, matte } => {
                    if let Some(matte) = matte {
                        let found = self.with_alpha(&alone[0], target)?;
                        let truth = self.picture(matte)?;
                        let scene = self.picture_of_any_size(&identity.sources[0].picture)?;
                        tally.edges.add(&found, &truth, &scene);
                    }
                    let fused = render(&of_all_sources, 0..sources.len())?;
                    let mut each = vec![psnr(&picture)];
                    for (i, avatar) in alone.iter().enumerate().skip(1) {
                        each.push(psnr(&render(avatar, i..i + 1)?));
                    }
                    let each: Option<Vec<f64>> = each.into_iter().collect();
                    tally.fused.extend(each.zip(psnr(&fused)));
                    let neutral = neutral.as_ref().map(|path| self.truth(path)).transpose()?;
                    let neutral = neutral.map(|truth| truth.picture);
                    tally.random(target, &picture, &truth.picture, neutral.as_ref());
                }
                Kind::Channel { channel } => channels.push((channel, picture, truth.picture)),
                Kind::Identity => tally.identities.push((picture, truth)),
                Kind::View { yaw } => views.push((yaw.abs() < FRONTAL, psnr(&picture))),
            }
        }
        tally.views(&views);
        tally.channels(&channels);
        Ok(())
    }

    fn picture_of_any_size(&self, picture: &Path) -> Result<RgbaImage> {
        let path = self.folder.join(picture);
        let picture = image::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(picture.into_rgba8())
    }

    /// A target's picture.
    fn picture(&self, picture: &Path) -> Result<RgbaImage> {
        let (side, found) = (self.image_size, self.picture_of_any_size(picture)?);
        let (width, height) = found.dimensions();
        if (width, height) != (side, side) {
            return Err(format!(
                "{}: expected {side} x {side} pixels, found {width} x {height}",
                self.folder.join(picture).display()
            )
            .into());
        }
        Ok(found)
    }

    /// Renders a target with straight alpha.
    fn with_alpha(&self, avatar: &Avatar, target: &Target) -> Result<RgbaImage> {
        let options = RenderOptions {
            background: Background::Straight,
            ..RenderOptions::default()
        };
        let frame = avatar.render_with(&target.drive(&self.channels), &options)?;
        Ok(frame.to_image()?)
    }

    fn truth(&self, picture: &Path) -> Result<Truth> {
        let picture = self.picture(picture)?;
        let on_black = |Rgba([rgb @ .., alpha]): &Rgba<u8>| {
            rgb.map(|c| f32::from(c) / 255.0 * (f32::from(*alpha) / 255.0))
        };
        Ok(Truth {
            head: (0..)
                .zip(picture.pixels())
                .filter_map(|(i, pixel)| (pixel[3] > 0).then_some(i))
                .collect(),
            picture: Picture {
                side: self.image_size as usize,
                colours: picture.pixels().map(on_black).collect(),
            },
        })
    }

    /// Renders a target, not rounded to 8 bits, and notes the time until the device is done.
    fn render(&self, avatar: &Avatar, target: &Target, seconds: &mut Vec<f64>) -> Result<Picture> {
        let gpu = avatar.model().gpu();
        let options = RenderOptions {
            tensors: true,
            ..RenderOptions::default()
        };
        let start = Instant::now();
        let frame = avatar.render_with(&target.drive(&self.channels), &options)?;
        gpu.wait("rendering")?;
        seconds.push(start.elapsed().as_secs_f64());
        let colours = pollster::block_on(frame.image_tensor()?.read(gpu))?;
        let pixels = colours.as_chunks::<3>().0.iter();
        let clamped = pixels.map(|rgb| rgb.map(|c| c.clamp(0.0, 1.0)));
        Ok(Picture {
            side: self.image_size as usize,
            colours: clamped.collect(),
        })
    }
}

impl Target {
    fn drive(&self, channels: &[String]) -> Drive {
        let at_rest = Drive::neutral()
            .pose(self.pose.clone())
            .camera(Camera::from_transform(self.transform));
        let expression = channels.iter().zip(&self.expression);
        expression.fold(at_rest, |drive, (channel, value)| {
            drive.expression(channel, *value)
        })
    }

    pub fn is_random(&self) -> bool {
        matches!(self.kind, Kind::Random { .. })
    }
}

struct Truth {
    picture: Picture,
    /// Pixels that are not wholly transparent.
    head: Vec<usize>,
}

/// A target and its rendering.
pub struct Rendering<'a> {
    pub identity: &'a Identity,
    pub target: &'a Target,
    /// Pictures of the identity.
    pub sources: &'a [SourceImage],
    /// The pictures that the avatar was built from.
    pub of: Range<usize>,
    pub truth: &'a Picture,
    pub picture: &'a Picture,
}

impl Rendering<'_> {
    /// How far the rendering is from the truth in each channel, `gain` times.
    pub fn difference(&self, gain: f32) -> Picture {
        let pairs = self.picture.colours.iter().zip(&self.truth.colours);
        let difference = |(a, b): (&[f32; 3], &[f32; 3])| {
            [0, 1, 2].map(|c| (gain * (a[c] - b[c]).abs()).min(1.0))
        };
        Picture {
            side: self.truth.side,
            colours: pairs.map(difference).collect(),
        }
    }
}

/// The picture to look at.
pub fn to_image(picture: &Picture) -> RgbaImage {
    let side = picture.side as u32;
    RgbaImage::from_fn(side, side, |x, y| {
        let [r, g, b] = picture.colours[(y * side + x) as usize].map(|c| (255.0 * c).round() as u8);
        Rgba([r, g, b, 255])
    })
}

/// Measures of single pictures.
#[derive(Default)]
struct Tally {
    avatar_seconds: Vec<f64>,
    frame_seconds: Vec<f64>,
    region_psnr: Vec<f64>,
    ssim: Vec<f64>,
    face_l1: Vec<f64>,
    /// For each expression, whether it is closer to its target than to rest.
    closer: Vec<bool>,
    /// PSNR of a target from each source alone and from all.
    fused: Vec<(Vec<f64>, f64)>,
    view_drops: Vec<f64>,
    edges: Edges,
    channels: Vec<(String, Vec<Agreement>)>,
    /// The rendering and the truth of every identity's target of this kind.
    identities: Vec<(Picture, Truth)>,
}

impl Tally {
    fn random(
        &mut self,
        target: &Target,
        picture: &Picture,
        truth: &Picture,
        neutral: Option<&Picture>,
    ) {
        let regions = in_ellipses(truth.side, &target.regions);
        self.region_psnr.extend(psnr(picture, truth, &regions));
        self.ssim.extend(ssim(picture, truth));
        let face = in_box(truth.side, target.face_box);
        self.face_l1.extend(l1(picture, truth, &face));
        let Some(neutral) = neutral else { return };
        let expression = changing(truth, neutral, &regions, EXPRESSION_THRESHOLD);
        if expression.len() > EXPRESSION_PIXELS {
            let to = |other| l1(picture, other, &expression);
            self.closer.push(to(truth) < to(neutral));
        }
    }

    /// Adds the loss of turned views. A view is whether it is from the front, and its PSNR.
    fn views(&mut self, views: &[(bool, Option<f64>)]) {
        let of = |frontal| mean(views.iter().filter(|v| v.0 == frontal).filter_map(|v| v.1));
        self.view_drops
            .extend(of(true).zip(of(false)).map(|(front, side)| front - side));
    }

    /// How well an identity's channels, each with its rendering and its truth, move the face.
    fn channels(&mut self, channels: &[(&String, Picture, Picture)]) {
        let Some((_, rest, true_rest)) = channels.iter().find(|c| c.0 == NEUTRAL) else {
            return;
        };
        for (name, picture, truth) in channels.iter().filter(|c| c.0 != NEUTRAL) {
            let agreement = Agreement::new([picture, rest], [truth, true_rest]);
            match self.channels.iter_mut().find(|(known, _)| known == *name) {
                Some((_, all)) => all.extend(agreement),
                None => {
                    let all = agreement.into_iter().collect();
                    self.channels.push(((*name).clone(), all));
                }
            }
        }
    }

    /// The share of renderings that are closest to their own truth, among it and the next ones.
    fn identity_score(&self) -> Option<f64> {
        let count = self.identities.len();
        let recognised = |(i, (picture, own)): (usize, &(Picture, Truth))| {
            let to = |truth: &Truth| l1(picture, &truth.picture, &own.head);
            let mut others =
                (1..count.min(OTHERS + 1)).map(|k| &self.identities[(i + k) % count].1);
            f64::from(u8::from(others.all(|other| to(own) < to(other))))
        };
        mean(self.identities.iter().enumerate().map(recognised))
    }

    fn scores(self, identities: usize) -> Scores {
        let means = self.channels.iter().filter_map(|(name, all)| {
            let mean = Agreement::mean(all)?;
            Some((name.clone(), mean))
        });
        let over_each = |(each, all): &(Vec<f64>, f64)| Some(all - mean(each.iter().copied())?);
        Scores {
            identities,
            psnr: mean(self.fused.iter().map(|(each, _)| each[0])),
            psnr_three_sources: mean(self.fused.iter().map(|(_, all)| *all)),
            fusion_gain: mean(self.fused.iter().filter_map(over_each)),
            fusion_gain_front: mean(self.fused.iter().map(|(each, all)| all - each[0])),
            region_psnr: mean(self.region_psnr.iter().copied()),
            ssim: mean(self.ssim.iter().copied()),
            face_l1: mean(self.face_l1.iter().copied()),
            expression_closer: mean(self.closer.iter().map(|c| f64::from(u8::from(*c)))),
            identity_score: self.identity_score(),
            view_drop: mean(self.view_drops.iter().copied()),
            edges: self.edges.scores(),
            channels: means.collect(),
            seconds_per_avatar: Times::new(self.avatar_seconds).median,
            seconds_per_frame: Times::new(self.frame_seconds).median,
        }
    }
}

/// Measures of a network; `None` if the evaluation has no targets for one. In JSON that is null,
/// and so is the infinite PSNR of equal pictures.
#[derive(Debug, Serialize)]
pub struct Scores {
    pub identities: usize,
    /// Random targets from one source, dB. The next measures are from one source, too, except
    /// `psnr_three_sources`.
    pub psnr: Option<f64>,
    pub psnr_three_sources: Option<f64>,
    /// Mean gain of three sources over each of them alone, dB.
    pub fusion_gain: Option<f64>,
    /// Mean gain of three sources over the one from the front alone, dB.
    pub fusion_gain_front: Option<f64>,
    /// Around eyes and mouth, dB.
    pub region_psnr: Option<f64>,
    pub ssim: Option<f64>,
    pub face_l1: Option<f64>,
    /// Share of expressions that are closer to their target than to the face at rest.
    pub expression_closer: Option<f64>,
    /// Share of identities that are closest to their own truth.
    pub identity_score: Option<f64>,
    /// Mean loss of views from the side against one from the front, dB.
    pub view_drop: Option<f64>,
    /// How well pictures with alpha composite.
    pub edges: Option<EdgeScores>,
    /// How well single channels of the expression move the face.
    #[serde(serialize_with = "as_map")]
    pub channels: Vec<(String, Agreement)>,
    /// Median time to build an avatar of one source.
    pub seconds_per_avatar: f64,
    /// Median time to render a frame.
    pub seconds_per_frame: f64,
}

fn as_map<S: Serializer>(pairs: &[(String, Agreement)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(name, agreement)| (name, agreement)))
}

impl Scores {
    /// Two tables in Markdown.
    pub fn write(&self, out: &mut String) -> fmt::Result {
        let number = |value: Option<f64>, digits, unit: &str| match value {
            Some(value) => format!("{value:.digits$}{unit}"),
            None => "–".into(),
        };
        let percent = |share: Option<f64>| number(share.map(|share| 100.0 * share), 1, " %");
        let decibel = |value| number(value, 2, " dB");
        let seconds = |value: f64| format!("{value:.3}");
        let (front, closer) = (self.fusion_gain_front, self.expression_closer);
        let others = OTHERS.min(self.identities.saturating_sub(1));
        let told = format!("identity told from {others} others");
        writeln!(out, "| measure | value |\n|---|---|")?;
        for (measure, value) in [
            ("identities", self.identities.to_string()),
            ("PSNR, one source", decibel(self.psnr)),
            ("PSNR, three sources", decibel(self.psnr_three_sources)),
            ("gain over each of them alone", decibel(self.fusion_gain)),
            ("gain over the one from the front", decibel(front)),
            ("PSNR of eyes and mouth", decibel(self.region_psnr)),
            ("SSIM", number(self.ssim, 4, "")),
            ("L1 of the face", number(self.face_l1, 4, "")),
            ("expression closer to target than to rest", percent(closer)),
            (&told, percent(self.identity_score)),
            ("loss of views at ±45°", decibel(self.view_drop)),
            ("seconds per avatar", seconds(self.seconds_per_avatar)),
            ("seconds per frame", seconds(self.seconds_per_frame)),
        ] {
            writeln!(out, "| {measure} | {value} |")?;
        }
        if let Some(edges) = &self.edges {
            writeln!(out, "\n| edges, composited | value |\n|---|---|")?;
            let within = |mean: f64, most: f64| format!("{mean:.4}, 95 % within {most:.3}");
            let all = within(edges.difference, edges.difference_95);
            let well_drawn = within(edges.well_drawn, edges.well_drawn_95);
            let rims = format!(
                "{:.1} and {:.1} %",
                100.0 * edges.darker,
                100.0 * edges.brighter
            );
            writeln!(out, "| difference over four backgrounds | {all} |")?;
            writeln!(
                out,
                "| the same where colours are well drawn | {well_drawn} |"
            )?;
            writeln!(
                out,
                "| darker and brighter by a tenth over white | {rims} |"
            )?;
            writeln!(out, "| difference of alpha | {:.4} |", edges.alpha)?;
            writeln!(out, "| ghosts at the top | {:.1} % |", 100.0 * edges.ghosts)?;
        }
        writeln!(out, "\n| channel | cosine | amplitude |\n|---|---|---|")?;
        for (name, Agreement { cosine, amplitude }) in &self.channels {
            writeln!(out, "| {name} | {cosine:.2} | {amplitude:.2} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
