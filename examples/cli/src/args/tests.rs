//! Meaning of arguments.

use super::Range;

#[test]
fn ranges_are_clipped_and_never_empty() {
    let of = |text: &str| text.parse::<Range>().and_then(|range| range.of(48));
    assert_eq!(of(".."), Ok(0..48));
    assert_eq!(of("12.."), Ok(12..48));
    assert_eq!(of("..24"), Ok(0..24));
    assert_eq!(of("40..99"), Ok(40..48));
    for wrong in ["48..", "3..3", "5..2", "7", "a..b", "-1..3", ""] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
}
