//! Errors of a device, and whose they are.
//!
//! Natively wgpu reports an error to the thread whose call it was: each activity of this crate
//! takes its own, in scopes, and neither the host's handler nor wgpu's default one, which panics,
//! sees them. A browser reports later, to the device alone.

use std::sync::{Arc, Mutex};

use super::locked;

/// What a device has reported outside of scopes. Cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Failures(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The first error since the last that was taken; later ones follow from it.
    error: Option<String>,
    /// Why nothing works on this device any more.
    end: Option<String>,
    lost: bool,
}

impl Failures {
    /// An error that was in nobody's scope.
    pub fn note(&self, reason: String) {
        locked(&self.0).error.get_or_insert(reason);
    }

    /// A failure that stays.
    pub fn end(&self, reason: String) {
        locked(&self.0).end.get_or_insert(reason);
    }

    pub fn lose(&self, message: &str) {
        let mut state = locked(&self.0);
        state.lost = true;
        state.end.get_or_insert(format!("device lost: {message}"));
    }

    pub fn is_lost(&self) -> bool {
        locked(&self.0).lost
    }

    /// Why an activity failed apart from errors in its scope. In a browser that includes the errors
    /// of others.
    pub fn of_any(&self) -> Option<String> {
        match cfg!(target_arch = "wasm32") {
            true => self.take(),
            false => locked(&self.0).end.clone(),
        }
    }

    /// What the device has reported since the last time; why nothing works on it, again and again.
    pub fn take(&self) -> Option<String> {
        let mut state = locked(&self.0);
        state.end.clone().or_else(|| state.error.take())
    }
}

/// Runs `work` in error scopes. Also returns the first error of wgpu.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn captured<T>(device: &wgpu::Device, work: impl FnOnce() -> T) -> (T, Option<String>) {
    use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
    let scopes = [OutOfMemory, Internal, Validation].map(|kind| device.push_error_scope(kind));
    let result = work();
    let mut first = None;
    for scope in scopes.into_iter().rev() {
        let error = pollster::block_on(scope.pop());
        first = first.or(error.map(|error| error.to_string()));
    }
    (result, first)
}

/// Runs `work`. Errors arrive later.
#[cfg(target_arch = "wasm32")]
pub(super) fn captured<T>(_: &wgpu::Device, work: impl FnOnce() -> T) -> (T, Option<String>) {
    (work(), None)
}
