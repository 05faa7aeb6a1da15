//! A sequence of frames on its way to the host, several at a time.

use std::borrow::Borrow;
use std::collections::VecDeque;

use image::RgbaImage;

use crate::avatar::Avatar;
use crate::drive::Drive;
use crate::error::{Error, Result};
use crate::frame::{Checked, Frame, RENDERING};
use crate::gpu::{Download, Submitted, Times};
use crate::model::Model;
use crate::options::RenderOptions;

/// Frames in order, each with its picture on the host: while one is waited for or looked at, the
/// device renders the next ones.
///
/// It is an iterator; browsers use [`Playback::next_frame`]. Drives are taken only when there is
/// room in flight, so a sequence may be endless or live; it then lags behind by the frames [in
/// flight](Playback::in_flight), less one. An error takes the place of its frame and ends the
/// sequence.
///
/// ```no_run
/// # use gpavatar::{Avatar, Motion};
/// # fn example(avatar: &Avatar, motion: &Motion) -> gpavatar::Result<()> {
/// for (i, played) in avatar.play(motion.drives()).enumerate() {
///     let (_frame, picture) = played?;
///     picture.save(format!("{i:04}.png")).expect("a writable directory");
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is rendered before the first frame is asked for"]
pub struct Playback<I> {
    model: Model,
    /// `None` once the sequence has ended.
    frames: Option<I>,
    options: RenderOptions,
    in_flight: usize,
    /// Number of items taken from `frames`.
    taken: usize,
    /// Submitted and not handed out yet.
    pending: VecDeque<Pending>,
    /// Why the sequence ends after `pending`.
    error: Option<Error>,
}

struct Pending {
    frame: Frame,
    picture: Download,
    /// Until it is known that the commands were submitted.
    submitted: Option<Submitted<()>>,
}

impl Avatar {
    /// Plays drives on this avatar, on black and with three frames in flight unless the
    /// [`Playback`] is told otherwise. Nothing is rendered before the first frame is asked for.
    pub fn play<I, D>(&self, drives: I) -> Playback<impl Iterator<Item = (Self, D)> + use<I, D>>
    where
        I: IntoIterator<Item = D>,
        D: Borrow<Drive>,
    {
        let avatar = self.clone();
        let frames = drives.into_iter().map(move |drive| (avatar.clone(), drive));
        self.model().play(frames)
    }
}

impl Model {
    /// Plays `(avatar, drive)` after `(avatar, drive)`, any mix of avatars of this model: see
    /// [`Avatar::play`].
    pub fn play<I, A, D>(&self, frames: I) -> Playback<I::IntoIter>
    where
        I: IntoIterator<Item = (A, D)>,
        A: Borrow<Avatar>,
        D: Borrow<Drive>,
    {
        Playback {
            model: self.clone(),
            frames: Some(frames.into_iter()),
            options: RenderOptions::default(),
            in_flight: 3,
            taken: 0,
            pending: VecDeque::new(),
            error: None,
        }
    }
}

impl<I> Playback<I> {
    /// The same sequence, rendered with options.
    pub fn options(mut self, options: RenderOptions) -> Self {
        self.options = options;
        self
    }

    /// The same sequence with at most `count` frames in flight: submitted, but not handed out. One
    /// (or zero) renders only while it is waited for; each takes the memory of a frame and of a
    /// picture on the host.
    pub fn in_flight(mut self, count: usize) -> Self {
        self.in_flight = count.max(1);
        self
    }

    fn render(&self, avatar: &Avatar, drive: &Drive) -> Result<Pending> {
        let input = Checked::nth(&self.model, self.taken, avatar, drive)?;
        let gpu = self.model.gpu();
        gpu.scoped(RENDERING, || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let frame = input.record(&mut encoder, &self.options, Times::None)?;
            let (downloads, stamp) = (&self.model.renderer().downloads, Some(frame.stamp()));
            let picture = downloads.record(gpu, &mut encoder, frame.texture(), stamp)?;
            let model = self.model.clone();
            let submitted = gpu.submitted(RENDERING, move |_| Ok(((), model.submit(encoder))));
            Ok(Pending {
                frame,
                picture,
                submitted: Some(submitted),
            })
        })
    }
}

impl<I, A, D> Playback<I>
where
    I: Iterator<Item = (A, D)>,
    A: Borrow<Avatar>,
    D: Borrow<Drive>,
{
    /// The next frame and its picture, if there is one. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// See [`Avatar::record`] and [`Frame::read`]; [`Error::Argument`] for an avatar of another
    /// model. An [`Error::Argument`] says which frame it is about, counted from 0.
    pub async fn next_frame(&mut self) -> Option<Result<(Frame, RgbaImage)>> {
        self.submit();
        let gpu = self.model.gpu();
        let Some(first) = self.pending.front_mut() else {
            return self.error.take().map(Err);
        };
        let mut done = Ok(());
        if let Some(submitted) = &mut first.submitted {
            done = submitted.await;
            first.submitted = None;
        }
        if done.is_ok() {
            done = first.picture.done(gpu).await;
        }
        let first = self.pending.pop_front()?;
        let picture = done.and_then(|()| {
            let (picture, stamp) = first.picture.image()?;
            first.frame.check(&stamp)?;
            Ok(picture)
        });
        if picture.is_err() {
            self.frames = None;
            self.pending.clear();
            self.error = None;
        }
        Some(picture.map(|picture| (first.frame, picture)))
    }

    /// Submits as many frames as there is room for.
    fn submit(&mut self) {
        while self.pending.len() < self.in_flight
            && let Some(frames) = &mut self.frames
        {
            let next = frames.next();
            let rendered = next.map(|(avatar, drive)| self.render(avatar.borrow(), drive.borrow()));
            match rendered {
                Some(Ok(pending)) => {
                    self.pending.push_back(pending);
                    self.taken += 1;
                }
                Some(Err(error)) => {
                    self.frames = None;
                    self.error = Some(error);
                }
                None => self.frames = None,
            }
        }
    }
}

/// Waits for every frame, while the device renders the next ones.
#[cfg(not(target_arch = "wasm32"))]
impl<I, A, D> Iterator for Playback<I>
where
    I: Iterator<Item = (A, D)>,
    A: Borrow<Avatar>,
    D: Borrow<Drive>,
{
    type Item = Result<(Frame, RgbaImage)>;

    fn next(&mut self) -> Option<Self::Item> {
        pollster::block_on(self.next_frame())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<I, A, D> std::iter::FusedIterator for Playback<I>
where
    I: Iterator<Item = (A, D)>,
    A: Borrow<Avatar>,
    D: Borrow<Drive>,
{
}

impl<I> std::fmt::Debug for Playback<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Playback")
            .field("options", &self.options)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}
