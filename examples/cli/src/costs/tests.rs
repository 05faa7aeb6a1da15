//! Times and sums of made-up profiles.

use gpavatar::{KernelTime, Profile, Weights};

use super::{Section, Stage, Times, until_steady, warm_up};

#[test]
fn times_have_a_middle_and_ends() {
    let times = |milliseconds: &[f64]| Times::new(milliseconds.to_vec()).columns();
    assert_eq!(times(&[3.0, 1.0, 2.0]), [2.0, 1.0, 3.0]);
    assert_eq!(times(&[4.0, 1.0, 2.0, 8.0]), [3.0, 1.0, 8.0]);
    assert_eq!(times(&[5.0]), [5.0; 3]);
    assert_eq!(times(&[]), [0.0; 3]);
}

#[test]
fn the_spread_is_that_of_the_middle_half() {
    let times = |milliseconds: &[f64]| Times::new(milliseconds.to_vec());
    let kept = times(&[90.0, 1.0, 4.0, 3.0, 2.0]);
    assert_eq!((kept.spread(), kept.all[0]), (Some(2.0), 90.0));
    assert_eq!(times(&[1.0, 2.0, 4.0]).spread(), Some(1.5));
    assert_eq!(times(&[1.0, 2.0]).spread(), None);
}

/// A profile of dispatches that lie a millisecond apart.
fn apart(timestamps: bool) -> Profile {
    let kernel = |start| KernelTime {
        stage: "field",
        kernel: "radiance",
        label: "field".into(),
        start,
        milliseconds: 2.0,
        flops: 0.0,
        bytes: 0.0,
    };
    Profile {
        kernels: [0.0, 3.0, 6.0].map(kernel).into(),
        timestamps,
    }
}

#[test]
fn gpu_time_goes_from_the_first_timestamp_to_the_last() {
    assert_eq!(apart(true).gpu_milliseconds(), Some(8.0));
    assert_eq!(apart(false).gpu_milliseconds(), None);
    let kernels = Vec::new();
    let empty = Profile {
        kernels,
        timestamps: true,
    };
    assert_eq!(empty.gpu_milliseconds(), None);
}

#[test]
fn kernels_and_stages_are_sums_of_their_dispatches() {
    let time = |stage, kernel, milliseconds| KernelTime {
        stage,
        kernel,
        label: kernel.into(),
        start: 0.0,
        milliseconds,
        flops: 10.0,
        bytes: 4.0,
    };
    let run = |slower: f64| Profile {
        kernels: vec![
            time("points", "search", 1.0 + slower),
            time("field", "radiance", 4.0),
            time("field", "radiance", 5.0 - slower),
            time("field", "directions", 2.0),
        ],
        timestamps: true,
    };
    let section = Section::new(&[run(0.0), run(1.0), run(3.0)]);
    let cost = |s: &Stage| (s.stage.clone(), s.cost.dispatches, s.cost.times.columns());
    let costs: Vec<_> = section.stages.iter().map(cost).collect();
    let expected = [
        ("points".into(), 1, [2.0, 1.0, 4.0]),
        ("field".into(), 3, [10.0, 8.0, 11.0]),
    ];
    assert_eq!(costs, expected);
    let kernels = &section.stages[1].kernels;
    assert_eq!(kernels[0].cost.times.columns(), [8.0, 6.0, 9.0]);
    assert_eq!(kernels[1].kernel, "directions");
    assert_eq!(section.total.times.columns(), [12.0; 3]);
    assert_eq!((section.total.flops, section.dispatches.len()), (40.0, 4));
}

/// Milliseconds that a warm-up takes if the run after `total` milliseconds takes `time(total)`.
fn warmed_up(time: impl Fn(f64) -> f64) -> f64 {
    let mut total = 0.0;
    let run = || {
        let milliseconds = time(total);
        total += milliseconds;
        Ok(milliseconds)
    };
    until_steady(run).unwrap();
    total
}

#[test]
fn a_warm_up_ends_once_times_are_steady() {
    let steady = warmed_up(|_| 10.0);
    assert!((200.0..300.0).contains(&steady), "{steady}");
    let rising = warmed_up(|total| (30.0 - total / 25.0).max(10.0));
    assert!((500.0..800.0).contains(&rising), "{rising}");
    let restless = warmed_up(|total| if total % 200.0 < 100.0 { 10.0 } else { 20.0 });
    assert!(restless < 2100.0, "{restless}");
    assert_eq!(warmed_up(|_| 7000.0), 7000.0, "software adapters");
}

#[test]
fn a_warm_up_reports_what_fails() {
    assert!(warm_up(|| Weights::open("missing")).is_err());
}
