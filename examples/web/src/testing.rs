//! What only tests ask for.

#[path = "../../../tests/common/mod.rs"]
mod golden;

use gpavatar::{AdapterKind, Gpu, GpuOptions, TensorFile};
use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::{Result, js};
use golden::{Case, parity};

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
