use proptest::prelude::*;

use super::*;
use crate::stage::testing::check;

fn need(bytes: u64, lifetime: Range<u32>) -> Need {
    Need { bytes, lifetime }
}

#[test]
fn what_is_in_use_at_different_times_shares_a_buffer() {
    let needs = [
        need(8, 0..4),
        need(64, 2..6),
        need(32, 6..9),
        need(4, 4..5),
        need(8, 8..9),
    ];
    // The second ends when the third and fourth begin; the last fits beside the third.
    assert_eq!(assign(&needs, &[]), (vec![1, 0, 0, 1, 1], vec![64, 8]));
    // A lent buffer is used where it is large enough.
    assert_eq!(assign(&needs, &[16, 40]), (vec![0, 2, 1, 0, 0], vec![64]));
    assert_eq!(assign(&[], &[16]), (vec![], vec![]));
}

#[test]
fn nothing_overlaps() {
    let needs = prop::collection::vec((0u64..100, 0u32..50, 1u32..20), 0..40);
    let lent = prop::collection::vec(0u64..120, 0..4);
    check(256, (needs, lent), |(needs, lent)| {
        let needs: Vec<_> = (needs.into_iter())
            .map(|(bytes, from, steps)| need(bytes, from..from + steps))
            .collect();
        let (chosen, new) = assign(&needs, &lent);
        let sizes: Vec<_> = lent.iter().chain(&new).collect();
        for (i, need) in needs.iter().enumerate() {
            assert!(*sizes[chosen[i]] >= need.bytes);
            for (j, other) in needs.iter().enumerate().skip(i + 1) {
                let together = need.lifetime.start < other.lifetime.end
                    && other.lifetime.start < need.lifetime.end;
                assert!(!(together && chosen[i] == chosen[j]), "{i} and {j}");
            }
        }
        // At most one buffer per need, and at least the peak of what is in use at a time.
        let all: u64 = needs.iter().map(|need| need.bytes).sum();
        assert!(new.iter().sum::<u64>() <= all);
    });
}
