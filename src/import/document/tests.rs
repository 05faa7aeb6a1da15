use safetensors::Dtype;

use super::*;

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::F64)
}

/// Each of the tensors counts up, in eighths if they are floats.
#[test]
fn tensors_of_every_type_and_layout_are_read() {
    let files: [(&[u8], usize); 3] = [
        (include_bytes!("../../../tests/fixtures/values_1.13.pt"), 23),
        (include_bytes!("../../../tests/fixtures/values_2.6.pt"), 26),
        (include_bytes!("../../../tests/fixtures/big_endian.pt"), 5),
    ];
    for (bytes, count) in files {
        let document = Document::parse(bytes).unwrap();
        let entries: Vec<_> = document.root().entries().unwrap().collect();
        assert_eq!(entries.len(), count);
        for (name, node) in entries {
            let name = name.text().unwrap();
            let array = document.array(node).unwrap().unwrap();
            let step = match (name, is_float(array.dtype())) {
                ("expanded", _) => 0.0,
                (_, true) => 0.125,
                (_, false) => 1.0,
            };
            let expected: Vec<f64> = (0..array.len()).map(|i| i as f64 * step).collect();
            assert_eq!(array.f64().unwrap(), expected, "{name}");
            let single: Vec<f32> = expected.iter().map(|&value| value as f32).collect();
            assert_eq!(array.f32().unwrap(), single, "{name}");
            match array.i64() {
                Ok(integers) => {
                    let expected: Vec<i64> = expected.iter().map(|&v| v as i64).collect();
                    assert_eq!(integers, expected, "{name}");
                }
                Err(reason) => assert!(is_float(array.dtype()), "{name}: {reason}"),
            }
            assert_eq!(array.into_f32().unwrap(), single, "{name}");
        }
    }
}

/// A list that holds the same list over and over, and so on: few bytes, many numbers.
#[test]
fn lists_that_unfold_to_more_than_their_file_are_no_arrays() {
    let mut bytes = b"\x80\x02]K\x01a".to_vec();
    for level in 0..6 {
        bytes.extend([b'q', level, b'0', b']', b'(']);
        bytes.extend([b'h', level].repeat(100));
        bytes.push(b'e');
    }
    bytes.push(b'.');
    let document = Document::parse(&bytes).unwrap();
    assert!(document.array(document.root()).unwrap().is_none());
}

#[test]
fn nested_lists_are_arrays_if_they_are_rectangular() {
    let array = |pickle: &[u8]| {
        let document = Document::parse(pickle).unwrap();
        let array = document.array(document.root()).unwrap();
        array.map(|array| (array.shape().to_vec(), array.f64().unwrap()))
    };
    let rectangular = array(b"\x80\x02](](K\x01K\x02e](K\x03K\x04ee.");
    assert_eq!(rectangular, Some((vec![2, 2], vec![1.0, 2.0, 3.0, 4.0])));
    for other in [
        &b"\x80\x02](](K\x01K\x02e](K\x03ee."[..],
        b"\x80\x02](](K\x01K\x02eK\x03e.",
        b"\x80\x02](K\x01](K\x03ee.",
        b"\x80\x02](K\x01U\x01ae.",
    ] {
        assert_eq!(array(other), None);
    }
}
