//! Errors and their messages.

use std::fmt::Debug;

use gpavatar::{Error, Result};

/// The error's message, which must contain all `parts`.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T>, kind: fn(&Error) -> bool, parts: &[&str]) -> String {
    let error = result.expect_err("should have been refused");
    let message = error.to_string();
    assert!(kind(&error), "another kind of error: {error:?}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    message
}

pub fn argument(error: &Error) -> bool {
    matches!(error, Error::Argument { .. })
}

pub fn format(error: &Error) -> bool {
    matches!(error, Error::Format { .. })
}

pub fn tensors(error: &Error) -> bool {
    matches!(error, Error::Tensors { .. })
}

pub fn limit(error: &Error) -> bool {
    matches!(error, Error::Limit { .. })
}
