use std::collections::BTreeMap;

use super::*;
use crate::head::tests::tiny_parts;
use crate::weights::{FloatFormat, TensorWriter};

#[test]
fn flame_columns_are_chosen_by_metadata_or_count() {
    let columns_of = |count: usize, metadata: &[(&str, &str)]| {
        let metadata = metadata
            .iter()
            .map(|&(key, value)| (key.into(), value.into()));
        let writer = TensorWriter::new(metadata.collect());
        let file = TensorFile::from_bytes("test", writer.into_bytes().unwrap()).unwrap();
        let (options, expressions) = said_by(&file, &HeadOptions::default())?;
        divide(count, &options, expressions)
    };
    assert_eq!(columns_of(400, &[]).unwrap(), (0..100, 300..350));
    assert_eq!(columns_of(150, &[]).unwrap(), (0..100, 100..150));
    let told = columns_of(150, &[("n_shape", "120")]).unwrap();
    assert_eq!(told, (0..100, 120..150));
    let both = [("n_shape", "20"), ("n_expression", "30")];
    assert_eq!(columns_of(60, &both).unwrap(), (0..20, 20..50));
    for (count, metadata) in [
        (151, &[][..]),
        (150, &[("n_shape", "151")]),
        (150, &[("n_shape", "many")]),
        (49, &both),
    ] {
        columns_of(count, metadata).unwrap_err();
    }
}

#[test]
fn correctives_are_read_in_both_of_flames_layouts() {
    let (vertices, count) = (2, 9);
    // Value 100 · direction + 10 · vertex + axis, in [9, 3V] and in [V, 3, 9].
    let flat: Vec<f32> = (0..count)
        .flat_map(|d| (0..vertices).flat_map(move |v| (0..3).map(move |a| (d, v, a))))
        .map(|(d, v, a)| (100 * d + 10 * v + a) as f32)
        .collect();
    let deep: Vec<f32> = (0..vertices)
        .flat_map(|v| (0..3).flat_map(move |a| (0..count).map(move |d| (d, v, a))))
        .map(|(d, v, a)| (100 * d + 10 * v + a) as f32)
        .collect();
    let expected = flat.as_chunks().0;
    assert_eq!(columns(&deep, count, 0..count), expected);

    let parts = tiny_parts();
    for (shape, values) in [(&[9, 6][..], &flat), (&[2, 3, 9], &deep)] {
        let mut writer = TensorWriter::new(BTreeMap::new());
        for (name, shape, values) in [
            ("v_template", &[2, 3][..], parts.template.as_flattened()),
            ("shapedirs", &[2, 3, 150], &[0.0; 2 * 3 * 150]),
            ("posedirs", shape, values),
            ("J_regressor", &[2, 2], &parts.joint_regressor),
            ("lbs_weights", &[2, 2], &parts.skinning_weights),
        ] {
            writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
        }
        writer.ints("parents", &[2], &[-1, 0]);
        let signed = writer.into_bytes().unwrap();
        // -1 and the largest unsigned integer are the same bytes.
        let mut unsigned = signed.clone();
        let i32 = unsigned.windows(3).position(|name| name == b"I32").unwrap();
        unsigned[i32] = b'U';
        for bytes in [signed, unsigned] {
            let head = head_model_from_bytes("test", bytes, &HeadOptions::default()).unwrap();
            assert_eq!(head.parts().pose_basis, expected);
            assert_eq!(head.parts().parents, [-1, 0]);
            assert_eq!(head.parts().scale, 5.0);
        }
    }
}

#[test]
fn a_flame_file_without_vertices_is_refused_whatever_else_it_claims() {
    let many = usize::MAX / 4;
    let metadata = [("n_shape", many), ("n_expression", many)];
    let metadata = metadata.map(|(key, count)| (key.into(), count.to_string()));
    let mut writer = TensorWriter::new(metadata.into());
    for (name, shape) in [
        ("v_template", &[0, 3][..]),
        ("shapedirs", &[0, 3, usize::MAX]),
        ("J_regressor", &[0, 0]),
        ("lbs_weights", &[0, 0]),
    ] {
        writer.floats(name, shape, FloatFormat::F32, || Ok(vec![].into()));
    }
    writer.ints("parents", &[0], &[]);
    let file = writer.into_bytes().unwrap();
    let error = head_model_from_bytes("test", file, &HeadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let reason = "v_template: expected at least one vertex, found none";
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn a_head_model_file_is_not_mistaken_for_a_flame_file() {
    let mut writer = TensorWriter::new(BTreeMap::new());
    let vertex = || Ok(vec![0.0; 3].into());
    writer.floats("v_template", &[1, 3], FloatFormat::F32, vertex);
    let error = HeadModel::from_safetensors(writer.into_bytes().unwrap()).unwrap_err();
    assert!(error.to_string().contains("import::head_model"), "{error}");
}
