//! Dates, versions and commits.

use super::{commit, utc, version};

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(utc(seconds), expected);
    }
}

#[test]
fn versions_are_those_that_are_locked() {
    let own = env!("CARGO_PKG_VERSION").to_owned();
    assert_eq!(version("gpavatar"), Some(("gpavatar".into(), own)));
    let (_, wgpu) = version("wgpu").unwrap();
    let numbers: Vec<u32> = wgpu.split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3);
    assert_eq!(version("no such crate"), None);
}

#[test]
fn a_commit_is_a_hash() {
    // Outside of a checkout there is none.
    if let Some(commit) = commit() {
        let hash = commit.strip_suffix("-dirty").unwrap_or(&commit);
        let hexadecimal = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(hash.len() == 40 && hexadecimal, "{commit}");
    }
}
