//! Tests that need something which the device may lack.

use std::io::Write;

/// Says, even where the output of tests is captured, that a test tests nothing because the device
/// lacks `what`. It fails if the environment variable `GPAVATAR_REQUIRE`, words with spaces between,
/// lists that.
#[track_caller]
pub fn absent(what: &str, why: &str) {
    let required = std::env::var("GPAVATAR_REQUIRE").unwrap_or_default();
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    let message = format!("NOT TESTED: {test} needs {what}: {why}");
    assert!(
        !required.split_whitespace().any(|word| word == what),
        "{message}"
    );
    // Written past the capture; nothing is lost if nobody reads it.
    let _ = writeln!(std::io::stderr(), "{message}");
}
