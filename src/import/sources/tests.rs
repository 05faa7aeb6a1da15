use super::super::archive::tests::stored;
use super::*;
use crate::error::refused;

/// A file whose pictures are a tensor of this shape, of an empty storage.
fn file(shape: [u64; 4]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}U\x0Dfeature_imagectorch._utils\n_rebuild_tensor_v2\n".to_vec();
    pickle.extend(b"((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x00tQK\x00");
    for _shape_and_strides in 0..2 {
        pickle.push(b'(');
        for size in shape {
            pickle.extend(b"\x8A\x08");
            pickle.extend(size.to_le_bytes());
        }
        pickle.push(b't');
    }
    pickle.extend(b"\x89}tRs.");
    stored(&[("a/data.pkl", &pickle), ("a/data/0", &[])])
}

#[test]
fn pictures_that_are_not_there_are_refused() {
    let any = "expected shape [any, 3, any, any]";
    let found = format!("{any}, found [0, 3, 2, 2]");
    for (shape, reason) in [
        ([1, 3, 2, 2], "feature_image: 0 bytes do not hold"),
        ([0, 3, 2, 2], &*found),
        ([0, 3, 1 << 62, 1 << 62], any),
        ([1 << 62, 3, 0, 1 << 62], any),
        ([1, 4, 2, 2], "feature_image: 0 bytes do not hold"),
    ] {
        let error = refused!(Sources::from_bytes("test", &file(shape)), Format);
        assert!(error.contains(reason), "{error}");
    }
}
