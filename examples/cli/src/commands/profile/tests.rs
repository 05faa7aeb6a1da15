//! Comparisons of made-up times.

use super::compare::verdict;
use crate::costs::Times;

#[test]
fn only_what_exceeds_the_spread_is_a_difference() {
    let times = |milliseconds: &[f64]| Times::new(milliseconds.to_vec());
    // Of these the middle halves are 2 and 0.5 wide.
    let (wide, narrow) = (times(&[10.0, 8.0, 12.0]), times(&[12.0, 11.5, 12.5]));
    assert_eq!(verdict(&wide, &narrow), "same");
    assert_eq!(verdict(&narrow, &wide), "same");
    let slow = times(&[12.5, 12.1, 12.9]);
    assert_eq!(verdict(&wide, &slow), "slower");
    assert_eq!(verdict(&slow, &wide), "faster");
    let once = times(&[1000.0]);
    assert_eq!(verdict(&wide, &once), "too few runs");
}
