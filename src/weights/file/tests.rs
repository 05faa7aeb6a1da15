use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::refused;
use crate::file::Scratch;
use crate::weights::{FloatFormat, TensorWriter};

/// A file with this header, and this many zero bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), header.as_bytes(), &vec![0; data]].concat()
}

fn tensor(dtype: &str, shape: &[u64], start: u64, end: u64) -> serde_json::Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})
}

fn example() -> Vec<u8> {
    let mut writer = TensorWriter::new([("key".into(), "value".into())].into());
    writer.floats("a", &[2], FloatFormat::F32, || Ok(vec![1.0, 2.0].into()));
    let three = || Ok(vec![1.0, 2.0, 3.0].into());
    writer.floats("b", &[3], FloatFormat::F16, three);
    writer.into_bytes().unwrap()
}

#[track_caller]
fn refused(bytes: Vec<u8>) -> String {
    refused!(TensorFile::from_bytes("test", bytes), Format)
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let whole = example();
    for length in 0..whole.len() {
        refused(whole[..length].to_vec());
    }
    refused([whole, vec![0]].concat());
}

#[test]
fn headers_that_lie_are_refused() {
    refused(u64::MAX.to_le_bytes().to_vec());
    refused([u64::MAX.to_le_bytes(), [b'{'; 8]].concat());
    let two = |a, b| file(&json!({"a": a, "b": b}).to_string(), 16);
    let fits = two(tensor("F32", &[2], 0, 8), tensor("F32", &[2], 8, 16));
    assert!(TensorFile::from_bytes("test", fits).is_ok());
    refused(two(tensor("F32", &[2], 0, 8), tensor("F32", &[1], 12, 16)));
    refused(two(tensor("F32", &[3], 0, 12), tensor("F32", &[2], 8, 16)));
    refused(two(tensor("F32", &[2], 0, 8), tensor("F32", &[3], 8, 16)));
    refused(two(tensor("F32", &[2], 0, 8), tensor("F32", &[3], 8, 20)));
    refused(two(tensor("F32", &[2], 8, 0), tensor("F32", &[2], 8, 16)));
    refused(two(tensor("F99", &[2], 0, 8), tensor("F32", &[2], 8, 16)));
    refused(file("{}", 1));
    refused(file("\u{0}", 0));
    refused(file(&"[".repeat(100_000), 0));
}

#[test]
fn sizes_beyond_the_address_space_are_refused_without_overflow() {
    let huge = 1 << 62;
    let header = json!({"a": tensor("F32", &[huge, huge], 0, 8)});
    refused(file(&header.to_string(), 8));
    // Each of these is possible, their sum is the end of the address space.
    let size = (1 << 61) - 1;
    let large = |i| tensor("U8", &[size], i * size, (i + 1) * size);
    let header: serde_json::Map<_, _> = (0..8).map(|i| (i.to_string(), large(i))).collect();
    let error = refused(file(&json!(header).to_string(), 8));
    assert!(error.contains(&(8 * size).to_string()), "{error}");
}

#[test]
fn unaligned_values_are_decoded() {
    // One of two neighbouring header lengths leaves the data unaligned.
    for padding in ["", " "] {
        let header = json!({"a": tensor("F32", &[2], 0, 8)}).to_string() + padding;
        let mut bytes = file(&header, 0);
        bytes.extend([1.5f32, -2.0].map(f32::to_le_bytes).as_flattened());
        let file = TensorFile::from_bytes("test", bytes).unwrap();
        assert_eq!(file.f32("a").unwrap(), [1.5, -2.0].as_slice());
    }
}

#[test]
fn floats_and_integers_of_every_type_are_decoded() {
    let floats = [1.5f32, -0.25];
    let types = [
        (
            "F16",
            floats.map(|x| f16::from_f32(x).to_le_bytes()).concat(),
        ),
        (
            "BF16",
            floats.map(|x| bf16::from_f32(x).to_le_bytes()).concat(),
        ),
        ("F32", floats.map(f32::to_le_bytes).concat()),
        ("F64", floats.map(|x| f64::from(x).to_le_bytes()).concat()),
        ("U8", vec![7, 9]),
        ("I32", [7i32, 9].map(i32::to_le_bytes).concat()),
        ("U32", [7u32, 9].map(u32::to_le_bytes).concat()),
        ("I64", [7i64, 9].map(i64::to_le_bytes).concat()),
        ("BOOL", vec![0, 1]),
    ];
    let (mut tensors, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, bytes) in &types {
        let start = data.len() as u64;
        data.extend(bytes);
        tensors.insert((*name).into(), tensor(name, &[2], start, data.len() as u64));
    }
    let bytes = [file(&json!(tensors).to_string(), 0), data].concat();
    let file = TensorFile::from_bytes("test", bytes).unwrap();

    for (name, _) in types {
        if FLOATS.contains(name) {
            assert_eq!(file.f32(name).unwrap(), floats.as_slice(), "{name}");
        } else {
            refused!(file.f32(name), Tensors);
        }
        if INTEGERS.contains(name) {
            assert_eq!(file.i64(name).unwrap(), [7, 9].as_slice(), "{name}");
        } else {
            refused!(file.i64(name), Tensors);
        }
        if name == "U8" {
            assert_eq!(file.u8(name).unwrap(), [7, 9], "{name}");
        } else {
            refused!(file.u8(name), Tensors);
        }
    }
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let file = TensorFile::from_bytes("test", example()).unwrap();
    assert!(file.contains("a") && !file.contains("absent"));
    assert_eq!(file.expect_shape("a", [None]).unwrap(), [2]);
    assert_eq!(file.expect_shape("b", [Some(3)]).unwrap(), [3]);
    let three = file.expect_shape("a", [Some(3)]).err();
    let two = file.expect_shape("a", [Some(2), None]).err();
    let absent = file.expect_shape("absent", [Some(3)]).err();
    let values = file.f32("absent").err();
    for (error, expected) in [
        (three, "a: expected shape [3], found [2]"),
        (two, "a: expected shape [2, any], found [2]"),
        (absent, "absent: expected shape [3], found nothing"),
        (values, "absent: expected a tensor, found nothing"),
    ] {
        let Some(Error::Tensors { what, problems }) = error else {
            panic!("{expected}: {error:?}");
        };
        assert_eq!((&*what, &*problems), ("test", &[expected.to_owned()][..]));
    }
}

#[test]
fn the_first_value_that_is_not_finite_is_found() {
    let count = 10_000;
    for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
        let infinity = f32::INFINITY;
        for (wrong, value) in [(0, f32::NAN), (4095, infinity), (9_999, -infinity)] {
            let mut values = vec![-1.0; count];
            values[wrong..].fill(value);
            let mut writer = TensorWriter::new(BTreeMap::new());
            writer.floats("t", &[count], format, || Ok(values.into()));
            writer.floats("finite", &[1], format, || Ok(vec![0.0].into()));
            let file = TensorFile::from_bytes("test", writer.into_bytes().unwrap()).unwrap();
            let problem = file.float_problem("t").unwrap();
            let place = format!("at element {wrong}");
            assert!(problem.ends_with(&place), "{problem}");
            assert_eq!(file.float_problem("finite"), None);
        }
    }
}

#[test]
fn a_number_too_large_for_32_bits_is_not_finite() {
    let mut bytes = file(&json!({"t": tensor("F64", &[2], 0, 16)}).to_string(), 0);
    let values = [f64::from(f32::MAX), 1e39].map(f64::to_le_bytes);
    bytes.extend(values.as_flattened());
    let file = TensorFile::from_bytes("test", bytes).unwrap();
    assert_eq!(file.f32("t").unwrap(), [f32::MAX, f32::INFINITY].as_slice());
    let problem = file.float_problem("t").unwrap();
    assert!(problem.ends_with("at element 1"), "{problem}");
}

#[test]
fn files_that_cannot_be_opened_or_are_empty_are_errors() {
    refused!(TensorFile::open("no such directory/file.safetensors"), Io);
    refused!(TensorFile::open(std::env::temp_dir()), Io);
    let scratch = Scratch::new("tensors-empty");
    let path = scratch.path("file.safetensors");
    std::fs::write(&path, []).unwrap();
    refused!(TensorFile::open(&path), Format);
}

proptest! {
    #[test]
    fn damage_never_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = example();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(file) = TensorFile::from_bytes("test", bytes) {
            for (name, shape) in file.shapes() {
                if let Ok(values) = file.f32(name) {
                    prop_assert_eq!(values.len(), shape.iter().product::<usize>());
                }
            }
        }
    }
}
