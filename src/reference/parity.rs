//! Every stage of the GPU pipeline beside the authors' numbers.

use std::fmt;

use glam::Vec3;

use super::exact::Exact;
use super::golden::{Case, Difference, distance, every, range, shape};
use super::{Tensor, rays, shared};
use crate::{
    Avatar, Camera, Drive, Error, Frame, Gpu, Model, ModelConfig, ModelOptions, PointWeighting,
    RenderOptions, Result, TensorFile, Weights,
};

/// All comparisons of a case, as a table.
pub struct Table(pub Vec<Row>);

/// A row of the parity table.
pub struct Row {
    /// The difference from the golden tensor.
    pub difference: Difference,
    /// True if float rounding explains the difference.
    pub passed: bool,
    /// The tolerance, in words. Where a golden value is past it, this also says how far that value
    /// and ours are from `f64`.
    pub tolerance: String,
}

impl Table {
    /// Rows past their tolerance.
    pub fn failures(&self) -> usize {
        self.0.iter().filter(|row| !row.passed).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.0.iter().map(|row| row.difference.name().len());
        let width = widths.max().unwrap_or(0);
        write!(
            f,
            "{:width$}  {:>7}  {:>7}  {:>7}  {:>5}  {:>7}        tolerance",
            "tensor", "max", "99.9 %", "mean", "PSNR", "range"
        )?;
        for row in &self.0 {
            let (difference, verdict) = (&row.difference, if row.passed { "ok" } else { "FAIL" });
            write!(
                f,
                "\n{:width$}  {:7.1e}  {:7.1e}  {:7.1e}  {:5.1}  {:7.3}  {verdict:4}  {}",
                difference.name(),
                difference.max(),
                difference.beyond(0.001),
                difference.mean(),
                difference.psnr(),
                difference.range(),
                row.tolerance,
            )?;
        }
        Ok(())
    }
}

/// How close a tensor has to be, and how much of it.
#[derive(Clone, Copy)]
enum Tolerance {
    /// All elements, absolutely.
    Absolute(f32),
    /// All elements, as a share of the golden range.
    Range(f32),
    /// All but a share of the elements (second), absolutely, and the others within the third.
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
/// positions depend on the coarse pass. Pictures past their tolerance are computed once more in
/// `f64`, which takes a minute at the released sizes: a value passes if it is no farther from that
/// than the golden one, by the same tolerance.
///
/// # Errors
/// [`Error::Argument`] where the case's tensors are not of the network's
/// sizes, and the errors of the model.
pub async fn compare(gpu: &Gpu, case: Case) -> Result<Table> {
    let Case {
        golden,
        weights,
        pictures,
        points,
        camera,
    } = case;
    let options = ModelOptions {
        trace: true,
        ..Default::default()
    };
    let model = Model::of(gpu, &weights, options)?;
    let avatar = Avatar::from_images(&model, &pictures)?;
    let drive = Drive::points(points.iter().map(Vec3::to_array).collect()).camera(camera);
    let mut run = Run {
        golden: &golden,
        weights: &weights,
        planes: Tensor::zeros([0]),
        exact: None,
        points: &points,
        camera,
        sources: pictures.len(),
        config: model.config(),
        model: &model,
        rows: Vec::new(),
    };
    run.encoder(&avatar).await?;
    run.taps("style_tplane").await?;
    let options = RenderOptions {
        tensors: true,
        ..RenderOptions::default()
    };
    let frame = avatar.render_with(&drive, &options)?;
    run.field().await?;
    run.pictures(&frame).await?;
    run.taps("up_renderer").await?;
    Ok(Table(run.rows))
}

struct Run<'a> {
    golden: &'a TensorFile,
    weights: &'a Weights,
    /// The avatar's.
    planes: Tensor,
    /// Computed when it is needed.
    exact: Option<Exact>,
    points: &'a [Vec3],
    camera: Camera,
    /// Number of source images.
    sources: usize,
    model: &'a Model,
    config: &'a ModelConfig,
    rows: Vec<Row>,
}

impl Run<'_> {
    /// Small cases hold whole tensors, full-size cases samples of them at a stride.
    fn small(&self) -> bool {
        self.golden.contains("sources")
    }

    fn released(&self) -> bool {
        self.config.point_weighting == PointWeighting::Released
    }

    /// Adds a row.
    fn compare(
        &mut self,
        label: &str,
        found: &[f32],
        expected: &[f32],
        tolerance: Tolerance,
    ) -> Result<()> {
        let difference = Difference::new(label, found, expected)?;
        self.rows.push(tolerance.check(difference));
        Ok(())
    }

    /// Adds a row of a picture, `of` which the exact values are the counterparts.
    fn compare_picture(
        &mut self,
        label: &str,
        found: &[f32],
        expected: &[f32],
        tolerance: Tolerance,
        of: impl Fn(&Exact) -> Vec<f32>,
    ) -> Result<()> {
        let mut row = tolerance.check(Difference::new(label, found, expected)?);
        if !row.passed {
            let exact = match self.exact.take() {
                Some(exact) => exact,
                None => Exact::new(self.weights, &self.planes, self.points, &self.camera)?,
            };
            let values = of(self.exact.insert(exact));
            let difference = Difference::beyond_rounding(label, found, expected, &values)?;
            row = tolerance.check(difference);
            let apart = |i: &usize| distance(found[*i], expected[*i]);
            let worst = (0..found.len()).max_by(|a, b| apart(a).total_cmp(&apart(b)));
            let worst = worst.unwrap_or(0);
            let from_exact = |values: &[f32], exact: &[f32]| distance(values[worst], exact[worst]);
            row.tolerance += &format!(
                " beyond float64's: where they differ most, by {:.1e}, golden is {:.1e} from \
                 float64, ours {:.1e}",
                distance(found[worst], expected[worst]),
                from_exact(expected, &values),
                from_exact(found, &values),
            );
        }
        self.rows.push(row);
        Ok(())
    }

    /// Compares with a golden tensor, if there is one of that name.
    fn check(&mut self, name: &str, found: &[f32], tolerance: Tolerance) -> Result<()> {
        if self.golden.contains(name) {
            self.compare(name, found, &self.golden.f32(name)?, tolerance)?;
        }
        Ok(())
    }

    /// Compares the elements of those samples for which `holds`.
    fn check_samples(
        &mut self,
        name: &str,
        found: &[f32],
        holds: &[bool],
        tolerance: Tolerance,
    ) -> Result<()> {
        if !self.golden.contains(name) {
            return Ok(());
        }
        let golden = self.golden.f32(name)?;
        let kept = |values: &[f32]| -> Vec<f32> {
            let samples = values.chunks(found.len() / holds.len()).zip(holds);
            let samples = samples.filter(|(_, holds)| **holds);
            samples.flat_map(|(values, _)| values).copied().collect()
        };
        if golden.len() != found.len() {
            return self.check(name, found, tolerance);
        }
        self.compare(name, &kept(found), &kept(&golden), tolerance)
    }

    fn raw_tap(&self, name: &str) -> &crate::Tensor {
        self.model.taps().find(|(n, _)| *n == name).expect(name).1
    }

    async fn tap(&self, name: &str) -> Result<Tensor> {
        let tap = self.raw_tap(name);
        let [height, width, channels] = tap.shape();
        let values = tap.read(self.model.gpu()).await?;
        Ok(match channels {
            1 => Tensor::new([height, width], values),
            _ => Tensor::new([height * width, channels], values),
        })
    }

    /// Compares a map `[y][x][channel]` with the elements that the golden file keeps.
    fn check_map(&mut self, name: &str, map: &Tensor, tolerance: Tolerance) -> Result<()> {
        if !self.golden.contains(name) {
            return Ok(());
        }
        let found = every(map, strides(name, map, shape(self.golden, name)?)?);
        self.check(name, &found, tolerance)
    }

    /// The same for a picture, `of` which the exact one is the counterpart.
    fn check_picture(
        &mut self,
        name: &str,
        map: &Tensor,
        tolerance: Tolerance,
        of: impl Fn(&Exact) -> &Tensor,
    ) -> Result<()> {
        if !self.golden.contains(name) {
            return Ok(());
        }
        let strides = strides(name, map, shape(self.golden, name)?)?;
        let expected = self.golden.f32(name)?;
        let exact = |exact: &Exact| every(of(exact), strides);
        self.compare_picture(name, &every(map, strides), &expected, tolerance, exact)
    }

    /// Compares a low-resolution image ray by ray. Where a sample lies almost on a point, its
    /// weight 1/d² magnifies the last bits of its position and rules the whole pixel; everywhere
    /// else nothing is magnified.
    fn check_rays(&mut self, name: &str, image: &Tensor) -> Result<()> {
        const ALMOST: f32 = 1e-4;
        let passes = [
            self.golden.f32("coarse.dist2")?,
            self.golden.f32("fine.dist2")?,
        ];
        let count = image.shape[0] * image.shape[1];
        let is_close = |ray: usize| {
            let of_ray = |d: &[f32]| d[ray * d.len() / count..][..d.len() / count].to_vec();
            (passes.iter()).any(|d| of_ray(d).iter().any(|d| *d < ALMOST))
        };
        let golden = self.golden_image(name, image.image())?;
        let range = range(&golden.data);
        for (close, name, share) in [
            (false, format!("{name} (most rays)"), 3e-4),
            (true, format!("{name} (on a point)"), 3e-2),
        ] {
            let rays: Vec<usize> = (0..count).filter(|ray| is_close(*ray) == close).collect();
            if rays.is_empty() {
                continue;
            }
            let rows = |of: &Tensor| flat(rays.iter().map(|ray| of.pixel(0, *ray)));
            let tolerance = Tolerance::Absolute(share * range);
            let exact = |exact: &Exact| rows(&exact.low_res);
            self.compare_picture(&name, &rows(image), &rows(&golden), tolerance, exact)?;
        }
        Ok(())
    }

    /// A whole golden image `[y][x][channel]`, kept channel-major.
    fn golden_image(&self, name: &str, [height, width, channels]: [usize; 3]) -> Result<Tensor> {
        let (expected, found) = ([channels, height, width], shape(self.golden, name)?);
        if found != expected {
            let expected = format!("shape {expected:?}, as the network has");
            return Err(Error::argument(name, expected, format!("{found:?}")));
        }
        Ok(Tensor::from_planar(expected, &self.golden.f32(name)?))
    }

    async fn encoder(&mut self, avatar: &Avatar) -> Result<()> {
        let gpu = self.model.gpu();
        let size = self.config.plane_size as usize;
        let channels = 3 * self.config.plane_channels as usize;

        // The encoder leaves the last source's planes.
        let last = square(self.tap("style_tplane").await?);
        let name = "planes_per_source";
        let [sources, kept @ ..] = shape::<4>(self.golden, name)?;
        let found = every(&last, strides(name, &last, kept)?);
        let all = self.golden.f32(name)?;
        let expected = &all[all.len() - all.len() / sources.max(1)..];
        let label = "planes_per_source (last)";
        self.compare(label, &found, expected, Tolerance::Range(3e-5))?;
        let planes = avatar.planes().read(gpu).await?;
        let planes = Tensor::new([size, size, channels], planes);
        self.check_map("planes", &planes, Tolerance::Range(3e-5))?;
        self.planes = planes;

        let Some(logits) = avatar.attention_logits() else {
            return Ok(());
        };
        if !self.golden.contains("attention") {
            return Ok(());
        }
        let [planes, rows, columns, _] = shape(self.golden, "attention")?;
        let step = size / rows.max(1);
        let logits: Vec<f32> = logits.read(gpu).await?;
        let logit = |source: usize, texel: usize, plane: usize| {
            f64::from(logits[(source * size * size + texel) * 3 + plane])
        };
        if planes != 3 || rows != columns || step * rows != size {
            let found = format!("{:?}", self.golden.shape("attention")?);
            return Err(Error::argument(
                "attention",
                "a share of the planes' texels",
                found,
            ));
        }
        let mut found = Vec::new();
        for plane in 0..planes {
            for y in (0..size).step_by(step) {
                for x in (0..size).step_by(step) {
                    let exponential = |source| logit(source, y * size + x, plane).exp();
                    let sum: f64 = (0..self.sources).map(exponential).sum();
                    found.extend((0..self.sources).map(|s| (exponential(s) / sum) as f32));
                }
            }
        }
        // Logits of order one to ten with the planes' relative error.
        self.check("attention", &found, Tolerance::Absolute(1e-4))
    }

    /// Single modules whose boundaries our kernels share with the authors' code.
    async fn taps(&mut self, network: &str) -> Result<()> {
        let prefix = format!("taps.{network}.");
        let names = self.golden.tensor_names();
        for golden in names.filter(|name| name.starts_with(&prefix)) {
            let name = golden.trim_start_matches("taps.");
            let Some((_, tap)) = self.model.taps().find(|(n, _)| *n == name) else {
                continue;
            };
            let [height, width, columns] = tap.shape();
            let rows = height * width;
            let layers = self.config.super_resolver().layers();
            let last = layers.up.last();
            let fused = name.ends_with(".conv2")
                // Ends with the network's activation.
                || last.is_some_and(|last| last.to_rgb.name == name)
                // Runs at half the size.
                || (name.contains(".conv_body_up.") && name.ends_with(".skip"))
                // Scale and shift are part of the epilogue of every other one.
                || is_steered(name);
            if fused {
                continue;
            }
            let values = tap.read(self.model.gpu()).await?;
            let planar = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
            let planar: Vec<f32> = planar.map(|i| values[i]).collect();
            let step = (planar.len() / 2048).max(1);
            let found: Vec<f32> = planar.into_iter().step_by(step).take(2048).collect();
            let mut expected = self.golden.f32(golden)?.into_owned();
            if is_activated(name) {
                expected.iter_mut().for_each(|v| *v = shared::lrelu(*v));
            }
            self.compare(golden, &found, &expected, Tolerance::Range(3e-5))?;
        }
        Ok(())
    }

    async fn field(&mut self) -> Result<()> {
        let count = self.config.low_res_size.pow(2) as usize;
        let rays: Vec<usize> = if self.golden.contains("ray_ids") {
            let rays = self.golden.i64("ray_ids")?;
            rays.iter().map(|ray| *ray as usize).collect()
        } else {
            (0..count).collect()
        };
        if let Some(beyond) = rays.iter().find(|ray| **ray >= count) {
            let expected = format!("rays below {count}");
            return Err(Error::argument("ray_ids", expected, beyond.to_string()));
        }
        let directions = self.tap("ray_dirs").await?;
        let found = flat(rays.iter().map(|ray| &directions.row(*ray)[..3]));
        // Two roundings of a unit vector.
        self.check("ray_dirs", &found, Tolerance::Absolute(1e-6))?;

        let origin = self.camera.origin();
        for pass in ["coarse", "fine"] {
            let fine = pass == "fine";
            let depths = self.tap(&format!("{pass}.depths")).await?;
            let samples = depths.row_length();
            let neighbours = self.raw_tap(&format!("{pass}.neighbours"));
            let neighbours: Vec<u32> = neighbours.read_as(self.model.gpu()).await?;
            let mut coordinates = Vec::new();
            let mut distances = Vec::new();
            // Unless sums over all samples are needed, samples outside the cube are not searched
            // for.
            let mut searched = Vec::new();
            for &ray in &rays {
                let direction = Vec3::from_slice(directions.row(ray));
                for (sample, depth) in depths.row(ray).iter().enumerate() {
                    let at = origin + *depth * direction;
                    coordinates.extend(at.to_array());
                    searched.push(self.released() || at.abs().max_element() < 1.0);
                    let words = &neighbours[(ray * samples + sample) * 4..][..4];
                    for k in 0..self.config.neighbours as usize {
                        let index = words[k / 2] >> (16 * (k % 2)) & 0xffff;
                        distances.push(at.distance_squared(self.points[index as usize]));
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
            self.check(&format!("{pass}.coords"), &coordinates, position)?;
            self.check_samples(&format!("{pass}.dist2"), &distances, &searched, position)?;

            let opacities = self.tap(&format!("{pass}.opacities")).await?;
            let opacities_of = |ray: &usize| &opacities.data[ray * samples..][..samples];
            let found = flat(rays.iter().map(opacities_of));
            // The field changes by up to ten per unit length, and much faster beside a point.
            let opacity = match (self.small(), fine) {
                (true, false) => Tolerance::Absolute(1e-4),
                (true, true) => Tolerance::Absolute(1e-3),
                (false, false) => Tolerance::Most(1e-3, 1e-3, 5e-2),
                (false, true) => Tolerance::Most(1e-2, 1e-3, 1e-1),
            };
            self.check(&format!("{pass}.opacity"), &found, opacity)?;

            let values = self.tap(&format!("{pass}.values")).await?;
            let length = samples * values.row_length();
            // Full-size cases keep the first rays only.
            let name = format!("{pass}.values");
            let kept = self.golden.f32(&name)?.len() / length;
            let kept = &rays[..kept.min(rays.len())];
            let found = flat(
                kept.iter()
                    .map(|ray| &values.data[ray * length..][..length]),
            );
            let tolerance = match (self.small(), fine, self.released()) {
                (true, false, _) => Tolerance::Range(1e-4),
                (true, true, false) => Tolerance::MostOfRange(1e-4, 1e-3),
                (true, true, true) | (false, false, _) => Tolerance::MostOfRange(3e-4, 1e-3),
                (false, true, _) => Tolerance::MostOfRange(3e-3, 1e-3),
            };
            // The field computes no values where a whole workgroup has no opacity. Their weight is
            // 0.
            let seen = kept.iter().flat_map(opacities_of);
            let seen: Vec<bool> = seen.map(|opacity| *opacity > 0.0).collect();
            self.check_samples(&name, &found, &seen, tolerance)?;
        }
        Ok(())
    }

    /// The coarse pass alone, composited here because no kernel does it.
    async fn coarse_image(&self) -> Result<Tensor> {
        let opacities = self.tap("coarse.opacities").await?;
        let mut values = self.tap("coarse.values").await?;
        let channels = values.row_length();
        for (value, opacity) in values.data.chunks_exact_mut(channels).zip(&opacities.data) {
            if *opacity == 0.0 {
                value.fill(0.0);
            }
        }
        let samples = opacities.row_length();
        let weights = rays::composite(&opacities.data, samples);
        let image = rays::integrate(&weights, &values, samples);
        let colours = image.data.chunks_exact(channels).map(|pixel| &pixel[..3]);
        let shape = [image.data.len() / channels, 3];
        Ok(square(Tensor::new(shape, flat(colours))))
    }

    async fn pictures(&mut self, frame: &Frame) -> Result<()> {
        let gpu = self.model.gpu();
        let (small, released) = (self.small(), self.released());
        let coarse = self.coarse_image().await?;
        let tolerance = if small {
            Tolerance::Absolute(1e-4)
        } else {
            Tolerance::Most(1e-4, 1e-2, 1e-2)
        };
        self.check_picture("coarse_image", &coarse, tolerance, |exact| {
            &exact.coarse_image
        })?;

        let side = self.config.low_res_size as usize;
        let channels = self.config.low_res_channels as usize;
        let low_res = Tensor::new([side, side, channels], frame.low_res().await?);
        let check_low_res = |run: &mut Self, tolerance| {
            run.check_picture("low_res", &low_res, tolerance, |exact| &exact.low_res)
        };
        match (small, released) {
            (true, true) => self.check_rays("low_res", &low_res),
            (true, false) => check_low_res(self, Tolerance::Range(1e-4)),
            (false, _) => check_low_res(self, Tolerance::MostOfRange(3e-4, 1e-3)),
        }?;
        let depth = frame.depth().await?;
        let tolerance = if small {
            Tolerance::Absolute(1e-3)
        } else {
            Tolerance::Most(3e-3, 1e-3, 1e-1)
        };
        if self.golden.contains("depth") {
            let expected = self.golden.f32("depth")?;
            let exact = |exact: &Exact| exact.depth.data.clone();
            self.compare_picture("depth", &depth, &expected, tolerance, exact)?;
        }

        let size = self.config.output_size as usize;
        let image = Tensor::new([size, size, 3], frame.image_tensor()?.read(gpu).await?);
        let tolerance = if released {
            // A sample that lands almost on a point magnifies the last bits of its position, by
            // 1/d² of their distance, and shows in the few pixels around its ray.
            Tolerance::Most(1e-3, 1e-3, 2e-2)
        } else {
            Tolerance::Absolute(1e-5)
        };
        self.check_picture("image", &image, tolerance, |exact| &exact.image)?;
        let psnr = if released { 68.0 } else { 90.0 };
        let tolerance = Tolerance::Picture(1e-4, psnr);
        self.check_picture("image_half", &image, tolerance, |exact| &exact.image)?;

        // The super-resolver alone, on the authors' input.
        let golden = self.golden_image("low_res", [side, side, channels])?;
        let alone = self.model.super_resolve(&golden.data).await?;
        let alone = Tensor::new([size, size, 3], alone);
        for name in ["image", "image_half"] {
            if self.golden.contains(name) {
                let found = every(&alone, strides(name, &alone, shape(self.golden, name)?)?);
                let label = format!("{name} (of golden low_res)");
                let tolerance = Tolerance::Absolute(1e-5);
                self.compare(&label, &found, &self.golden.f32(name)?, tolerance)?;
            }
        }
        Ok(())
    }
}

/// Strides of the `kept` elements of a map `[y][x][channel]`, along channels, rows and columns.
fn strides(name: &str, map: &Tensor, kept: [usize; 3]) -> Result<[usize; 3]> {
    let [height, width, channels] = map.image();
    let all = [channels, height, width];
    if (0..3).any(|axis| kept[axis] == 0 || !all[axis].is_multiple_of(kept[axis])) {
        let expected = format!("a shape that divides {all:?}, the network's");
        return Err(Error::argument(name, expected, format!("{kept:?}")));
    }
    Ok([0, 1, 2].map(|axis| all[axis] / kept[axis]))
}

fn flat<'a>(rows: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    rows.flatten().copied().collect()
}

/// `[pixel][channel]` as `[y][x][channel]`.
fn square(map: Tensor) -> Tensor {
    let side = map.shape[0].isqrt();
    Tensor::new([side, side, map.shape[1]], map.data)
}

/// True if our kernels apply the leaky ReLU that follows this module.
fn is_activated(name: &str) -> bool {
    name.ends_with(".conv1")
        || name.ends_with(".final_conv")
        || name.contains(".conv_body_first") && !name.contains(".conv_body_first.1")
        || name.contains(".style_mlp.")
        || name.contains(".condition_") && name.ends_with(".0") && name.matches('.').count() == 3
}

/// True if the level's scale and shift follow this style convolution.
fn is_steered(name: &str) -> bool {
    let index = name
        .rsplit_once(".style_convs.")
        .and_then(|(_, index)| index.parse::<u32>().ok());
    index.is_some_and(|index| index % 2 == 0)
}
