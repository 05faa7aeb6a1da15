use super::*;

fn npy(bytes: &[u8]) -> Result<Array<'_>, String> {
    super::npy(bytes, &Budget::of(bytes.len()))
}

fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length = header.len() as u32;
    let length = &length.to_le_bytes()[..if version == 1 { 2 } else { 4 }];
    [MAGIC, &[version, 0], length, header.as_bytes(), data].concat()
}

#[test]
fn npy_files_of_every_version_and_order_are_read() {
    let data = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(f32::to_be_bytes);
    let data = data.as_flattened();
    for version in 1..=3 {
        let header = "{'descr': '>f4', 'fortran_order': True, 'shape': (2L, 3L), }   \n";
        let bytes = file(version, header, data);
        let array = npy(&bytes).unwrap();
        assert_eq!(array.shape(), [2, 3]);
        assert_eq!(array.f32().unwrap(), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }
    let header = "{'shape': (), 'fortran_order': False, 'descr': '|u1'}";
    let bytes = file(1, header, &[7]);
    assert_eq!(npy(&bytes).unwrap().i64(), Ok(vec![7]));
}

#[test]
fn npy_files_that_lie_are_refused() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    assert!(npy(&file(1, good, &[0; 8])).is_ok());
    let refused = |bytes: &[u8]| npy(bytes).unwrap_err();
    assert!(refused(&file(1, good, &[0; 7])).contains("7 bytes do not hold"));
    assert!(refused(b"").contains("expected a .npy file"));
    assert!(refused(b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF{").contains("expected a .npy file"));
    for (part, other) in [
        ("(2,)", "(2,"),
        ("(2,)", "(-2,)"),
        ("(2,)", "(99999999999999999999,)"),
        ("(2,)", "(4294967296, 4294967296, 4294967296)"),
        ("'<f4'", "'<c8'"),
        ("'<f4'", "[('a', '<f4')]"),
        ("'<f4'", "'éf4'"),
        ("'<f4'", "''"),
        ("'<f4'", "'|O'"),
        ("descr", "desc"),
    ] {
        refused(&file(1, &good.replace(part, other), &[0; 8]));
    }
    refused(&file(1, &"[".repeat(60_000), &[]));
}

fn integers(values: &[i64]) -> Array<'static> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let layout = StridedLayout::dense(Dtype::I64, vec![values.len()], false).unwrap();
    Array::new(layout, bytes.into()).unwrap()
}

#[test]
fn sparse_matrices_unfold_by_columns_and_by_rows() {
    let unfolded = |shape: &[usize], by_columns, indices: &[i64], indptr: &[i64]| {
        let data = Array::from_f64(vec![4], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let parts = [data, integers(indices), integers(indptr)];
        unfold(shape, by_columns, &parts, &Budget::of(0)).and_then(|array| array.f64())
    };
    // The last element is listed twice.
    let rows = unfolded(&[2, 3], false, &[0, 2, 1, 1], &[0, 2, 4]);
    assert_eq!(rows, Ok(vec![1.0, 0.0, 2.0, 0.0, 7.0, 0.0]));
    let columns = unfolded(&[3, 2], true, &[0, 2, 1, 1], &[0, 2, 4]);
    assert_eq!(columns, Ok(vec![1.0, 0.0, 0.0, 7.0, 2.0, 0.0]));
    for (shape, indices, indptr) in [
        (&[2, 3][..], &[0, 2, 1, 3][..], &[0, 2, 4][..]),
        (&[2, 3], &[0, 2, 1, -1], &[0, 2, 4]),
        (&[2, 3], &[0, 2, 1], &[0, 2, 3]),
        (&[2, 3], &[0, 2, 1, 1], &[0, 2, 5]),
        (&[2, 3], &[0, 2, 1, 1], &[0, 3, 2]),
        (&[2, 3], &[0, 2, 1, 1], &[0, 4]),
        (&[1 << 40, 1 << 40], &[0, 2, 1, 1], &[0, 4]),
        (&[1 << 20, 2], &[0, 2, 1, 1], &[0, 4]),
        (&[6], &[0, 2, 1, 1], &[0, 4]),
    ] {
        let result = unfolded(shape, false, indices, indptr);
        assert!(result.is_err(), "{shape:?} {indices:?}");
    }
}
