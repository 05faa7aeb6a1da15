use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;

use super::*;
use crate::error::refused;
use crate::head::HeadModelParts;

/// A `.npy` file.
fn npy(code: &str, shape: &str, data: Vec<u8>) -> Vec<u8> {
    let header = format!("{{'descr': '{code}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

fn npz(landmarks: [i64; 2], faces: [i64; 2], weights: [f64; 6]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let bytes = |values: &[i64]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    for (name, file) in [
        ("landmark_indices", npy("<i8", "(2,)", bytes(&landmarks))),
        ("lmk_face_idx", npy("<i8", "(2,)", bytes(&faces))),
        (
            "lmk_b_coords",
            npy(
                "<f8",
                "(2, 3)",
                weights.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
        ),
    ] {
        archive
            .start_file(format!("{name}.npy"), SimpleFileOptions::default())
            .unwrap();
        archive.write_all(&file).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn head() -> HeadModel {
    HeadModel::new(HeadModelParts {
        template: vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        scale: 5.0,
        ..Default::default()
    })
    .unwrap()
}

const TRIANGLES: [[u32; 3]; 2] = [[0, 1, 2], [1, 3, 2]];
const WEIGHTS: [f64; 6] = [0.5, 0.25, 0.25, 0.0, 1.0, 0.0];

#[test]
fn the_file_of_flame_is_read() {
    let bytes = npz([263, 4], [1, 0], WEIGHTS);
    let embedding = Embedding::mediapipe("it", bytes.clone(), &head(), &TRIANGLES).unwrap();
    let [first, second] = embedding.points() else {
        panic!("{embedding:?}");
    };
    assert_eq!(
        (&first.landmarks[..], first.vertices),
        (&[263][..], [1, 3, 2, 1])
    );
    assert_eq!(first.weights, [0.5, 0.25, 0.25, 0.0]);
    assert_eq!((second.normal, second.sigma), (Vec3::Z, 2.0));
    assert_eq!(embedding.rest(&head()).unwrap()[1], DVec3::X * 5.0);
    for end in (0..bytes.len()).step_by(7) {
        assert!(Embedding::mediapipe("it", bytes[..end].to_vec(), &head(), &TRIANGLES).is_err());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let read = |bytes: Vec<u8>| Embedding::mediapipe("it", bytes, &head(), &TRIANGLES);
    let found = refused!(read(npz([263, 4], [1, 2], WEIGHTS)), Format);
    assert!(found.contains("triangles below 2"), "{found}");
    refused!(read(npz([263, 4], [1, -1], WEIGHTS)), Format);
    refused!(read(npz([-1, 4], [1, 0], WEIGHTS)), Format);
    refused!(read(npz([478, 4], [1, 0], WEIGHTS)), Tensors);
    refused!(read(npz([263, 4], [1, 0], [f64::NAN; 6])), Tensors);
    for (bytes, expected) in [(b"PK\x05\x06".to_vec(), "zip"), (b"{}".to_vec(), "JSON")] {
        let found = refused!(read(bytes), Format);
        assert!(found.contains(expected), "{found}");
    }
    let wrong = Embedding::mediapipe("it", npz([263, 4], [1, 0], WEIGHTS), &head(), &[[0, 1, 9]]);
    refused!(wrong, Argument);
}
