//! A film's face as drives.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gpavatar::track::{Driver, FaceFrame, Fit, HeadPose, TrackedFace};
use gpavatar::{Drive, Result};

use super::{Footage, Journal, interrupted, no_face};
use crate::film::Film;

/// How far a film is looked through for the face at rest, in seconds, and how much of it is tracked
/// before it is rendered.
const AHEAD: f64 = 10.0;
/// Frames after which a tracker that begins within a film finds what it would have found.
const WARM: usize = 12;

/// What a [`Driver`] needs of a face.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub scores: [f32; 52],
    pub pose: HeadPose,
    pub presence: f32,
    /// A good one only.
    pub fit: Option<Fit>,
}

impl Seen {
    /// None while the face is lost.
    fn of(face: &TrackedFace) -> Option<Self> {
        (!face.lost).then(|| Self {
            scores: face.scores,
            pose: face.pose,
            presence: face.landmarks.presence,
            fit: face.fit.clone().filter(|fit| !fit.poor),
        })
    }

    fn frame(&self) -> FaceFrame<'_> {
        FaceFrame {
            scores: &self.scores,
            pose: self.pose,
            fit: self.fit.as_ref(),
            presence: self.presence,
        }
    }
}

/// A film's face as drives, one for each frame.
///
/// Frames are tracked some seconds ahead. So the face at rest is known from the first frame on, and
/// tracking and rendering take turns.
pub struct Performance {
    footage: Footage,
    driver: Driver,
    /// Frames that are tracked and not yet handed out; none where the face is lost.
    ahead: VecDeque<Option<Seen>>,
    /// Frames that an interrupted run has tracked, and where those of this one are kept.
    known: VecDeque<Option<Seen>>,
    journal: Option<Journal>,
    tracked: usize,
    seen: usize,
    ended: bool,
    tracking: Duration,
}

impl Performance {
    pub fn new(footage: Footage, driver: Driver) -> Self {
        Self {
            footage,
            driver,
            ahead: VecDeque::new(),
            known: VecDeque::new(),
            journal: None,
            tracked: 0,
            seen: 0,
            ended: false,
            tracking: Duration::ZERO,
        }
    }

    /// Keeps every frame in a journal, and goes on where the run that wrote it has ended.
    pub fn resume(&mut self, journal: Journal, known: Vec<Option<Seen>>) {
        (self.journal, self.known) = (Some(journal), known.into());
    }

    /// Removes the journal: the film's motion is written.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn finish(&mut self) -> Result<()> {
        self.journal.take().map_or(Ok(()), Journal::remove)
    }

    pub fn film(&self) -> &Film {
        &self.footage.film
    }

    /// Frames so far, and those of them in which the face was seen.
    pub fn counts(&self) -> [usize; 2] {
        [self.tracked, self.seen]
    }

    /// How long tracking took so far.
    pub fn tracking(&self) -> Duration {
        self.tracking
    }

    /// The drive of the next frame, none at the film's end or where it was interrupted. Tracking that
    /// this takes is reported to `progress` with each frame.
    ///
    /// # Errors
    /// As for [`Film::next`], [`Tracker::frame`](gpavatar::track::Tracker::frame) and
    /// [`Driver::drive`]; if the film has no face; and if the journal cannot be written.
    pub fn next(&mut self, progress: impl FnMut()) -> Result<Option<Drive>> {
        if self.ahead.is_empty() && !self.ended {
            let start = Instant::now();
            self.track(progress)?;
            self.tracking += start.elapsed();
        }
        let Some(seen) = self.ahead.pop_front() else {
            return match self.seen {
                0 => {
                    let found = format!("none in {} frames", self.tracked);
                    Err(no_face(self.film().path(), &found))
                }
                _ => Ok(None),
            };
        };
        let face = seen.as_ref().map(Seen::frame);
        let drive = self.driver.drive(face.as_ref(), 1.0 / self.film().rate())?;
        Ok(Some(drive))
    }

    fn track(&mut self, mut progress: impl FnMut()) -> Result<()> {
        let (first, seconds) = (self.tracked == 0, 1.0 / self.film().rate());
        let most = (AHEAD / seconds).ceil() as usize;
        while self.ahead.len() < most && !self.ended {
            let Some(face) = self.frame()? else {
                self.ended = true;
                break;
            };
            self.tracked += 1;
            self.seen += usize::from(face.is_some());
            self.ahead.push_back(face);
            progress();
            self.ended = interrupted();
        }
        if first {
            for seen in &self.ahead {
                let face = seen.as_ref().map(Seen::frame);
                self.driver.drive(face.as_ref(), seconds)?;
            }
            self.driver.restart();
        }
        Ok(())
    }

    /// The face of the next frame; none at the film's end.
    fn frame(&mut self) -> Result<Option<Option<Seen>>> {
        if self.known.len() > WARM {
            return Ok(match self.footage.skip()? {
                true => self.known.pop_front(),
                false => None,
            });
        }
        let Some(faces) = self.footage.advance()? else {
            return Ok(None);
        };
        let face = faces.first().and_then(Seen::of);
        if let Some(known) = self.known.pop_front() {
            return Ok(Some(known));
        }
        if let Some(journal) = &mut self.journal {
            journal.write(face.as_ref())?;
        }
        Ok(Some(face))
    }
}
