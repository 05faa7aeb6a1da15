use std::collections::HashMap;

use super::*;
use crate::error::refused;

#[test]
fn an_unknown_version_is_named_before_anything_else() {
    let parse = |json| versioned::<HashMap<String, u32>>("a.json", "test", json, 1);
    assert_eq!(parse(r#"{"version": 1}"#).unwrap()["version"], 1);
    let error = refused!(parse(r#"{"version": 2, "new": []}"#), Format);
    assert!(error.contains("a.json") && error.contains("expected version 1, found 2"));
    for bad in ["", "{}", "[1]", r#"{"version": "1"}"#, r#"{"version": 1"#] {
        refused!(parse(bad), Format);
    }
}
