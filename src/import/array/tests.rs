use super::*;

fn layout(shape: &[usize], strides: &[usize], offset: usize) -> StridedLayout {
    StridedLayout {
        dtype: Dtype::I16,
        big_endian: false,
        shape: shape.to_vec(),
        strides: strides.to_vec(),
        offset,
    }
}

/// The numbers from 0 on, in 16 bits each.
fn counting(count: u16) -> Vec<u8> {
    (0..count).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn elements_are_gathered_along_strides() {
    let bytes = counting(24);
    let huge = usize::MAX;
    for (shape, strides, offset, expected) in [
        (&[2, 3][..], &[3, 1][..], 4, &[4, 5, 6, 7, 8, 9][..]),
        (&[2, 3], &[1, 2], 0, &[0, 2, 4, 1, 3, 5]),
        (&[2, 2, 2], &[1, 12, 5], 0, &[0, 5, 12, 17, 1, 6, 13, 18]),
        (&[3], &[0], 23, &[23, 23, 23]),
        (&[], &[], 23, &[23]),
        (&[1, 2], &[huge, 1], 0, &[0, 1]),
        (&[2, 1], &[1, huge], 0, &[0, 1]),
        (&[huge, huge, 0], &[huge; 3], huge, &[]),
    ] {
        let array = Array::new(layout(shape, strides, offset), (&bytes).into()).unwrap();
        assert_eq!(
            array.i64().unwrap(),
            expected,
            "{shape:?} {strides:?} {offset}"
        );
    }
}

#[test]
fn elements_outside_of_the_bytes_are_refused() {
    let bytes = counting(24);
    for (shape, strides, offset) in [
        (&[25][..], &[1][..], 0),
        (&[24], &[1], 1),
        (&[2, 3], &[21, 1], 1),
        (&[2], &[usize::MAX], 1),
        (&[3], &[usize::MAX / 2], 2),
        (&[], &[], 24),
        (&[], &[], usize::MAX),
        (&[2, 2], &[1], 0),
        (&[1; 33], &[1; 33], 0),
        // Elements may be repeated, but a few bytes must not fill all memory.
        (&[FREE_ELEMENTS + 1], &[0], 0),
        (&[usize::MAX, usize::MAX], &[0, 0], 0),
    ] {
        let array = Array::new(layout(shape, strides, offset), (&bytes).into());
        assert!(array.is_err(), "{shape:?} {strides:?} {offset}");
    }
    assert!(Array::new(layout(&[FREE_ELEMENTS], &[0], 0), (&bytes).into()).is_ok());
    assert!(StridedLayout::dense(Dtype::U8, vec![usize::MAX, 2], false).is_err());
}

fn floats<'a>(
    bytes: &'a [u8],
    shape: &[usize],
    strides: &[usize],
    offset: usize,
) -> Cow<'a, [f32]> {
    let layout = StridedLayout {
        dtype: Dtype::F32,
        ..layout(shape, strides, offset)
    };
    let array = Array::new(layout, Cow::Borrowed(bytes)).unwrap();
    array.into_f32().unwrap()
}

#[test]
fn only_dense_aligned_floats_are_borrowed() {
    let values: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let bytes: &[u8] = bytemuck::cast_slice(&values);
    let borrowed = floats(bytes, &[2, 3], &[3, 1], 1);
    assert!(matches!(borrowed, Cow::Borrowed(_)));
    assert_eq!(*borrowed, values[1..7]);
    let transposed = floats(bytes, &[2, 2], &[1, 2], 0);
    assert_eq!(transposed, Cow::<[f32]>::Owned(vec![0.0, 2.0, 1.0, 3.0]));
    // One of two neighbouring places is not aligned.
    for start in 0..2 {
        let shifted = [&[0][..start], bytes].concat();
        assert_eq!(floats(&shifted[start..], &[8], &[1], 0), values);
    }
}

#[test]
fn integers_that_are_none_or_too_large_are_refused() {
    let array = |dtype, bytes: &[u8]| {
        let layout = StridedLayout::dense(dtype, vec![1], false).unwrap();
        Array::new(layout, bytes.to_vec().into()).unwrap()
    };
    let largest = array(Dtype::U64, &i64::MAX.to_le_bytes());
    assert_eq!(largest.i64(), Ok(vec![i64::MAX]));
    assert!(array(Dtype::U64, &u64::MAX.to_le_bytes()).i64().is_err());
    assert!(array(Dtype::F32, &[0; 4]).i64().is_err());
    assert!(array(Dtype::C64, &[0; 8]).f32().is_err());
}
