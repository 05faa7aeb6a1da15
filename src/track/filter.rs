//! Smoothing of what was fitted, and what a face does while it is not seen.

use std::f64::consts::TAU;

use glam::{DMat3, DVec3};

use super::maths::{rotation_of, vector_of};

/// A gap of more seconds than this starts a filter anew.
const GAP: f64 = 0.5;

/// Parameters of a One-Euro filter (Casiez, Roussel, Vogel, "1€ Filter", CHI 2012): a low-pass filter
/// whose cut-off rises with the speed of its input, so that it neither trembles at rest nor lags in
/// motion.
///
/// ```text
/// α(f, dt) = 1/(1 + 1/(2π f dt))
/// speed ← α(f_speed, dt)·(x - x_before)/dt + (1 - α)·speed
/// out   ← α(lowest + slope·|speed|, dt)·x + (1 - α)·out
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneEuro {
    /// Cut-off frequency at rest, in hertz.
    pub lowest: f64,
    /// How much the cut-off grows with speed: hertz per unit per second.
    pub slope: f64,
    /// Cut-off frequency of the speed, in hertz.
    pub speed: f64,
}

impl OneEuro {
    /// For rotations of the head, whose speed is in degrees per second.
    pub const ROTATION: Self = Self::new(1.0, 0.1, 1.0);
    /// For its place, in world units.
    pub const PLACE: Self = Self::new(1.0, 20.0, 1.0);
    /// For expression channels.
    pub const CHANNEL: Self = Self::new(1.5, 4.0, 1.0);
    /// For blinks, which are short.
    pub const BLINK: Self = Self::new(1.5, 10.0, 1.0);

    /// A filter's parameters: cut-off at rest, its slope, cut-off of the speed.
    #[must_use]
    pub const fn new(lowest: f64, slope: f64, speed: f64) -> Self {
        Self {
            lowest,
            slope,
            speed,
        }
    }

    /// The parameters for a channel of this name.
    #[must_use]
    pub fn of_channel(name: &str) -> Self {
        match name.starts_with("eyeBlink") {
            true => Self::BLINK,
            false => Self::CHANNEL,
        }
    }
}

/// The share of a new value after `dt` seconds at a cut-off frequency.
fn alpha(cutoff: f64, dt: f64) -> f64 {
    1.0 / (1.0 + 1.0 / (TAU * cutoff * dt))
}

/// What a time step asks of a filter that has values already.
enum Step {
    Keep,
    Restart,
    Filter,
}

fn step(dt: f64) -> Step {
    match dt {
        dt if dt > GAP => Step::Restart,
        dt if dt > 0.0 => Step::Filter,
        // Time does not go backwards, and is a number.
        _ => Step::Keep,
    }
}

/// One-Euro filters of several values, each with its own parameters.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    filters: Vec<OneEuro>,
    state: Vec<Value>,
    started: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Value {
    raw: f64,
    out: f64,
    speed: f64,
}

impl Values {
    pub fn new(filters: Vec<OneEuro>) -> Self {
        Self {
            state: vec![Value::default(); filters.len()],
            filters,
            started: false,
        }
    }

    /// Replaces the values, as many as there are filters, by their smoothed ones, `dt` seconds after
    /// the last time.
    pub fn step(&mut self, values: &mut [f64], dt: f64) {
        debug_assert_eq!(values.len(), self.state.len());
        let step = match self.started {
            true => step(dt),
            false => Step::Restart,
        };
        self.started = true;
        for ((x, state), filter) in values.iter_mut().zip(&mut self.state).zip(&self.filters) {
            match step {
                Step::Keep => {}
                Step::Restart => {
                    *state = Value {
                        raw: *x,
                        out: *x,
                        speed: 0.0,
                    }
                }
                Step::Filter => {
                    let a = alpha(filter.speed, dt);
                    state.speed = a * (*x - state.raw) / dt + (1.0 - a) * state.speed;
                    let a = alpha(filter.lowest + filter.slope * state.speed.abs(), dt);
                    state.raw = *x;
                    state.out = a * *x + (1.0 - a) * state.out;
                }
            }
            *x = state.out;
        }
    }

    /// The next value passes unchanged.
    pub fn restart(&mut self) {
        self.started = false;
    }
}

/// A One-Euro filter of rotations: the speed is a rate of rotation vectors in degrees per second, the
/// step goes along the geodesic.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    filter: OneEuro,
    state: Option<Turning>,
}

#[derive(Clone, Copy, Debug)]
struct Turning {
    raw: DMat3,
    out: DMat3,
    speed: DVec3,
}

impl Rotation {
    pub fn new(filter: OneEuro) -> Self {
        Self {
            filter,
            state: None,
        }
    }

    /// The smoothed rotation, `dt` seconds after the last one.
    pub fn step(&mut self, rotation: DMat3, dt: f64) -> DMat3 {
        match &mut self.state {
            Some(state) if matches!(step(dt), Step::Keep) => state.out,
            Some(state) if matches!(step(dt), Step::Filter) => {
                let turn = vector_of(state.raw.transpose() * rotation);
                let a = alpha(self.filter.speed, dt);
                state.speed = a * turn.map(f64::to_degrees) / dt + (1.0 - a) * state.speed;
                let cutoff = self.filter.lowest + self.filter.slope * state.speed.length();
                let left = vector_of(state.out.transpose() * rotation);
                state.raw = rotation;
                state.out *= rotation_of(alpha(cutoff, dt) * left);
                state.out
            }
            state => {
                *state = Some(Turning {
                    raw: rotation,
                    out: rotation,
                    speed: DVec3::ZERO,
                });
                rotation
            }
        }
    }

    /// The filtered speed, in degrees per second.
    pub fn speed(&self) -> f64 {
        self.state.map_or(0.0, |state| state.speed.length())
    }

    /// The next rotation passes unchanged.
    pub fn restart(&mut self) {
        self.state = None;
    }
}

/// How much of its last expression a face has that was lost so many `seconds` ago: all of it for half
/// a second, then it returns to rest with a time constant of 0.3 s. Its pose is held.
pub(crate) fn after_loss(seconds: f64) -> f64 {
    (-(seconds - GAP).max(0.0) / 0.3).exp()
}

#[cfg(test)]
mod tests;
