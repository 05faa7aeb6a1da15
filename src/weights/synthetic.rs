//! Deterministic weights for tests and measurements, made up on demand.

use std::collections::BTreeMap;

use crate::{Error, Result};

const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

/// How each tensor of [synthetic weights](crate::Weights::synthetic) is drawn: its shape, and the
/// `scale` and `offset` of its values `offset + scale·u`, `u` uniform in [-1, 1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyntheticRules(BTreeMap<String, Rule>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) shape: Vec<usize>,
    scale: f32,
    offset: f32,
}

impl SyntheticRules {
    /// Reads rules from tab-separated lines of name, shape (`16x3x1x1`), scale and offset, after a
    /// header line with these four words.
    ///
    /// # Errors
    /// [`Error::Format`] with the number of the first line that is not of this form.
    pub fn parse(table: &str) -> Result<Self> {
        let invalid = |line: usize, reason: String| {
            Error::format(
                "table of synthetic weights",
                "TSV",
                format!("line {line}: {reason}"),
            )
        };
        let mut lines = (1..).zip(table.lines());
        match lines.next() {
            Some((_, "name\tshape\tscale\toffset")) => {}
            other => {
                let found = other.map_or("nothing", |(_, line)| line);
                return Err(invalid(
                    1,
                    format!("expected the header name, shape, scale, offset, found {found}"),
                ));
            }
        }
        let mut rules = BTreeMap::new();
        for (number, line) in lines {
            let (name, rule) = Rule::parse(line).ok_or_else(|| {
                invalid(
                    number,
                    format!("expected name, shape, scale and offset, found {line}"),
                )
            })?;
            if rules.insert(name.to_owned(), rule).is_some() {
                return Err(invalid(number, format!("{name} is listed twice")));
            }
        }
        Ok(Self(rules))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Rule> {
        self.0.get(name)
    }
}

impl Rule {
    fn parse(line: &str) -> Option<(&str, Self)> {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        let shape: Option<Vec<usize>> = fields.next()?.split('x').map(|d| d.parse().ok()).collect();
        let mut number = || fields.next()?.parse().ok().filter(|x: &f32| x.is_finite());
        let (scale, offset) = (number()?, number()?);
        let rule = Self {
            shape: shape?,
            scale,
            offset,
        };
        fields.next().is_none().then_some((name, rule))
    }

    /// The values of tensor `name`, row-major.
    pub(super) fn values(&self, seed: u64, name: &str) -> Vec<f32> {
        let count = self.shape.iter().product();
        uniform(seed, name)
            .take(count)
            .map(|u| self.offset + self.scale * u)
            .collect()
    }
}

/// An endless sequence of numbers in [-1, 1), every one a multiple of 2⁻²³.
///
/// Number `i` (from 1) is SplitMix64's finaliser of `FNV-1a(name) + (seed + i)·φ`, its top 24 bits
/// scaled.
fn uniform(seed: u64, name: &str) -> impl Iterator<Item = f32> {
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
mod tests {
    use super::*;

    #[test]
    fn generator_matches_the_known_sequence() {
        let values: Vec<f32> = uniform(7, "a.weight").take(4).collect();
        assert_eq!(values, [0.664047, 0.65289223, 0.13270187, -0.21251774]);
    }
}
