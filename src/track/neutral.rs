//! How a person looks at rest, which expressions and poses are measured from.

use glam::{DMat3, DQuat, DVec2};

use super::canonical::HeadPose;
use super::filter::{OneEuro, Rotation};

/// Presence of a face that counts.
const PRESENCE: f32 = 0.9;
/// Degrees per second below which a head is still.
const STILL: f64 = 10.0;
/// Seconds of a still face that are enough.
const ENOUGH: f64 = 1.0;
/// Samples for a second, and all that are kept of a face that is watched for half a minute.
const RATE: f64 = 10.0;
const MOST: usize = 300;
/// Fewest samples.
const FEWEST: usize = 5;
/// The quantile of a channel that a face which is watched has at rest.
const LOW: f64 = 0.1;
/// A channel that reads this at rest, or more, would be amplified too much.
const LEAST_RANGE: f64 = 0.25;

/// How the neutral face is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Calibration {
    /// The median of the first second in which the face is seen well and its head is still. Until
    /// then expressions are measured from 0 and the pose from the first frame.
    #[default]
    FirstSecond,
    /// Each channel's tenth percentile over the last 30 seconds; the pose as above.
    Running,
    /// Zeros and the first frame, or what a calibration by hand took.
    Manual,
}

/// A person's neutral face.
#[derive(Clone, Debug)]
pub(crate) struct Neutral {
    calibration: Calibration,
    channels: usize,
    /// The values at rest.
    rest: Vec<f64>,
    pose: Option<HeadPose>,
    /// True once a still second, or a calibration by hand, has set it.
    settled: bool,
    turning: Rotation,
    /// Seconds of a still face so far, and since the last sample.
    still: f64,
    since: f64,
    /// Channels of the samples, the latest in place of the oldest.
    samples: Vec<f64>,
    next: usize,
    poses: PoseSum,
    column: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PoseSum {
    count: f64,
    rotation: Option<DQuat>,
    origin: DVec2,
    unit: f64,
}

impl Neutral {
    pub fn new(calibration: Calibration, channels: usize) -> Self {
        Self {
            calibration,
            channels,
            rest: vec![0.0; channels],
            pose: None,
            settled: calibration == Calibration::Manual,
            turning: Rotation::new(OneEuro::ROTATION),
            still: 0.0,
            since: f64::INFINITY,
            samples: Vec::with_capacity(channels * MOST),
            next: 0,
            poses: PoseSum::default(),
            column: Vec::with_capacity(MOST),
        }
    }

    /// Looks at a frame that comes `seconds` after the last one.
    pub fn watch(&mut self, channels: &[f64], pose: &HeadPose, presence: f32, seconds: f64) {
        debug_assert_eq!(channels.len(), self.channels);
        self.turning.step(pose.rotation, seconds);
        // From one frame alone nobody knows whether the head is still.
        if self.pose.is_none() {
            self.pose = Some(*pose);
            return;
        }
        let running = self.calibration == Calibration::Running;
        if presence <= PRESENCE || (self.settled && !running) {
            return;
        }
        let still = self.turning.speed() < STILL;
        if !still && !running {
            return;
        }
        if still && !self.settled {
            self.still += seconds.clamp(0.0, 1.0 / RATE);
            self.poses.add(pose);
        }
        self.since += seconds.max(0.0);
        if self.since >= 1.0 / RATE {
            self.since = 0.0;
            self.sample(channels);
            if running && self.count() >= FEWEST {
                self.take_quantiles(LOW);
            }
        }
        if !self.settled && self.still >= ENOUGH && self.count() >= FEWEST {
            self.settled = true;
            self.pose = self.poses.mean().or(self.pose);
            if !running {
                self.take_quantiles(0.5);
            }
        }
    }

    /// Takes this frame for the neutral one.
    pub fn calibrate(&mut self, channels: &[f64], pose: &HeadPose) {
        self.rest.copy_from_slice(channels);
        self.pose = Some(*pose);
        self.settled = true;
        self.samples.clear();
        self.next = 0;
    }

    fn count(&self) -> usize {
        self.samples.len() / self.channels.max(1)
    }

    fn sample(&mut self, channels: &[f64]) {
        match self.count() < MOST {
            true => self.samples.extend(channels),
            false => {
                let start = self.next * self.channels;
                self.samples[start..start + self.channels].copy_from_slice(channels);
                self.next = (self.next + 1) % MOST;
            }
        }
    }

    fn take_quantiles(&mut self, share: f64) {
        for (channel, rest) in self.rest.iter_mut().enumerate() {
            self.column.clear();
            let values = self.samples.iter().skip(channel).step_by(self.channels);
            self.column.extend(values);
            let index = (share * (self.column.len() - 1) as f64).round() as usize;
            *rest = *self.column.select_nth_unstable_by(index, f64::total_cmp).1;
        }
    }

    /// The pose at rest, once a face was seen.
    pub fn pose(&self) -> Option<&HeadPose> {
        self.pose.as_ref()
    }

    /// How far channels are from rest: `clamp((c - n)/max(1 - n, 0.25), 0, 1)`.
    pub fn calibrated(&self, channels: &mut [f64]) {
        for (value, rest) in channels.iter_mut().zip(&self.rest) {
            *value = ((*value - rest) / (1.0 - rest).max(LEAST_RANGE)).clamp(0.0, 1.0);
        }
    }
}

impl PoseSum {
    fn add(&mut self, pose: &HeadPose) {
        let rotation = DQuat::from_mat3(&pose.rotation);
        self.count += 1.0;
        self.origin += pose.origin;
        self.unit += pose.unit;
        self.rotation = Some(match self.rotation {
            // A rotation is two quaternions.
            Some(sum) if sum.dot(rotation) < 0.0 => sum - rotation,
            Some(sum) => sum + rotation,
            None => rotation,
        });
    }

    fn mean(&self) -> Option<HeadPose> {
        Some(HeadPose {
            rotation: DMat3::from_quat(self.rotation?.normalize()),
            origin: self.origin / self.count,
            unit: self.unit / self.count,
        })
    }
}

#[cfg(test)]
mod tests;
