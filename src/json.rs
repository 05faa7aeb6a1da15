//! JSON with a version.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{Error, Result};

/// Parses JSON whose object carries a `version`, which is looked at before anything else: a file
/// from a later release is told apart from a broken one.
pub(crate) fn versioned<T: DeserializeOwned>(
    what: &str,
    format: &'static str,
    json: &str,
    version: u32,
) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let invalid = |error: serde_json::Error| Error::format(what, format, error.to_string());
    let found = serde_json::from_str::<Version>(json).map_err(invalid)?;
    if found.version != version {
        return Err(Error::format(
            what,
            format,
            format!("expected version {version}, found {}", found.version),
        ));
    }
    serde_json::from_str(json).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_unknown_version_is_named_before_anything_else() {
        let parse = |json| versioned::<HashMap<String, u32>>("a.json", "test", json, 1);
        assert_eq!(parse(r#"{"version": 1}"#).unwrap()["version"], 1);
        let error = parse(r#"{"version": 2, "new": []}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("a.json") && error.contains("expected version 1, found 2"));
        for bad in ["", "{}", "[1]", r#"{"version": "1"}"#, r#"{"version": 1"#] {
            assert!(matches!(parse(bad), Err(Error::Format { .. })), "{bad}");
        }
    }
}
