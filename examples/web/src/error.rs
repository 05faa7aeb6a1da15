//! Errors as JavaScript has them: an `Error` with a `kind`.

use gpavatar::Error;
use js_sys::Reflect;
use wasm_bindgen::JsValue;

pub type Result<T, E = JsValue> = std::result::Result<T, E>;

/// An error of the crate.
pub fn js(error: Error) -> JsValue {
    let kind = match error {
        Error::NoAdapter { .. } => "no-adapter",
        Error::Device { .. } => "no-device",
        Error::Limit { .. } => "limit",
        Error::Format { .. } => "format",
        Error::Tensors { .. } => "tensors",
        Error::Config { .. } => "config",
        Error::Argument { .. } => "argument",
        _ => "gpu",
    };
    new(kind, &error.to_string())
}

/// An error of this `kind`.
pub fn new(kind: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // A new object takes any property.
    let _ = Reflect::set(&error, &"kind".into(), &kind.into());
    error.into()
}
