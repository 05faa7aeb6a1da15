//! Every size of a model, and the tensors that follow from them.

mod style_unet;
mod tensors;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Problems, Result};

pub use style_unet::{
    ConvConfig, ConvKind, Level, LinearConfig, ResBlock, StyleUnetConfig, StyleUnetLayers,
};
pub use tensors::TensorSpec;

/// Weighting of the features of the nearest points.
///
/// `d_k` is the distance from a sample to its `k`-th nearest point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointWeighting {
    /// `1/d_k²`, divided by its sum over all samples of the pass, separately for each `k`. The
    /// authors' released code and checkpoint use it.
    #[default]
    Released,
    /// `(1/d_k) / Σ_j (1/d_j)`, the point-based expression field of the GPAvatar paper
    /// (arXiv 2401.10215).
    Paper,
}

/// Fusion of the tri-planes of several source images.
///
/// `q` is the query of a texel and `k_i` the key of source image `i` there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// `softmax_i(scale · q·k_i)`, with a learned scale. The authors' released code and
    /// checkpoint use it.
    #[default]
    Softmax,
    /// `q·k_i / Σ_j q·k_j`, the multi tri-planes attention of the GPAvatar paper
    /// (arXiv 2401.10215).
    Ratio,
}

/// All sizes of a model.
///
/// It is stored as JSON under the metadata key `config` of a weights file. A field that is left out
/// there takes its [default](Self::default), the size of the authors' released model; an unknown
/// field is an error. [`validate`](Self::validate) enforces the ranges given here. No tensor of the
/// model or of a frame may reach 2³⁰ elements, so that 32-bit byte offsets address all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Width and height of a source image in pixels: `plane_size` or twice that.
    pub source_size: u32,
    /// Width and height of each of the three planes in texels: a power of two in 8..=4096.
    pub plane_size: u32,
    /// Channels of each plane: a multiple of 4, at most 64. With `point_hidden` at most 124.
    pub plane_channels: u32,
    /// Points that follow the head's expression: `neighbours`..=65535.
    pub points: u32,
    /// Nearest points that a sample gathers features from: 1..=8.
    pub neighbours: u32,
    /// Learned features of each point: 1..=1024.
    pub point_feature: u32,
    /// Hidden width of the point network: a multiple of 16, at most 128.
    pub point_hidden: u32,
    /// Outputs of the point network: a multiple of 4, at most 64.
    pub point_output: u32,
    /// Hidden width of the radiance network: a multiple of 8, at most 128.
    pub feature_hidden: u32,
    /// Hidden width of its colour head: a multiple of 8, at most 64.
    pub rgb_hidden: u32,
    /// Samples of a ray in the coarse pass: 2..=128.
    pub coarse_samples: u32,
    /// Samples of a ray that importance sampling adds: 2..=128.
    pub fine_samples: u32,
    /// Width and height of the volume-rendered image in pixels: 2..=`output_size`.
    pub low_res_size: u32,
    /// Channels of the volume-rendered image, RGB first: a multiple of 4, at most 64.
    pub low_res_channels: u32,
    /// Width and height of the final image in pixels: a power of two in 8..=4096.
    pub output_size: u32,
    /// Length of the style vector: a multiple of 4, at most 4096.
    pub style_size: u32,
    /// Layers of the network that maps the style vector: 1..=64.
    pub style_layers: u32,
    /// Channels of the encoder's U-Net at each resolution, for all powers of two from 4 to
    /// `source_size`: multiples of 4, at most 4096. Larger resolutions may be listed and are not
    /// used.
    pub encoder_channels: BTreeMap<u32, u32>,
    /// Channels of the super-resolver's U-Net, likewise from 4 to `output_size`.
    pub super_resolver_channels: BTreeMap<u32, u32>,
    /// Channels of the encoder's style decoder, likewise from 4 to `plane_size`.
    pub encoder_decoder_channels: BTreeMap<u32, u32>,
    /// Channels of the super-resolver's style decoder, likewise from 4 to `output_size`.
    pub super_resolver_decoder_channels: BTreeMap<u32, u32>,
    /// Focal length in units of half the image width: positive and finite.
    pub focal: f32,
    /// Weighting of the nearest points.
    pub point_weighting: PointWeighting,
    /// Weighting of the source images.
    pub attention: Attention,
}

impl Default for ModelConfig {
    /// The sizes of the authors' released model.
    fn default() -> Self {
        let channels = |widest: u32| -> BTreeMap<u32, u32> {
            let narrowing = [widest, widest, widest, widest]
                .into_iter()
                .chain((1..=4).map(|halvings| widest >> halvings));
            (2..).map(|log| 1 << log).zip(narrowing).collect()
        };
        Self {
            source_size: 512,
            plane_size: 256,
            plane_channels: 32,
            points: 5023,
            neighbours: 8,
            point_feature: 32,
            point_hidden: 64,
            point_output: 32,
            feature_hidden: 128,
            rgb_hidden: 64,
            coarse_samples: 32,
            fine_samples: 32,
            low_res_size: 128,
            low_res_channels: 32,
            output_size: 512,
            style_size: 512,
            style_layers: 8,
            encoder_channels: channels(256),
            super_resolver_channels: channels(256),
            encoder_decoder_channels: channels(512),
            super_resolver_decoder_channels: channels(512),
            focal: 12.0,
            point_weighting: PointWeighting::default(),
            attention: Attention::default(),
        }
    }
}

impl ModelConfig {
    /// Colour channels of source and output images.
    pub const IMAGE_CHANNELS: u32 = 3;
    /// Planes of a tri-plane: xy, xz and zy.
    pub const PLANES: u32 = 3;
    /// Length of a 3-vector's harmonic embedding: sine and cosine of four octaves, and the vector.
    pub const HARMONICS: u32 = 27;

    /// Reads a configuration from JSON and [validates](Self::validate) it; `what` names it in error
    /// messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is no JSON object of known fields, [`Error::Config`] if a value is
    /// out of its range.
    pub fn from_json(what: impl Into<String>, json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|error| Error::format(what, "model configuration", error.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as JSON, all fields listed.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not [valid](Self::validate).
    pub fn to_json(&self) -> Result<String> {
        self.validate()?;
        serde_json::to_string(self).map_err(|error| {
            Error::format("model configuration", "JSON document", error.to_string())
        })
    }

    /// The fields in which `other` differs, with this one's values and with the other's.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String)> {
        let fields = |config| match serde_json::to_value(config) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (own, others) = (fields(self), fields(other));
        let differing = own
            .iter()
            .filter(|(key, value)| others.get(*key) != Some(value));
        let differing: Vec<_> = differing.map(|(key, _)| key.as_str()).collect();
        let listed = |fields: &serde_json::Map<_, _>| {
            let pairs = differing
                .iter()
                .map(|key| format!("{key} {}", fields[*key]));
            pairs.collect::<Vec<_>>().join(", ")
        };
        (!differing.is_empty()).then(|| (listed(&own), listed(&others)))
    }

    /// The network that turns a source image into a tri-plane.
    pub fn encoder(&self) -> StyleUnetConfig {
        StyleUnetConfig {
            prefix: "style_tplane",
            input: self.source_size,
            image: self.source_size,
            output: self.plane_size,
            in_channels: Self::IMAGE_CHANNELS,
            out_channels: Self::PLANES.saturating_mul(self.plane_channels),
            channels: self.encoder_channels.clone(),
            decoder_channels: self.encoder_decoder_channels.clone(),
            style_size: self.style_size,
            style_layers: self.style_layers,
        }
    }

    /// The network that turns the volume-rendered image into the final one. It resizes its input
    /// to `output_size` first.
    pub fn super_resolver(&self) -> StyleUnetConfig {
        StyleUnetConfig {
            prefix: "up_renderer",
            input: self.output_size,
            image: self.low_res_size,
            output: self.output_size,
            in_channels: self.low_res_channels,
            out_channels: Self::IMAGE_CHANNELS,
            channels: self.super_resolver_channels.clone(),
            decoder_channels: self.super_resolver_decoder_channels.clone(),
            style_size: self.style_size,
            style_layers: self.style_layers,
        }
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`Error::Config`] with all the problems there are, not just the first.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        for (field, size) in [
            ("source_size", self.source_size),
            ("plane_size", self.plane_size),
            ("output_size", self.output_size),
        ] {
            let ok = size.is_power_of_two() && (8..=4096).contains(&size);
            problems.expect(ok, field, "a power of two in 8..=4096", size);
        }
        let (source, plane) = (self.source_size, self.plane_size);
        let ok = source == plane || Some(source) == plane.checked_mul(2);
        let expected = format_args!("plane_size ({plane}) or twice that");
        problems.expect(ok, "source_size", expected, source);
        let (found, output) = (self.low_res_size, self.output_size);
        let ok = (2..=output).contains(&found);
        let expected = format_args!("2..=output_size ({output})");
        problems.expect(ok, "low_res_size", expected, found);
        let (found, least) = (self.points, self.neighbours);
        let ok = (least..=65535).contains(&found);
        let expected = format_args!("neighbours ({least})..=65535");
        problems.expect(ok, "points", expected, found);
        for (field, value, step, most) in [
            ("plane_channels", self.plane_channels, 4, 64),
            ("neighbours", self.neighbours, 1, 8),
            ("point_feature", self.point_feature, 1, 1024),
            ("point_hidden", self.point_hidden, 16, 128),
            ("point_output", self.point_output, 4, 64),
            ("feature_hidden", self.feature_hidden, 8, 128),
            ("rgb_hidden", self.rgb_hidden, 8, 64),
            ("low_res_channels", self.low_res_channels, 4, 64),
            ("style_size", self.style_size, 4, 4096),
            ("style_layers", self.style_layers, 1, 64),
        ] {
            expect_multiple(&mut problems, field, value, step, most);
        }
        // The radiance kernel gathers both into 32 rows of four channels; one row is reserved.
        let gathered = self.plane_channels.saturating_add(self.point_hidden);
        let field = "plane_channels + point_hidden";
        problems.expect(gathered <= 124, field, "at most 124", gathered);
        for (field, samples) in [
            ("coarse_samples", self.coarse_samples),
            ("fine_samples", self.fine_samples),
        ] {
            problems.expect((2..=128).contains(&samples), field, "2..=128", samples);
        }
        for (field, table, top) in [
            ("encoder_channels", &self.encoder_channels, self.source_size),
            (
                "super_resolver_channels",
                &self.super_resolver_channels,
                self.output_size,
            ),
            (
                "encoder_decoder_channels",
                &self.encoder_decoder_channels,
                self.plane_size,
            ),
            (
                "super_resolver_decoder_channels",
                &self.super_resolver_decoder_channels,
                self.output_size,
            ),
        ] {
            expect_channels(&mut problems, field, table, top);
        }
        let ok = self.focal.is_finite() && self.focal > 0.0;
        problems.expect(ok, "focal", "a positive finite number", self.focal);
        if problems.0.is_empty() {
            self.check_addressable(&mut problems);
        }
        match problems.0 {
            problems if problems.is_empty() => Ok(()),
            problems => Err(Error::Config { problems }),
        }
    }

    /// Every tensor, as a product of valid sizes, must stay below 2³⁰ elements.
    fn check_addressable(&self, problems: &mut Problems) {
        const LIMIT: u64 = 1 << 30;
        let mut check = |what: &str, factors: &[u32]| {
            let elements = factors.iter().fold(1u64, |product, &factor| {
                product.saturating_mul(factor.into())
            });
            problems.expect(elements < LIMIT, what, "fewer than 2^30 elements", elements);
        };
        let (side, channels) = (self.plane_size, self.plane_channels);
        check("tri-plane", &[side, side, Self::PLANES, channels]);
        let (side, channels) = (self.low_res_size, self.low_res_channels);
        let factors = [
            side,
            side,
            self.coarse_samples + self.fine_samples,
            channels,
        ];
        check("radiance values of all samples", &factors);
        for unet in [self.encoder(), self.super_resolver()] {
            let tables = [&unet.channels, &unet.decoder_channels];
            for (&side, &channels) in tables.into_iter().flatten() {
                if side <= unet.input.max(unet.output) {
                    let what = format!("{} at resolution {side}", unet.prefix);
                    check(&what, &[side, side, channels]);
                }
            }
        }
    }
}

fn expect_multiple(problems: &mut Problems, field: &str, value: u32, step: u32, most: u32) {
    let ok = value.is_multiple_of(step) && (step..=most).contains(&value);
    let expected = match step {
        1 => format!("1..={most}"),
        _ => format!("a multiple of {step} in {step}..={most}"),
    };
    problems.expect(ok, field, expected, value);
}

fn expect_channels(problems: &mut Problems, field: &str, table: &BTreeMap<u32, u32>, top: u32) {
    for log in 2..=top.checked_ilog2().unwrap_or(0) {
        let resolution = 1 << log;
        let expected = format_args!("an entry for resolution {resolution}");
        problems.expect(table.contains_key(&resolution), field, expected, "none");
    }
    for (&resolution, &channels) in table {
        let ok = resolution.is_power_of_two() && resolution >= 4;
        let expected = "resolutions that are powers of two from 4";
        problems.expect(ok, field, expected, resolution);
        let entry = format!("{field}[{resolution}]");
        expect_multiple(problems, &entry, channels, 4, 4096);
    }
}

#[cfg(test)]
mod tests;
