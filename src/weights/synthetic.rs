//! Deterministic weights for tests and measurements, drawn on demand.

use std::collections::BTreeMap;

use crate::config::{ModelConfig, PointWeighting};
use crate::error::{Error, Result};

const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

/// The shape of each tensor of [synthetic weights](crate::Weights::synthetic), and the `scale` and
/// `offset` of its values `offset + scale·u`, `u` uniform in [-1, 1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyntheticRules(BTreeMap<String, Rule>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    shape: Vec<usize>,
    scale: f32,
    offset: f32,
}

impl SyntheticRules {
    /// Rules for a model of any size: learned inputs have unit variance, and layers about keep the
    /// variance of their inputs.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not [valid](ModelConfig::validate).
    pub fn new(config: &ModelConfig) -> Result<Self> {
        let mut rules = BTreeMap::new();
        for spec in config.tensors()? {
            let rule = Rule::new(config, &spec.name, spec.shape);
            rules.insert(spec.name, rule);
        }
        Ok(Self(rules))
    }

    /// Reads rules from tab-separated lines of name, shape (`16x3x1x1`), scale and offset, after a
    /// header line with these four words.
    ///
    /// # Errors
    /// [`Error::Format`] with the number of the first line that has another form.
    pub fn parse(table: &str) -> Result<Self> {
        let invalid = |line: usize, reason: String| {
            let reason = format!("line {line}: {reason}");
            Error::format("table of synthetic weights", "TSV", reason)
        };
        let mut lines = (1..).zip(table.lines());
        let found = lines.next().map_or("nothing", |(_, line)| line);
        if found != "name\tshape\tscale\toffset" {
            let expected = "the header name, shape, scale, offset";
            return Err(invalid(1, format!("expected {expected}, found {found}")));
        }
        let mut rules = BTreeMap::new();
        for (number, line) in lines {
            let misfit = || format!("expected name, shape, scale and offset, found {line}");
            let (name, rule) = Rule::parse(line).ok_or_else(|| invalid(number, misfit()))?;
            if rules.insert(name.to_owned(), rule).is_some() {
                return Err(invalid(number, format!("{name} is listed twice")));
            }
        }
        Ok(Self(rules))
    }

    pub(super) fn get(&self, name: &str) -> Result<&Rule> {
        let rule = self.0.get(name);
        let missing = || format!("{name}: expected a tensor, found nothing");
        rule.ok_or_else(|| Error::tensor("table of synthetic weights", missing()))
    }

    /// Draws tensor `name` around another offset.
    #[cfg(test)]
    pub(crate) fn set_offset(&mut self, name: &str, offset: f32) {
        self.0.get_mut(name).unwrap().offset = offset;
    }

    /// Fills tensor `name` with a number.
    #[cfg(test)]
    pub(crate) fn set_constant(&mut self, name: &str, value: f32) {
        self.set_offset(name, value);
        self.0.get_mut(name).unwrap().scale = 0.0;
    }

    /// Name and shape of all tensors.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let rules = self.0.iter();
        rules.map(|(name, rule)| (name.as_str(), rule.shape()))
    }
}

impl Rule {
    fn new(config: &ModelConfig, name: &str, shape: Vec<usize>) -> Self {
        // Uniform values in [-1, 1) have a variance of 1/3.
        let unit = f32::sqrt(3.0);
        let ends_with = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        let is_input = name.contains(".noises.")
            || ends_with(&[
                "query_style_tplane",
                "points_feature.weight",
                "constant_input.weight",
            ]);
        let is_factor = name.contains("condition_scale") && ends_with(&[".2.bias"])
            || ends_with(&["modulation.bias", "to_q_.0.weight", "to_k_.0.weight"]);

        let (scale, offset) = if is_input {
            (unit, 0.0)
        } else if is_factor {
            (0.1, 1.0)
        } else if name == "attn_module.scale" {
            (0.0, 1.0 / (config.plane_channels as f32).sqrt())
        } else if name == "nerf_mlp.density_layers.0.bias" {
            // Lets rays see further than their first sample.
            (0.0, -0.9)
        } else if shape.len() == 1 || ends_with(&[".bias"]) {
            (0.1, 0.0)
        } else {
            // Modulated convolutions are [1, out, in, …], other layers [out, in, …].
            let outer = if shape.len() == 5 { 2 } else { 1 };
            let inputs: usize = shape[outer..].iter().product();
            let scale = unit / (inputs as f32).sqrt();
            (scale * point_gain(config, name), 0.0)
        };
        Self {
            shape,
            scale,
            offset,
        }
    }

    fn parse(line: &str) -> Option<(&str, Self)> {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        let shape: Option<Vec<usize>> = fields.next()?.split('x').map(|d| d.parse().ok()).collect();
        let mut number = || fields.next()?.parse().ok();
        let (scale, offset): (f32, f32) = (number()?, number()?);
        let complete = fields.next().is_none() && (scale.abs() + offset.abs()).is_finite();
        let rule = Self {
            shape: shape?,
            scale,
            offset,
        };
        complete.then_some((name, rule))
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values of tensor `name`, row-major.
    pub(super) fn values(&self, seed: u64, name: &str) -> Vec<f32> {
        let values = uniform(seed, name).take(self.shape.iter().product());
        values.map(|u| self.offset + self.scale * u).collect()
    }
}

/// Gain of the last point layer. Where the neighbours' weights sum to one over a whole pass, the few
/// samples next to a point have most of it, and the others need a gain of about the inverse.
fn point_gain(config: &ModelConfig, name: &str) -> f32 {
    let global = config.point_weighting == PointWeighting::Released;
    if global && name.ends_with("point_layers.2.weight") {
        let samples = config.low_res_size.pow(2) * config.coarse_samples;
        samples as f32 / 100.0
    } else {
        1.0
    }
}

/// An endless sequence of multiples of 2⁻²³ in [-1, 1).
///
/// Number `i` (from 1) is the top 24 bits, scaled, of SplitMix64's finaliser of `FNV-1a(name) +
/// (seed + i)·φ`. It is written out because the golden data's Python has to draw the same numbers.
pub(crate) fn uniform(seed: u64, name: &str) -> impl Iterator<Item = f32> {
    let name_hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let start = name_hash.wrapping_add(seed.wrapping_mul(GOLDEN_RATIO));
    (1u64..).map(move |i| {
        let bits = split_mix(start.wrapping_add(i.wrapping_mul(GOLDEN_RATIO))) >> 40;
        bits as f32 / 8_388_608.0 - 1.0
    })
}

fn split_mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
