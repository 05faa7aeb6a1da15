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
mod tests;
