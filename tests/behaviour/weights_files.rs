//! Weights in files.

use std::collections::BTreeMap;

use gpavatar::{FloatFormat, Model, TensorWriter, Weights};

use crate::common::refused;
use crate::common::tiny::{self, Picture, gpu, weights_file};

#[test]
fn weights_survive_their_files() {
    let weights = tiny::weights(&tiny::config());
    let writer = weights.writer(FloatFormat::F16).unwrap();
    let half = Weights::from_bytes(writer.into_bytes().unwrap()).unwrap();
    let half = Model::new(gpu(), half).unwrap();
    let expected = Picture::render(&tiny::avatar(&tiny::model()), &tiny::drive());
    let found = Picture::render(&tiny::avatar(&half), &tiny::drive());
    let difference = found.distance(&expected);
    // Eleven bits for each weight, through two networks and a steep field.
    assert!(difference > 0.0 && difference < 0.05, "{difference}");
}

#[test]
fn weights_with_tensors_that_do_not_fit() {
    let bias = "nerf_mlp.feature_layers.0.bias";
    let floats = |name: &'static str, values: Vec<f32>| {
        weights_file(|writer| {
            let shape = [values.len()];
            writer.floats(name, &shape, FloatFormat::F32, || Ok(values.into()));
        })
    };
    let parts = ["weights in memory: 1 tensor problem", bias];
    let missing = weights_file(|writer| writer.retain(|name| name != bias));
    let integers = weights_file(|writer| writer.ints(bias, &[24], &[0; 24]));
    let short = floats(bias, vec![0.0; 23]);
    let nan = floats(bias, vec![f32::NAN; 24]);
    let infinity = floats(bias, [vec![0.0; 23], vec![f32::INFINITY]].concat());
    for (bytes, found) in [
        (missing, "expected shape [24], found nothing"),
        (short, "expected shape [24], found [23]"),
        (integers, "found I32"),
        (nan, "found NaN or infinity at element 0"),
        (infinity, "infinity at element 23"),
    ] {
        let message = refused::tensors(Weights::from_bytes(bytes), &parts);
        assert!(message.contains(found), "no {found:?} in: {message}");
    }
    let extra = floats("nerf_mlp.surprise", vec![1.0]);
    let problem = "nerf_mlp.surprise: expected no such tensor, found shape [1]";
    refused::tensors(Weights::from_bytes(extra), &[problem]);
}

#[test]
fn weights_files_that_are_cut_or_lie() {
    let good = weights_file(|_| {});
    assert!(Weights::from_bytes(good.clone()).is_ok());
    let name = "weights in memory";
    for length in [0, 7, 8, 100, good.len() / 2, good.len() - 1] {
        let result = Weights::from_bytes(good[..length].to_vec());
        refused::format(result, &[name, "safetensors file"]);
    }
    refused::format(Weights::from_bytes([&good[..], &[0]].concat()), &[name]);

    let header_length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let (header, data) = good[8..].split_at(header_length);
    let with_header = |header: &str| {
        let length = (header.len() as u64).to_le_bytes();
        [&length, header.as_bytes(), data].concat()
    };
    let header = str::from_utf8(header).unwrap();
    let lies = [
        with_header(&header.replacen("\"data_offsets\":[", "\"data_offsets\":[9", 1)),
        with_header(&header.replacen("\"shape\":[", "\"shape\":[2,", 1)),
        with_header(&header.replacen("\"dtype\":\"F32\"", "\"dtype\":\"F16\"", 1)),
        with_header(&header.replacen("\"dtype\":\"F32\"", "\"dtype\":\"X99\"", 1)),
        [&u64::MAX.to_le_bytes(), &good[8..]].concat(),
    ];
    for bytes in lies {
        assert_ne!(bytes, good);
        refused::format(Weights::from_bytes(bytes), &[name, "safetensors file"]);
    }
    let unconfigured = TensorWriter::new(BTreeMap::new()).into_bytes().unwrap();
    let result = Weights::from_bytes(unconfigured);
    refused::format(result, &[name, "no entry \"config\""]);
    let other = weights_file(|writer| writer.metadata("config", "{\"neighbours\": 9}"));
    let result = Weights::from_bytes(other);
    refused::config(result, &["neighbours: expected 1..=8, found 9"]);
}
