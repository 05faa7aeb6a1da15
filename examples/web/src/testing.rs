//! Functions for the tests.

use gpavatar::reference::golden::Case;
use gpavatar::reference::parity;
use gpavatar::reference::{track_fits, track_parity};
use gpavatar::track::{Net, NetFiles, Picture, Region};
use gpavatar::{AdapterKind, Error, FloatFormat, Gpu, GpuOptions, SourceImage, TensorFile};
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::error::{Result, js};
use crate::{Model, Tracker};

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
    result(&table, table.failures())
}

/// Compares the tracker's networks with golden data: their scalar twins, or the kernels on the model's
/// device. The result is as that of [`compare`].
#[wasm_bindgen(js_name = compareNet)]
pub async fn compare_net(
    model: &Model,
    task: Vec<u8>,
    segmentation: Vec<u8>,
    case: Vec<u8>,
    twin: bool,
) -> Result<Object> {
    let files = NetFiles::from_bytes(&task, Some(&segmentation)).map_err(js)?;
    let case = TensorFile::from_bytes("case", case).map_err(js)?;
    let gpu = (!twin).then(|| model.0.gpu());
    let table = track_parity::table(&files, &case, gpu).await.map_err(js)?;
    result(&table, table.failures())
}

/// Compares what is found in pictures, PNG files by their name, with golden data.
#[wasm_bindgen(js_name = comparePictures)]
pub async fn compare_pictures(
    model: &Model,
    task: Vec<u8>,
    segmentation: Vec<u8>,
    case: Vec<u8>,
    pictures: &Object,
) -> Result<Object> {
    let files = NetFiles::from_bytes(&task, Some(&segmentation)).map_err(js)?;
    let case = TensorFile::from_bytes("case", case).map_err(js)?;
    let open = |name: &str| {
        let bytes = Reflect::get(pictures, &name.into()).unwrap_or_default();
        let bytes = bytes
            .dyn_into::<Uint8Array>()
            .map_err(|_| Error::Argument {
                what: format!("picture {name}"),
                expected: "bytes".into(),
                found: "none".into(),
            })?;
        SourceImage::from_bytes(&bytes.to_vec())
    };
    let gpu = Some(model.0.gpu());
    let table = track_parity::pictures(&files, &case, open, gpu).await;
    let table = table.map_err(js)?;
    result(&table, table.failures())
}

/// Fits the model's head to golden landmarks.
#[wasm_bindgen(js_name = compareFits)]
pub fn compare_fits(model: &Model, case: Vec<u8>) -> Result<Object> {
    let case = TensorFile::from_bytes("case", case).map_err(js)?;
    let Some(head) = model.0.head() else {
        return Err(crate::error::new("argument", "the model has no head"));
    };
    let fits = track_fits::fits(&case, head).map_err(js)?;
    result(&fits, fits.failures())
}

/// Runs one of a tracker's networks on grey pixels, to be timed.
#[wasm_bindgen(js_name = runNet)]
pub async fn run_net(tracker: &Tracker, net: String) -> Result<()> {
    let net = match net.as_str() {
        "detector" => Net::Detector,
        "landmarks" => Net::Landmarks,
        _ => Net::Segmentation,
    };
    let nets = tracker.nets();
    let picture = Picture::new(nets.gpu(), 256, 256, &[128; 4 * 256 * 256]).map_err(js)?;
    let region = Region::whole(256, 256);
    nets.run(net, &picture, &region).await.map_err(js)?;
    Ok(())
}

fn result(table: &dyn std::fmt::Display, failures: usize) -> Result<Object> {
    let result = Object::new();
    for (key, value) in [
        ("table", JsValue::from(table.to_string())),
        ("failures", JsValue::from(failures as u32)),
    ] {
        Reflect::set(&result, &key.into(), &value)?;
    }
    Ok(result)
}

/// A weights file of a made-up network that renders in milliseconds on any adapter.
#[wasm_bindgen(js_name = smallWeights)]
pub fn small_weights() -> Result<Vec<u8>> {
    let weights = gpavatar::stand_in().map_err(js)?;
    let writer = weights.writer(FloatFormat::F32).map_err(js)?;
    writer.into_bytes().map_err(js)
}
