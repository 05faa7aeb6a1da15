//! The crate's one error type.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Messages say what, where, expected and found. They are of bounded
/// length, however long the names and how many the problems of a file are; the fields have all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter matches the request, or none exists.
    #[error(
        "no suitable GPU adapter: {reason}. Adapters found: {found}. On Debian and Ubuntu a software adapter comes with: apt-get install mesa-vulkan-drivers"
    )]
    NoAdapter {
        /// The request, and why nothing fits.
        reason: String,
        /// Names of the adapters that exist.
        found: String,
    },
    /// The adapter refused to open a device with the features and limits asked for.
    #[error("the adapter {adapter} gave no device: {reason}")]
    Device {
        /// Adapter name and backend.
        adapter: String,
        /// The adapter's message.
        reason: String,
    },
    /// The adapter's limits are too small for this model.
    #[error("{what} needs {limit} of at least {expected}, the device has {found}")]
    Limit {
        /// Kernel or tensor that does not fit.
        what: String,
        /// Name of the WebGPU limit.
        limit: &'static str,
        /// Smallest sufficient value.
        expected: u64,
        /// The device's value.
        found: u64,
    },
    /// The GPU stopped answering (device lost, out of memory, or a validation error at run time).
    #[error("GPU failure during {what}: {reason}")]
    Gpu {
        /// The operation.
        what: String,
        /// The driver's message.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file's content violates its format (truncated, corrupt, wrong kind).
    #[error("{} is not a valid {format}: {}", short(what), short(reason))]
    Format {
        /// File name or a description of the data.
        what: String,
        /// Format that was expected.
        format: &'static str,
        /// The violation.
        reason: String,
    },
    /// Tensors of a file are missing, unexpected, of a wrong shape or type, or hold values out of
    /// range.
    #[error("{}: {}", short(what), listed("tensor problem", problems))]
    Tensors {
        /// File name or a description of the data.
        what: String,
        /// One line per problem: tensor, expected, found.
        problems: Vec<String>,
    },
    /// A model configuration outside what the kernels can run.
    #[error("model configuration: {}", listed("problem", problems))]
    Config {
        /// One line per problem: field, expected, found.
        problems: Vec<String>,
    },
    /// An argument is out of its range (NaN, infinite, wrong count, singular, empty, …).
    #[error(
        "{}: expected {}, found {}",
        short(what),
        short(expected),
        short(found)
    )]
    Argument {
        /// The argument.
        what: String,
        /// Its valid range.
        expected: String,
        /// The value given.
        found: String,
    },
}

/// A text for a message: what is long in it is left out.
fn short(text: &str) -> Cow<'_, str> {
    const MOST: usize = 2000;
    let Some((end, _)) = text.char_indices().nth(MOST) else {
        return text.into();
    };
    format!("{} … ({} bytes)", &text[..end], text.len()).into()
}

/// Their number, and the first of them in a line each.
fn listed(what: &str, problems: &[String]) -> String {
    const MOST: usize = 30;
    let mut text = format!("{} {what}", problems.len());
    text.push_str(if problems.len() == 1 { ":" } else { "s:" });
    for problem in problems.iter().take(MOST) {
        text.push_str("\n  ");
        text.push_str(&short(problem));
    }
    if problems.len() > MOST {
        text.push_str(&format!("\n  … and {} more", problems.len() - MOST));
    }
    text
}

impl Error {
    pub(crate) fn argument(
        what: impl Display,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Self::Argument {
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// Fails with an [`Error::Argument`] unless `ok`.
    pub(crate) fn unless(
        ok: bool,
        what: impl Display,
        expected: impl Display,
        found: impl Display,
    ) -> Result<()> {
        match ok {
            true => Ok(()),
            false => Err(Self::argument(what, expected, found)),
        }
    }

    /// Fails with an [`Error::Limit`] if the device has less than `expected`.
    pub(crate) fn within(
        what: impl Display,
        limit: &'static str,
        expected: impl Into<u64>,
        found: impl Into<u64>,
    ) -> Result<()> {
        let (expected, found) = (expected.into(), found.into());
        if expected <= found {
            return Ok(());
        }
        Err(Self::Limit {
            what: what.to_string(),
            limit,
            expected,
            found,
        })
    }

    /// An [`Error::Gpu`].
    pub(crate) fn gpu(what: &str, reason: impl ToString) -> Self {
        Self::Gpu {
            what: what.into(),
            reason: reason.to_string(),
        }
    }

    /// Adds the `item` that the argument belongs to, if this is an [`Error::Argument`].
    pub(crate) fn of(self, item: impl Display) -> Self {
        match self {
            Self::Argument {
                what,
                expected,
                found,
            } => Self::argument(format!("{what} of {item}"), expected, found),
            other => other,
        }
    }

    /// An [`Error::Tensors`] with one problem.
    pub(crate) fn tensor(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Tensors {
            what: what.into(),
            problems: vec![problem.into()],
        }
    }

    pub(crate) fn format(
        what: impl Into<String>,
        format: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        Self::Format {
            what: what.into(),
            format,
            reason: reason.into(),
        }
    }
}

/// All problems of a value, one line each.
#[derive(Default)]
pub(crate) struct Problems(pub Vec<String>);

impl Problems {
    pub fn expect(&mut self, ok: bool, field: &str, expected: impl Display, found: impl Display) {
        if !ok {
            let problem = format!("{field}: expected {expected}, found {found}");
            self.0.push(problem);
        }
    }
}

/// The message of a result's error, which has to be of this kind.
#[cfg(test)]
macro_rules! refused {
    ($result:expr, $kind:ident) => {
        match $result {
            Err(error @ $crate::Error::$kind { .. }) => error.to_string(),
            other => panic!("expected Error::{}, found {other:?}", stringify!($kind)),
        }
    };
}
#[cfg(test)]
pub(crate) use refused;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_of_bounded_length() {
        let long = "é".repeat(1 << 20);
        let problems = vec![format!("{long}: expected no such tensor"); 3];
        for error in [
            Error::argument(&long, &long, &long),
            Error::format(long.as_str(), "motion", long.as_str()),
            Error::Config { problems },
            Error::Tensors {
                what: long.clone(),
                problems: vec!["a: expected b".into(); 300_000],
            },
        ] {
            let message = error.to_string();
            assert!(message.len() < 20_000, "{} bytes", message.len());
            assert!(message.contains("… ("), "{message}");
        }
        let many = Error::Tensors {
            what: "x".into(),
            problems: vec!["p".into(); 100],
        };
        let message = many.to_string();
        assert!(message.starts_with("x: 100 tensor problems:\n  p\n"));
        assert!(message.ends_with("\n  p\n  … and 70 more"), "{message}");
        let one = Error::tensor("x", "p").to_string();
        assert_eq!(one, "x: 1 tensor problem:\n  p");
    }
}
