//! The whole model, and every value that passes from one stage to the next.

use super::field::{FieldWeights, Radiance, field, point_features, sample_planes};
use super::fusion::{AttentionHead, attention, attention_head, fuse};
use super::output::{normalise_depth, surface};
use super::points::{Neighbour, nearest, weight_sums};
use super::rays::{
    Rays, coarse_depths, composite, generate, importance, integrate, merge, positions,
};
use super::shared::sigmoid_wide;
use super::source::warp;
use super::style_unet::{Noise, style_unet};
use super::{Real, Tensor, Vec3, load};
use crate::{Camera, Error, ModelConfig, Result, SourceImage, Weights};

/// A source picture in the canonical view of `config`, `[source_size, source_size, 3]`.
///
/// # Errors
/// If the picture's camera has no such view ([`SourceImage::homography`]).
pub fn prepare(config: &ModelConfig, source: &SourceImage) -> Result<Tensor> {
    let source = source.fitted(config.source_size);
    let homography = source.homography(config.source_size)?;
    let (pixels, _) = source.pixels().as_chunks::<4>();
    let rgb = pixels
        .iter()
        .flat_map(|[rgb @ .., _]| rgb.map(|v| Real::from(v) / 255.0));
    let shape = [source.height() as usize, source.width() as usize, 3];
    let picture = Tensor::new(shape, rgb.collect());
    Ok(warp(&picture, &homography, config.source_size as usize))
}

/// The tri-planes of an avatar, `[plane_size, plane_size, 3 * plane_channels]` each.
#[derive(Clone, Debug)]
pub struct Planes {
    /// The encoder's planes of each source image.
    pub per_source: Vec<Tensor>,
    /// The weight of each source image at each texel, `[plane_size, plane_size, 3, sources]`; a
    /// single source image is not fused.
    pub attention: Option<Tensor>,
    /// The avatar's planes.
    pub fused: Tensor,
}

/// Encodes source images `[source_size, source_size, 3]` in [0, 1], in the canonical view
/// ([`prepare`]), and fuses their planes.
///
/// # Errors
/// If there is no source image or one is not as described, or if the checkpoint lacks a tensor.
pub fn build(weights: &Weights, sources: &[Tensor], noise: Noise) -> Result<Planes> {
    let config = weights.config();
    let (side, plane_side) = (config.source_size as usize, config.plane_size as usize);
    let encoder = config.encoder();
    Error::unless(!sources.is_empty(), "source images", "at least one", "none")?;
    for (i, source) in sources.iter().enumerate() {
        let valid = source.data.iter().all(|v| (0.0..=1.0).contains(v));
        Error::unless(
            valid && source.shape == [side, side, 3],
            format_args!("source image {i}"),
            format_args!("shape [{side}, {side}, 3], values in [0, 1]"),
            match valid {
                true => format!("shape {:?}", source.shape),
                false => "values outside [0, 1]".into(),
            },
        )?;
    }

    let encode = |source: &Tensor| style_unet(weights, &encoder, &source.flip_rows(), noise);
    let per_source = sources.iter().map(encode).collect::<Result<Vec<_>>>()?;
    if let [only] = &per_source[..] {
        return Ok(Planes {
            attention: None,
            fused: only.clone(),
            per_source,
        });
    }

    let channels = 3 * config.plane_channels as usize;
    let query = load(weights, "query_style_tplane")?;
    let query = Tensor::from_planar([channels, plane_side, plane_side], &query);
    let query = attention_head(&AttentionHead::load(weights, "to_q_")?, &query);
    let to_key = AttentionHead::load(weights, "to_k_")?;
    let keys = per_source.iter().map(|p| attention_head(&to_key, p));
    let keys: Vec<_> = keys.collect();
    let scale = load(weights, "attn_module.scale")?[0];
    let attention = attention(config.attention, &query, &keys, scale);
    Ok(Planes {
        fused: fuse(&per_source, &attention),
        attention: Some(attention),
        per_source,
    })
}

/// The samples of one pass, coarse or fine.
#[derive(Clone, Debug)]
pub struct Pass {
    /// `[rays][samples]`.
    pub positions: Vec<Vec3>,
    /// `[rays][samples][neighbours]`.
    pub neighbours: Vec<Neighbour>,
    /// `[rays * samples, plane_channels]`.
    pub plane_features: Tensor,
    /// `[rays * samples, point_output]`.
    pub point_features: Tensor,
    /// Opacity and values.
    pub radiance: Radiance,
}

impl Pass {
    /// What planes, points and networks make of the samples at `positions`, the same number on the
    /// ray of each of the `directions`.
    pub fn query(
        config: &ModelConfig,
        networks: &FieldWeights,
        planes: &Tensor,
        points: &[Vec3],
        positions: Vec<Vec3>,
        directions: &[Vec3],
    ) -> Self {
        let (at, weighting, count) = (
            &*positions,
            config.point_weighting,
            config.neighbours as usize,
        );
        let neighbours = nearest(at, points, count);
        let sums = weight_sums(&neighbours, count);
        let point_features = point_features(networks, weighting, at, points, &neighbours, &sums);
        let plane_features = sample_planes(planes, at);
        Self {
            radiance: field(networks, &plane_features, &point_features, at, directions),
            positions,
            neighbours,
            plane_features,
            point_features,
        }
    }
}

/// All stages of a frame. `rays` is `low_res_size * low_res_size`, row by row.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// The camera's rays.
    pub rays: Rays,
    /// Depths of the equidistant samples and of the fine ones, `[rays][samples]` each.
    pub depths: [Vec<Real>; 2],
    /// The equidistant samples.
    pub coarse: Pass,
    /// The samples added where the coarse ones have weight.
    pub fine: Pass,
    /// The coarse samples alone, composited:
    /// `[low_res_size, low_res_size, low_res_channels]`.
    pub coarse_image: Tensor,
    /// All samples composited, likewise.
    pub low_res: Tensor,
    /// Accumulated opacity in [0, 1], `[low_res_size, low_res_size, 1]`.
    pub opacity: Tensor,
    /// Depth, scaled to the range [0, 1] of the image, `[low_res_size, low_res_size, 1]`.
    pub depth: Tensor,
    /// Depth of what is seen along the camera's axis, `[low_res_size, low_res_size, 1]`.
    pub surface: Tensor,
    /// The super-resolved image in (-0.001, 1.001), `[output_size, output_size, 3]`.
    pub image: Tensor,
}

impl Rendering {
    /// The low-resolution image's colours and opacity, `[low_res_size, low_res_size, 4]`.
    #[must_use]
    pub fn field(&self) -> Tensor {
        let [height, width, channels] = self.low_res.image();
        let rays = self
            .low_res
            .data
            .chunks_exact(channels)
            .zip(&self.opacity.data);
        let data = rays.flat_map(|(values, opacity)| [values[0], values[1], values[2], *opacity]);
        Tensor::new([height, width, 4], data.collect())
    }
}

/// Renders an avatar's fused planes with the head's vertices at `points`.
///
/// # Errors
/// If the planes or the number of points do not fit the model, if a point is not finite, if the
/// camera is none ([`Camera::validate`]), or if the checkpoint lacks a tensor.
pub fn render(
    weights: &Weights,
    planes: &Tensor,
    points: &[Vec3],
    camera: &Camera,
    noise: Noise,
) -> Result<Rendering> {
    let config = weights.config();
    check_frame(config, planes, points)?;
    camera.validate()?;
    let networks = FieldWeights::load(weights)?;

    let side = config.low_res_size as usize;
    let rays = generate(camera, side);
    let query = |depths: &[Real]| {
        let positions = positions(&rays, depths);
        Pass::query(
            config,
            &networks,
            planes,
            points,
            positions,
            &rays.directions,
        )
    };

    let samples = config.coarse_samples as usize;
    let coarse_depths = coarse_depths(&rays, samples);
    let coarse = query(&coarse_depths);
    let shares = composite(&coarse.radiance.opacity, samples);
    let coarse_image = integrate(&shares, &coarse.radiance.values, samples);
    let fine_samples = config.fine_samples as usize;
    let fine_depths = importance(&coarse_depths, &shares, samples, fine_samples);
    let fine = query(&fine_depths);
    let coarse_samples = (&*coarse_depths, &coarse.radiance);
    let merged = merge(coarse_samples, (&fine_depths, &fine.radiance), side * side);
    let depth = normalise_depth(&merged.depth, &merged.opacity, merged.farthest);

    let surface = surface(&merged.depth, &merged.opacity, Real::from(camera.focal));

    let channels = config.low_res_channels as usize;
    let low_res = Tensor::new([side, side, channels], merged.values.data);
    let image = super_resolve(weights, &low_res, noise)?;
    Ok(Rendering {
        rays,
        depths: [coarse_depths, fine_depths],
        coarse,
        fine,
        coarse_image: Tensor::new([side, side, channels], coarse_image.data),
        low_res,
        opacity: Tensor::new([side, side, 1], merged.opacity),
        depth: Tensor::new([side, side, 1], depth),
        surface: Tensor::new([side, side, 1], surface),
        image,
    })
}

/// The super-resolved image `[output_size, output_size, 3]` of a low-res one.
///
/// # Errors
/// If the checkpoint lacks a tensor.
pub fn super_resolve(weights: &Weights, low_res: &Tensor, noise: Noise) -> Result<Tensor> {
    let image = style_unet(weights, &weights.config().super_resolver(), low_res, noise)?;
    Ok(image.map(sigmoid_wide))
}

fn check_frame(config: &ModelConfig, planes: &Tensor, points: &[Vec3]) -> Result<()> {
    let side = config.plane_size as usize;
    let shape = [side, side, 3 * config.plane_channels as usize];
    let (expected, found) = (format!("{shape:?}"), format!("{:?}", planes.shape));
    Error::unless(found == expected, "shape of the planes", expected, found)?;
    let ok = points.len() == config.points as usize;
    Error::unless(ok, "number of points", config.points, points.len())?;
    for (i, point) in points.iter().enumerate() {
        let what = format_args!("point {i}");
        Error::unless(point.is_finite(), what, "finite coordinates", point)?;
    }
    Ok(())
}
