//! Submitting and waiting on behalf of futures, so that they never block whoever polls them.
//!
//! A native device has to be polled before anything on it counts as done, and a software adapter executes
//! commands while they are submitted: a thread does both. Browsers do so by themselves.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_channel::oneshot::{Receiver, Sender, channel};

use crate::error::{Error, Result};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use thread::Background;

/// The result of work that submits commands, once they are submitted.
pub(crate) struct Submitted<T> {
    what: &'static str,
    receiver: Receiver<Result<T>>,
}

impl<T> Submitted<T> {
    /// `what` names the activity, and the sender brings its result.
    pub(super) fn new(what: &'static str) -> (Self, Sender<Result<T>>) {
        let (sender, receiver) = channel();
        (Self { what, receiver }, sender)
    }
}

impl<T> Future for Submitted<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let received = Pin::new(&mut self.receiver).poll(context);
        let what = self.what;
        received
            .map(|result| result.unwrap_or_else(|_| Err(Error::gpu(what, "its thread has ended"))))
    }
}

/// `Send` where there are threads: a browser's objects stay on theirs.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) trait MaybeSend: Send {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send> MaybeSend for T {}
#[cfg(target_arch = "wasm32")]
pub(crate) trait MaybeSend {}
#[cfg(target_arch = "wasm32")]
impl<T> MaybeSend for T {}

/// A browser does not block.
#[cfg(target_arch = "wasm32")]
#[derive(Default)]
pub(super) struct Background;

#[cfg(target_arch = "wasm32")]
impl Background {
    pub fn run(&self, _: &wgpu::Device, job: Box<dyn FnOnce() -> Option<wgpu::SubmissionIndex>>) {
        job();
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod thread {
    use std::sync::OnceLock;
    use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
    use std::thread;
    use std::time::Duration;

    /// Submits, and returns what to wait for.
    type Job = Box<dyn FnOnce() -> Option<wgpu::SubmissionIndex> + Send>;

    /// The thread of a device, started by its first job. It ends with its owner.
    #[derive(Default)]
    pub(crate) struct Background(OnceLock<Option<Sender<Job>>>);

    /// Between two looks at a busy device.
    const PAUSE: Duration = Duration::from_micros(200);

    impl Background {
        /// Runs jobs in the order in which they come, and has the device polled until what they submitted
        /// is done. If there is no thread to be had, that is now.
        pub fn run(&self, device: &wgpu::Device, job: Job) {
            let sender = self.0.get_or_init(|| start(device));
            let job = match sender {
                Some(sender) => match sender.send(job) {
                    Ok(()) => return,
                    Err(unsent) => unsent.0,
                },
                None => job,
            };
            if job().is_some() {
                let _ = device.poll(wgpu::PollType::wait_indefinitely());
            }
        }
    }

    fn start(device: &wgpu::Device) -> Option<Sender<Job>> {
        let (sender, jobs) = channel();
        let device = device.clone();
        let thread = thread::Builder::new().name("gpavatar".into());
        let started = thread.spawn(move || work(&device, &jobs));
        started.is_ok().then_some(sender)
    }

    fn work(device: &wgpu::Device, jobs: &Receiver<Job>) {
        let mut pending = false;
        loop {
            let job = match pending {
                false => jobs.recv().map_err(|_| TryRecvError::Disconnected),
                true => jobs.try_recv(),
            };
            match job {
                Ok(job) => pending |= job().is_some(),
                Err(TryRecvError::Disconnected) if !pending => return,
                // Those who wait still do. wgpu panics where a wait times out while others poll, so
                // nothing here waits.
                Err(_) => match device.poll(wgpu::PollType::Poll) {
                    Ok(status) if !status.is_queue_empty() => thread::sleep(PAUSE),
                    // Who waits for what failed asks the device for its reason.
                    _ => pending = false,
                },
            }
        }
    }
}
