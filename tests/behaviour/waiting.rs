//! Futures never block: somebody else polls the device.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::common::tiny::{self, gpu};
use gpavatar::RenderOptions;

/// The longest that an executor with other work may be held up.
const PATIENCE: Duration = Duration::from_millis(20);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future as an executor does. Returns its result, how often it was polled and the longest poll.
fn watched<F: Future>(future: F) -> (F::Output, u32, Duration) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let (mut polls, mut longest) = (0, Duration::ZERO);
    loop {
        let start = Instant::now();
        let polled = future.as_mut().poll(&mut context);
        longest = longest.max(start.elapsed());
        polls += 1;
        match polled {
            Poll::Ready(output) => return (output, polls, longest),
            Poll::Pending => thread::park(),
        }
    }
}

/// Repeats `attempt`, which says how long it was held up, until that was short: other processes may hold
/// a thread up, too, but not every time.
fn is_never_held_up(what: &str, mut attempt: impl FnMut() -> (u32, Duration)) {
    let attempts: Vec<_> = (0..10)
        .map(|_| attempt())
        .take_while(|(polls, longest)| *polls < 2 || *longest > PATIENCE)
        .collect();
    assert!(attempts.len() < 10, "{what}: {attempts:?}");
}

#[test]
fn frames_that_are_read_hold_nobody_up() {
    let avatar = tiny::avatar(&tiny::model());
    let (drives, options) = (tiny::drives(8), RenderOptions::default());
    let frames: Vec<_> = drives.iter().map(|drive| (&avatar, drive)).collect();
    // All in one submission, which takes a while.
    let last = || {
        avatar
            .model()
            .render_many(&frames, &options)
            .unwrap()
            .pop()
            .unwrap()
    };
    let expected = last().to_image().unwrap();
    is_never_held_up("a picture", || {
        let frame = last();
        let (picture, polls, longest) = watched(frame.read());
        assert_eq!(picture.unwrap(), expected);
        (polls, longest)
    });
    is_never_held_up("depth", || {
        let frame = last();
        let (depth, polls, longest) = watched(frame.depth());
        assert!(depth.unwrap().contains(&0.0));
        (polls, longest)
    });
    is_never_held_up("an idle device", || {
        last();
        let (idle, polls, longest) = watched(gpu().idle("rendering"));
        idle.unwrap();
        (polls, longest)
    });
}

#[test]
fn playback_holds_nobody_up() {
    let avatar = tiny::avatar(&tiny::model());
    let mut playback = avatar.play(tiny::drives(40)).in_flight(8);
    is_never_held_up("a sequence", || {
        // Recording the frames in flight takes its time; from then on it is one at a time.
        let next = playback.next_frame();
        let (frame, polls, longest) = watched(next);
        frame.unwrap().unwrap();
        (polls, longest)
    });
}

#[test]
fn a_future_that_is_dropped_leaves_the_device_alone() {
    let avatar = tiny::avatar(&tiny::model());
    let drive = tiny::drive();
    let frame = avatar.render(&drive).unwrap();
    let waker = Waker::noop();
    let mut context = Context::from_waker(waker);
    for _ in 0..20 {
        let _ = pin!(frame.read()).poll(&mut context);
    }
    assert_eq!(
        frame.to_image().unwrap(),
        avatar.render(&drive).unwrap().to_image().unwrap()
    );
}
