use super::*;

/// A pickle whose frames are all the same one.
fn video(frames: u16, expressions: usize) -> Vec<u8> {
    let list = |count: usize| [b"](", &*b"K\x01".repeat(count), b"e"].concat();
    let mut pickle = b"\x80\x02}(K\x00}(U\x10emoca_expression".to_vec();
    pickle.extend(list(expressions));
    pickle.extend([b"U\x0Aemoca_pose", &*list(6), b"U\x10transform_matrix"].concat());
    pickle.extend([&*list(12), b"uq\x00"].concat());
    for frame in 1..frames {
        pickle.extend([b"M", &frame.to_le_bytes()[..], b"h\x00"].concat());
    }
    pickle.extend(b"u.");
    pickle
}

#[test]
fn frames_may_share_values_but_not_without_limit() {
    let frames = tracked(&video(2, 50)).unwrap();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].expression, [1.0; 50]);
    let error = tracked(&video(1000, 1000)).unwrap_err();
    let reason = "more values than the file has bytes";
    assert!(error.contains(reason), "{error}");
}

#[test]
fn frames_that_are_none_are_named() {
    let refused = |pickle: &[u8], reason: &str| {
        let error = tracked(pickle).unwrap_err();
        assert!(error.contains(reason), "{error}");
    };
    let reason = "expected a dictionary of frames, found a sequence of 0";
    refused(b"\x80\x02].", reason);
    let reason = "frame \"f_x\": expected a key that ends in a number";
    refused(b"\x80\x02}U\x03f_xNs.", reason);
    let reason = "frame \"f_1\": expected an entry transform_matrix, found None";
    refused(b"\x80\x02}U\x03f_1Ns.", reason);
    let one_number = b"\x80\x02}U\x03f_1}U\x10transform_matrixK\x01ss.";
    refused(one_number, "3 rows of 4, found 1 values");
    let none = b"\x80\x02}U\x03f_1}U\x10transform_matrixNss.";
    refused(none, "transform_matrix: expected numbers, found None");
}

#[test]
fn frames_are_sorted_by_the_last_number_of_their_keys() {
    let key = |pickle: &[u8]| {
        let pickle = crate::import::pickle::Pickle::parse(pickle).unwrap();
        frame_number(pickle.root())
    };
    assert_eq!(key(b"U\x0Dvideo_2_00017."), Some(17));
    assert_eq!(key(b"U\x07f_8.jpg."), Some(8));
    assert_eq!(key(b"U\x029x."), None);
    assert_eq!(key(b"U\x0242."), Some(42));
    assert_eq!(key(b"K\x05."), Some(5));
    assert_eq!(key(b"J\xFF\xFF\xFF\xFF."), None);
    assert_eq!(key(b"N."), None);
}
