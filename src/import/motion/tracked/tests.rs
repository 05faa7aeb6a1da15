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

fn read(pickle: &[u8]) -> Result<Tracked, String> {
    Tracked::of_document(pickle, &Budget::of(pickle.len()))
}

#[test]
fn frames_may_share_values_but_not_without_limit() {
    let frames = read(&video(2, 50)).unwrap().frames;
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].expression, [1.0; 50]);
    let error = read(&video(20_000, 1000)).err().unwrap();
    let reason = "more memory than 6 times its size";
    assert!(error.contains(reason), "{error}");
}

#[test]
fn frames_that_are_none_are_named() {
    let refused = |pickle: &[u8], reason: &str| {
        let error = read(pickle).err().unwrap();
        assert!(error.contains(reason), "{error}");
    };
    let reason = "expected a dictionary of frames, found 1";
    refused(b"\x80\x02K\x01.", reason);
    let reason = "frame \"f_x\": expected a key that ends in a number";
    refused(b"\x80\x02}(U\x03f_xNU\x03f_1Nu.", reason);
    let reason = "frame \"f_1\": expected an entry emoca_expression or expcode";
    refused(b"\x80\x02}U\x03f_1Ns.", reason);
    let frame = |rest: &[u8]| {
        [
            b"\x80\x02}U\x03f_1}(U\x10emoca_expression](K\x01e",
            rest,
            b"us.",
        ]
        .concat()
    };
    refused(&frame(b""), "expected an entry transform_matrix");
    let one_number = frame(b"U\x10transform_matrixK\x01");
    refused(
        &one_number,
        "3 rows of 4 numbers, or 4 with the last one 0 0 0 1, found 1 values",
    );
    let none = frame(b"U\x10transform_matrixN");
    refused(&none, "transform_matrix: expected numbers, found None");
    let pose = frame(b"U\x0Aemoca_pose](K\x01K\x01e");
    refused(&pose, "pose: expected 6 values a frame");
}

#[test]
fn frames_are_sorted_by_the_last_number_of_their_keys() {
    let key = |pickle: &[u8]| {
        let pickle = crate::import::pickle::Pickle::parse(pickle).unwrap();
        frame_number(pickle.root())
    };
    assert_eq!(key(b"U\x0Dvideo_2_00017."), Some(17));
    assert_eq!(key(b"U\x07f_8.jpg."), Some(8));
    assert_eq!(key(b"U\x09frame0012."), Some(12));
    assert_eq!(key(b"U\x029x."), None);
    assert_eq!(key(b"U\x0242."), Some(42));
    assert_eq!(key(b"K\x05."), Some(5));
    assert_eq!(key(b"J\xFF\xFF\xFF\xFF."), None);
    assert_eq!(key(b"N."), None);
}

#[test]
fn dictionaries_that_numpy_saved_are_read() {
    // np.save of {"expression_params": [1, 1], "jaw_params": [1, 1, 1]}: an array of one object.
    let mut pickle =
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(K\x00tR(K\x01)N\x89](}(".to_vec();
    pickle.extend(b"U\x11expression_params](K\x01K\x01eU\x0Ajaw_params](K\x01K\x01K\x01eue");
    pickle.extend(b"tb.");
    let header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }";
    let length = (header.len() as u16).to_le_bytes();
    let file = [b"\x93NUMPY\x01\x00", &length[..], header, &pickle].concat();
    let imported = super::super::motion_from_bytes("test", &file, &MotionOptions::default());
    let motion = imported.unwrap().motion;
    assert_eq!(motion.frames()[0].expression, [1.0, 1.0]);
    assert_eq!(motion.frames()[0].pose, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    let numbers = [
        b"\x93NUMPY\x01\x00\x36\x00",
        &b"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}"[..],
    ]
    .concat();
    let error = super::super::motion_from_bytes("test", &numbers, &MotionOptions::default());
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("expected a pickled object")
    );
}
