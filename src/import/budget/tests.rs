use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::*;

pub(crate) fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_taken_is_gone_and_too_much_ends_it() {
    let budget = Budget::of(1000);
    let other = budget.clone();
    assert!(budget.take(FREE).is_ok() && other.take(5999).is_ok());
    assert!(!budget.is_spent());
    assert!(
        budget
            .take(2)
            .unwrap_err()
            .contains("more memory than 6 times")
    );
    assert!(other.is_spent() && other.take(1).is_err());
}

#[test]
fn compressed_files_are_opened_within_their_budget() {
    let content = b"some content ".repeat(20_000);
    let file = compressed(&content);
    let (opened_content, budget) = opened(file.as_slice().into()).unwrap();
    assert_eq!(opened_content, content);
    assert!(
        budget.take(FREE).is_err(),
        "the content was not taken from it"
    );
    // Two one after the other, as gzip allows.
    let (twice, _) = opened([&file[..], &file].concat().into()).unwrap();
    assert_eq!(twice.len(), 2 * content.len());
    // Any other file is left as it is.
    let (same, _) = opened(b"{}".as_slice().into()).unwrap();
    assert!(matches!(same, Cow::Borrowed(b"{}")));

    let refused = |bytes: &[u8]| opened(bytes.into()).unwrap_err();
    let bomb = compressed(&vec![0; 100 << 20]);
    assert!(refused(&bomb).contains("more memory"));
    assert!(refused(&compressed(&file)).contains("within another"));
    for end in [10, file.len() / 2, file.len() - 1] {
        assert!(refused(&file[..end]).contains("gzip"));
    }
    let mut damaged = file;
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    assert!(refused(&damaged).contains("gzip"));
}
