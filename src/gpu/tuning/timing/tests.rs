use std::cell::Cell;

use super::super::tests::Sum;
use super::*;
use crate::stage::testing::gpu;

type Clock = fn(&Gpu, &[&Program], u32) -> Result<Vec<f64>>;

fn program(sum: Sum) -> Program {
    let mut builder = ProgramBuilder::new(gpu(), Formats::F32);
    sum.plan(&mut builder).unwrap();
    builder.finish().unwrap()
}

#[test]
fn both_clocks_tell_long_programs_from_short_ones() {
    let gpu = gpu();
    let (short, long) = (program(Sum(1000)), program(Sum(1_000_000)));
    let features = gpu.device().features();
    let clocks: [Clock; 2] = [wall_clock, timestamps];
    let has_queries = features.contains(wgpu::Features::TIMESTAMP_QUERY);
    for clock in &clocks[..1 + usize::from(has_queries)] {
        clock(gpu, &[&short, &long], 1).unwrap();
        let times = clock(gpu, &[&long, &short, &long], 3).unwrap();
        assert_eq!(times.len(), 3);
        assert!(times[0] > times[1] && times[2] > times[1], "{times:?}");
    }
}

/// A device whose clock follows `speed` of the milliseconds that it has been busy, as [`steady`]
/// sees it: the time of work that takes a millisecond at full speed, and how long it took to know.
fn busy(known: f64, speed: impl Fn(f64) -> f64) -> (f64, f64) {
    let now = Cell::new(0.0);
    let elapsed = || Duration::from_secs_f64(now.get() * 1e-3);
    let time = steady(known, elapsed, |duration| {
        let time = 1.0 / speed(now.get());
        now.set(now.get() + duration);
        Ok(time)
    });
    (time.unwrap(), now.get())
}

#[test]
fn a_clock_that_rises_is_waited_for() {
    // It takes a while to notice the work.
    let rising = |now: f64| (0.17 + (now - 50.0).max(0.0) / 200.0).min(1.0);
    let (time, took) = busy(0.0, rising);
    assert_eq!(time, 1.0);
    assert!((216.0..400.0).contains(&took), "{took}");
}

#[test]
fn a_steady_clock_is_believed() {
    let (time, took) = busy(0.0, |_| 1.0);
    assert_eq!(time, 1.0);
    assert!((100.0..200.0).contains(&took), "{took}");
}

#[test]
fn a_clock_that_is_known_to_be_high_takes_a_glance() {
    assert_eq!(busy(1.0, |_| 1.0), (1.0, 2.0));
    // A little slower is the same, and what is known does not drift with it.
    assert_eq!(busy(1.0, |_| 0.97), (1.0, 2.0));
    assert_eq!(busy(1.0, |_| 1.25), (0.8, 2.0));
}

#[test]
fn a_clock_that_stays_lower_or_never_rests_ends_the_wait() {
    let (time, took) = busy(1.0, |_| 0.5);
    assert_eq!(time, 2.0);
    assert!(took < 200.0, "{took}");
    let flicker = |now: f64| 1.0 + (now / 25.0).round() % 2.0;
    let (_, took) = busy(0.0, flicker);
    assert!((500.0..550.0).contains(&took), "{took}");
}

#[test]
fn repetitions_fill_a_turn() {
    assert_eq!(repetitions(4.0, 0.5), 8);
    assert_eq!(repetitions(4.0, 500.0), 1);
    assert_eq!(repetitions(4.0, 0.0), MOST_REPETITIONS as u32);
    assert_eq!(repetitions(4.0, f64::INFINITY), 1);
}
