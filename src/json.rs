//! JSON with a version.

use serde::{Deserialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// Parses a JSON object with a `version`. The version is checked first, so that a file of a later
/// release is not reported as a broken one.
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
        let reason = format!("expected version {version}, found {}", found.version);
        return Err(Error::format(what, format, reason));
    }
    serde_json::from_str(json).map_err(invalid)
}

#[cfg(test)]
mod tests;
