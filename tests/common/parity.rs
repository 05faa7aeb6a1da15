//! Every stage of the GPU pipeline beside the authors' numbers.

use glam::Vec3;
use gpavatar::reference::{Tensor, shared};
use gpavatar::{Avatar, Drive, Frame, Gpu, Model, ModelConfig, ModelOptions, PointWeighting};

use super::{Case, Difference, Golden, every};

/// A row of the parity table.
pub struct Row {
    pub difference: Difference,
    /// Whether the difference is within what float rounding explains.
    pub passed: bool,
    /// The tolerance, in words.
    pub tolerance: String,
}

/// How much of a tensor has to be how close.
#[derive(Clone, Copy)]
enum Tolerance {
    /// All elements, absolutely.
    Absolute(f32),
    /// All elements, as a share of the golden range.
    Range(f32),
    /// All but a share of the elements (second), absolutely, and those within the third.
    Most(f32, f32, f32),
    /// All but a share of the elements (second), as a share of the golden range.
    MostOfRange(f32, f32),
    /// Mean error and PSNR.
    Picture(f32, f32),
}

impl Tolerance {
    fn check(self, difference: Difference) -> Row {
        let (passed, tolerance) = match self {
            Self::Absolute(most) => (difference.max() <= most, format!("max {most:.0e}")),
            Self::Range(share) => {
                let passed = difference.max() <= share * difference.range();
                (passed, format!("max {share:.0e} of range"))
            }
            Self::Most(most, outliers, worst) => (
                difference.beyond(outliers) <= most && difference.max() <= worst,
                format!(
                    "{} % within {most:.0e}, all {worst:.0e}",
                    100.0 * (1.0 - outliers)
                ),
            ),
            Self::MostOfRange(share, outliers) => (
                difference.beyond(outliers) <= share * difference.range(),
                format!("{} % within {share:.0e} of range", 100.0 * (1.0 - outliers)),
            ),
            Self::Picture(mean, psnr) => (
                difference.mean() < mean && difference.psnr() > psnr,
                format!("mean {mean:.0e}, {psnr:.0} dB"),
            ),
        };
        Row {
            difference,
            passed,
            tolerance,
        }
    }
}

/// Runs a case on the device and compares every tensor of its file.
///
/// The tolerances follow from float rounding, as three independent implementations have shown it:
/// sums of thousands of products in another order, thirty layers deep, and a fine pass whose
/// positions depend on the coarse pass.
pub fn compare(gpu: &Gpu, case: &mut Case) -> gpavatar::Result<Vec<Row>> {
    let weights = case.weights.take().expect("a case is compared once");
    let options = ModelOptions {
        trace: true,
        ..Default::default()
    };
    let model = Model::with_options(gpu, weights, options)?;
    let avatar = Avatar::from_images(&model, &case.pictures)?;
    let points = case.points.iter().map(|p| p.to_array()).collect();
    let mut run = Run {
        case,
        config: model.config(),
        model: &model,
        rows: Vec::new(),
    };
    run.encoder(&avatar)?;
    run.taps("style_tplane")?;
    let frame = avatar.render(&Drive::points(points).camera(run.case.camera))?;
    run.field()?;
    run.pictures(&frame)?;
    run.taps("up_renderer")?;
    Ok(run.rows)
}

struct Run<'a> {
    case: &'a Case,
    model: &'a Model,
    config: &'a ModelConfig,
    rows: Vec<Row>,
}

impl Run<'_> {
    fn golden(&self) -> &Golden {
        &self.case.golden
    }

    /// Small cases hold whole tensors, full-size ones every so many elements.
    fn small(&self) -> bool {
        self.golden().has("sources")
    }

    fn released(&self) -> bool {
        self.config.point_weighting == PointWeighting::Released
    }

    fn check(&mut self, name: &str, found: &[f32], tolerance: Tolerance) {
        if self.golden().has(name) {
            let difference = Difference::new(name, found, &self.golden().f32(name));
            self.rows.push(tolerance.check(difference));
        }
    }

    fn tap(&self, name: &str) -> gpavatar::Result<Tensor> {
        let (_, tap) = self.model.taps().find(|(n, _)| *n == name).expect(name);
        let values = pollster::block_on(tap.read(self.model.gpu()))?;
        Ok(Tensor::new(tap.shape(), values))
    }

    /// Compares a square map `[y][x][channel]` with what the golden file keeps of it.
    fn check_map(&mut self, name: &str, map: &Tensor, tolerance: Tolerance) {
        if !self.golden().has(name) {
            return;
        }
        let shape = self.golden().shape(name);
        let kept = [map.shape[2], map.shape[0], map.shape[1]];
        let stride: Vec<usize> = kept
            .iter()
            .zip(&shape)
            .map(|(all, kept)| all / kept)
            .collect();
        let found = every(map, [stride[0], stride[1], stride[2]]);
        self.check(name, &found, tolerance);
    }

    /// Compares a low-resolution image ray by ray. Where a sample lies almost on a point, its
    /// weight 1/d² magnifies the last bits of its position and rules the whole pixel; everywhere
    /// else nothing does.
    fn check_rays(&mut self, name: &str, image: &Tensor) {
        const ALMOST: f32 = 1e-4;
        let closest = |pass: &str| self.golden().f32(&format!("{pass}.dist2"));
        let passes = ["coarse", "fine"].map(closest);
        let count = image.shape[0] * image.shape[1];
        let is_close = |ray: usize| {
            passes.iter().any(|d| {
                d[ray * d.len() / count..][..d.len() / count]
                    .iter()
                    .any(|d| *d < ALMOST)
            })
        };
        let golden = self.golden().f32(name);
        let golden = Tensor::from_planar([image.shape[2], image.shape[0], image.shape[1]], &golden);
        let low = golden.data.iter().copied().fold(f32::INFINITY, f32::min);
        let range = golden
            .data
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max)
            - low;
        for (close, name, share) in [
            (false, format!("{name} (most rays)"), 3e-4),
            (true, format!("{name} (on a point)"), 3e-2),
        ] {
            let rays = (0..count).filter(|ray| is_close(*ray) == close);
            let rows = |of: &Tensor| -> Vec<f32> {
                rays.clone()
                    .flat_map(|r| of.data[r * of.shape[2]..][..of.shape[2]].to_vec())
                    .collect()
            };
            let difference = Difference::new(&name, &rows(image), &rows(&golden));
            self.rows
                .push(Tolerance::Absolute(share * range).check(difference));
        }
    }

    fn encoder(&mut self, avatar: &Avatar) -> gpavatar::Result<()> {
        let gpu = self.model.gpu();
        let size = self.config.plane_size as usize;
        let channels = 3 * self.config.plane_channels as usize;
        let map = |values| Tensor::new([size, size, channels], values);

        // The encoder leaves the last source's planes.
        let last = square(self.tap("style_tplane")?);
        let shape = self.golden().shape("planes_per_source");
        let all = self.golden().f32("planes_per_source");
        let expected = &all[all.len() - all.len() / shape[0]..];
        let stride = [channels / shape[1], size / shape[2], size / shape[3]];
        let difference =
            Difference::new("planes_per_source (last)", &every(&last, stride), expected);
        self.rows.push(Tolerance::Range(3e-5).check(difference));
        let planes = map(pollster::block_on(avatar.planes().read(gpu))?);
        self.check_map("planes", &planes, Tolerance::Range(3e-5));

        if let Some(logits) = avatar.attention_logits()
            && self.golden().has("attention")
        {
            let logits: Vec<f32> = pollster::block_on(logits.read(gpu))?;
            let sources = self.case.pictures.len();
            let logit = |source: usize, texel: usize, plane: usize| {
                logits[(source * size * size + texel) * 3 + plane]
            };
            let mut found = Vec::new();
            for plane in 0..3 {
                for y in (0..size).step_by(8) {
                    for x in (0..size).step_by(8) {
                        let exponential =
                            |source| f64::from(logit(source, y * size + x, plane)).exp();
                        let sum: f64 = (0..sources).map(exponential).sum();
                        found.extend((0..sources).map(|s| (exponential(s) / sum) as f32));
                    }
                }
            }
            // Logits of order one to ten with the planes' relative error.
            self.check("attention", &found, Tolerance::Absolute(1e-4));
        }
        Ok(())
    }

    /// Single modules, where our kernels' boundaries are the authors'.
    fn taps(&mut self, network: &str) -> gpavatar::Result<()> {
        let mut names: Vec<String> = self
            .golden()
            .names()
            .filter(|n| n.starts_with(&format!("taps.{network}.")))
            .collect();
        names.sort();
        for golden in names {
            let name = golden.trim_start_matches("taps.");
            let Some((_, tap)) = self.model.taps().find(|(n, _)| *n == name) else {
                continue;
            };
            let [rows, columns] = tap.shape();
            let last = self.config.super_resolver().to_rgbs().pop();
            let fused = name.ends_with(".conv2")
                // Ends with the activation of the whole.
                || last.is_some_and(|last| last.name == name)
                // Runs at half the size.
                || (name.contains(".conv_body_up.") && name.ends_with(".skip"))
                // Scale and shift are part of the epilogue of every other one.
                || is_steered(name);
            if fused {
                continue;
            }
            let values: Vec<f32> = pollster::block_on(tap.read(self.model.gpu()))?;
            let planar = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
            let planar: Vec<f32> = planar.map(|i| values[i]).collect();
            let step = (planar.len() / 2048).max(1);
            let found: Vec<f32> = planar.into_iter().step_by(step).take(2048).collect();
            let mut expected = self.golden().f32(&golden);
            if is_activated(name) {
                expected.iter_mut().for_each(|v| *v = shared::lrelu(*v));
            }
            let difference = Difference::new(&golden, &found, &expected);
            self.rows.push(Tolerance::Range(3e-5).check(difference));
        }
        Ok(())
    }

    fn field(&mut self) -> gpavatar::Result<()> {
        let rays: Vec<usize> = if self.golden().has("ray_ids") {
            self.golden()
                .i32("ray_ids")
                .iter()
                .map(|ray| *ray as usize)
                .collect()
        } else {
            (0..(self.config.low_res_size * self.config.low_res_size) as usize).collect()
        };
        let directions = self.tap("ray_dirs")?;
        let found: Vec<f32> = rays
            .iter()
            .flat_map(|r| directions.row(*r))
            .copied()
            .collect();
        // Two roundings of a unit vector.
        self.check("ray_dirs", &found, Tolerance::Absolute(1e-6));

        let origin = self.case.camera.origin();
        for pass in ["coarse", "fine"] {
            let fine = pass == "fine";
            let depths = self.tap(&format!("{pass}.depths"))?;
            let samples = depths.row_length();
            let (_, tap) = self
                .model
                .taps()
                .find(|(n, _)| *n == format!("{pass}.neighbours"))
                .expect("both passes search");
            let neighbours: Vec<u32> = pollster::block_on(tap.read(self.model.gpu()))?;
            let mut coordinates = Vec::new();
            let mut distances = Vec::new();
            for &ray in &rays {
                let direction = Vec3::from_slice(directions.row(ray));
                for (sample, depth) in depths.row(ray).iter().enumerate() {
                    let at = origin + *depth * direction;
                    coordinates.extend(at.to_array());
                    let words = &neighbours[(ray * samples + sample) * 4..][..4];
                    for k in 0..self.config.neighbours as usize {
                        let index = words[k / 2] >> (16 * (k % 2)) & 0xffff;
                        distances.push(at.distance_squared(self.case.points[index as usize]));
                    }
                }
            }
            // The camera stands ten units away, where floats are 1e-6 apart; the fine depths also
            // divide by small steps of a distribution.
            let position = match (self.small(), fine) {
                (_, false) => Tolerance::Absolute(1e-4),
                (true, true) => Tolerance::Absolute(1e-4),
                (false, true) => Tolerance::Most(1e-3, 1e-3, 5e-2),
            };
            self.check(&format!("{pass}.coords"), &coordinates, position);
            self.check(&format!("{pass}.dist2"), &distances, position);

            let opacities = self.tap(&format!("{pass}.opacities"))?;
            let found: Vec<f32> = rays
                .iter()
                .flat_map(|r| &opacities.data[r * samples..][..samples])
                .copied()
                .collect();
            // The field changes by up to ten per unit length, and much faster beside a point.
            let opacity = match (self.small(), fine) {
                (true, false) => Tolerance::Absolute(1e-4),
                (true, true) => Tolerance::Absolute(1e-3),
                (false, false) => Tolerance::Most(1e-3, 1e-3, 5e-2),
                (false, true) => Tolerance::Most(1e-2, 1e-3, 1e-1),
            };
            self.check(&format!("{pass}.opacity"), &found, opacity);

            let values = self.tap(&format!("{pass}.values"))?;
            let length = samples * values.row_length();
            // Full-size cases keep the first rays only.
            let name = format!("{pass}.values");
            let kept = self.golden().f32(&name).len() / length;
            let found: Vec<f32> = rays[..kept]
                .iter()
                .flat_map(|r| &values.data[r * length..][..length])
                .copied()
                .collect();
            let tolerance = match (self.small(), fine, self.released()) {
                (true, false, _) => Tolerance::Range(1e-4),
                (true, true, false) => Tolerance::MostOfRange(1e-4, 1e-3),
                (true, true, true) | (false, false, _) => Tolerance::MostOfRange(3e-4, 1e-3),
                (false, true, _) => Tolerance::MostOfRange(3e-3, 1e-3),
            };
            self.check(&name, &found, tolerance);
        }
        Ok(())
    }

    fn pictures(&mut self, frame: &Frame) -> gpavatar::Result<()> {
        let gpu = self.model.gpu();
        let (small, released) = (self.small(), self.released());
        let coarse = square(self.tap("coarse_image")?);
        let tolerance = if small {
            Tolerance::Absolute(1e-4)
        } else {
            Tolerance::Most(1e-4, 1e-2, 1e-2)
        };
        self.check_map("coarse_image", &coarse, tolerance);

        let side = self.config.low_res_size as usize;
        let channels = self.config.low_res_channels as usize;
        let low_res = Tensor::new([side, side, channels], pollster::block_on(frame.low_res())?);
        match (small, released) {
            (true, true) => self.check_rays("low_res", &low_res),
            (true, false) => self.check_map("low_res", &low_res, Tolerance::Range(1e-4)),
            (false, _) => self.check_map("low_res", &low_res, Tolerance::MostOfRange(3e-4, 1e-3)),
        }
        let depth = pollster::block_on(frame.depth())?;
        let tolerance = if small {
            Tolerance::Absolute(1e-3)
        } else {
            Tolerance::Most(3e-3, 1e-3, 1e-1)
        };
        self.check("depth", &depth, tolerance);

        let size = self.config.output_size as usize;
        let pixels: Vec<[f32; 4]> = pollster::block_on(frame.image_tensor().read(gpu))?;
        let rgb = pixels.iter().flat_map(|p| &p[..3]).copied().collect();
        let image = Tensor::new([size, size, 3], rgb);
        let tolerance = if released {
            Tolerance::Absolute(1e-3)
        } else {
            Tolerance::Absolute(1e-5)
        };
        self.check_map("image", &image, tolerance);
        let psnr = if released { 68.0 } else { 90.0 };
        self.check_map("image_half", &image, Tolerance::Picture(1e-4, psnr));

        // The super-resolver alone, on the authors' input.
        let golden = Tensor::from_planar([channels, side, side], &self.golden().f32("low_res"));
        let alone = pollster::block_on(self.model.super_resolve(&golden.data))?;
        let alone = Tensor::new([size, size, 3], alone);
        self.check_map("image", &alone, Tolerance::Absolute(1e-5));
        self.check_map("image_half", &alone, Tolerance::Absolute(1e-5));
        Ok(())
    }
}

/// `[pixel][channel]` as `[y][x][channel]`.
fn square(map: Tensor) -> Tensor {
    let side = map.shape[0].isqrt();
    Tensor::new([side, side, map.shape[1]], map.data)
}

/// Whether our kernels apply the leaky ReLU that follows this module.
fn is_activated(name: &str) -> bool {
    name.ends_with(".conv1")
        || name.ends_with(".final_conv")
        || name.contains(".conv_body_first") && !name.contains(".conv_body_first.1")
        || name.contains(".style_mlp.")
        || name.contains(".condition_") && name.ends_with(".0") && name.matches('.').count() == 3
}

/// Whether a style convolution is followed by the level's scale and shift.
fn is_steered(name: &str) -> bool {
    let index = name
        .rsplit_once(".style_convs.")
        .and_then(|(_, index)| index.parse::<u32>().ok());
    index.is_some_and(|index| index % 2 == 0)
}
