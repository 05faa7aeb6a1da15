//! What the examples run on when they are given nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gpavatar::{HeadModel, ModelConfig, Result, SyntheticRules, Weights};

const WEIGHTS: &str = "weights/demo.safetensors";
const HEAD: &str = "tests/golden/head_model_512.safetensors";

/// A network with its head model, or a stand-in until there is a trained one.
pub struct Demo {
    pub weights: Weights,
    pub head: HeadModel,
    /// What to tell about it.
    pub notice: &'static str,
}

impl Demo {
    /// The weights file that ships with the crate.
    pub fn path() -> PathBuf {
        file(WEIGHTS)
    }

    pub fn open() -> Result<Self> {
        let path = Self::path();
        if path.exists() {
            return Ok(Self {
                head: HeadModel::open(&path)?,
                weights: Weights::open(path)?,
                notice: "the network that ships with the crate",
            });
        }
        let config = small();
        let rules = SyntheticRules::new(&config)?;
        Ok(Self {
            weights: Weights::synthetic(config, 1, rules)?,
            head: HeadModel::open(file(HEAD))?,
            notice: "a small network with made-up weights: its pictures show that everything \
                     runs, not a face",
        })
    }

    /// A picture to build an avatar from.
    pub fn source() -> PathBuf {
        file("tests/golden/source_0.png")
    }

    /// Two seconds of moving head and camera.
    pub fn motion() -> PathBuf {
        file("weights/motions/look_around.json")
    }
}

/// A file of this repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Sizes at which a software adapter renders several frames a second.
fn small() -> ModelConfig {
    let channels = |widths: &[u32]| -> BTreeMap<u32, u32> {
        (2..)
            .map(|log| 1 << log)
            .zip(widths.iter().copied())
            .collect()
    };
    ModelConfig {
        source_size: 128,
        plane_size: 64,
        plane_channels: 16,
        points: 512,
        point_feature: 16,
        point_hidden: 32,
        point_output: 16,
        feature_hidden: 64,
        rgb_hidden: 32,
        coarse_samples: 16,
        fine_samples: 16,
        low_res_size: 32,
        low_res_channels: 16,
        output_size: 128,
        style_size: 64,
        style_layers: 4,
        encoder_channels: channels(&[32, 32, 32, 32, 16, 8]),
        super_resolver_channels: channels(&[32, 32, 32, 32, 16, 8]),
        encoder_decoder_channels: channels(&[64, 64, 64, 32, 32]),
        super_resolver_decoder_channels: channels(&[64, 64, 64, 32, 32, 16]),
        ..ModelConfig::default()
    }
}
