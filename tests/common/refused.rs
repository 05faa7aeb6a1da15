//! Errors and their messages. Each function checks that a result is an error of one kind whose
//! message contains all `parts`, and returns the message.

use std::fmt::Debug;

use gpavatar::{Error, Result};

macro_rules! kinds {
    ($($name:ident $kind:ident)*) => {$(
        #[track_caller]
        pub fn $name<T: Debug>(result: Result<T>, parts: &[&str]) -> String {
            refused(result, |error| matches!(error, Error::$kind { .. }), parts)
        }
    )*};
}

kinds! { argument Argument config Config format Format gpu Gpu io Io limit Limit
no_adapter NoAdapter tensors Tensors }

#[track_caller]
fn refused<T: Debug>(result: Result<T>, kind: fn(&Error) -> bool, parts: &[&str]) -> String {
    let error = result.expect_err("should have been refused");
    let message = error.to_string();
    assert!(kind(&error), "another kind of error: {error:?}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    message
}
