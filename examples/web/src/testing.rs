//! Functions for the tests.

use gpavatar::reference::golden::Case;
use gpavatar::reference::parity;
use gpavatar::{
    AdapterKind, FloatFormat, Gpu, GpuOptions, ModelConfig, SyntheticRules, TensorFile, Weights,
};
use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::Model;
use crate::error::{Result, js};

/// Runs a golden case in memory full of NaN, with the rules of its made-up weights, and returns an
/// object with `table` (text) and `failures` (how many tensors are past their tolerance).
#[wasm_bindgen]
pub async fn compare(case: Vec<u8>, rules: String, software: bool) -> Result<Object> {
    let options = GpuOptions {
        kernels: Some(if software {
            AdapterKind::Cpu
        } else {
            AdapterKind::Gpu
        }),
        poison: true,
        ..GpuOptions::default()
    };
    let gpu = Gpu::request(&options).await.map_err(js)?;
    let case = TensorFile::from_bytes("case", case).map_err(js)?;
    let case = Case::parse(case, &rules).map_err(js)?;
    let table = parity::compare(&gpu, case).await.map_err(js)?;
    let result = Object::new();
    for (key, value) in [
        ("table", JsValue::from(table.to_string())),
        ("failures", JsValue::from(table.failures() as u32)),
    ] {
        Reflect::set(&result, &key.into(), &value)?;
    }
    Ok(result)
}

/// A weights file with the model's head, and a made-up network that renders in milliseconds on any
/// adapter.
#[wasm_bindgen(js_name = smallWeights)]
pub fn small_weights(model: &Model) -> Result<Vec<u8>> {
    let config = ModelConfig {
        source_size: 8,
        plane_size: 8,
        coarse_samples: 4,
        fine_samples: 4,
        low_res_size: 4,
        output_size: 8,
        ..model.0.config().clone()
    };
    let rules = SyntheticRules::new(&config).map_err(js)?;
    let weights = Weights::synthetic(config, 1, rules).map_err(js)?;
    let mut writer = weights.writer(FloatFormat::F32).map_err(js)?;
    if let Some(head) = model.0.head() {
        head.embed(&mut writer, FloatFormat::F32);
    }
    writer.into_bytes().map_err(js)
}
