//! Batches, as schedulers run them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// Starts a batch in a room.
fn batch(room: &Path, args: &[&str], variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpavatar"));
    command.args(["batch", "jobs.json"]).args(args);
    command.current_dir(room).envs(variables.iter().copied());
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().unwrap()
}

/// Its lines, and what it complained of if it failed.
fn ended(child: Child) -> (Vec<Value>, Option<String>) {
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let errors = String::from_utf8(output.stderr).unwrap();
    (
        lines.collect(),
        (!output.status.success()).then_some(errors),
    )
}

fn statuses(lines: &[Value]) -> BTreeMap<u64, &str> {
    let pairs = lines
        .iter()
        .map(|line| (line["job"].as_u64(), line["status"].as_str()));
    pairs
        .map(|(job, status)| (job.unwrap(), status.unwrap()))
        .collect()
}

#[test]
fn three_shards_render_twelve_jobs_and_one_that_is_killed_goes_on() {
    let room = tempfile::tempdir().unwrap();
    let jobs = ["ash", "pink", "copper"].iter().flat_map(|sample| {
        (0..4).map(move |frame| {
            let frames = format!("{}..{}", 10 * frame, 10 * frame + 2);
            json!({"out": format!("{sample}_{frame}"), "sample": sample, "frames": frames})
        })
    });
    let jobs: Vec<_> = jobs.collect();
    fs::write(room.path().join("jobs.json"), json!(jobs).to_string()).unwrap();

    // Two at once; the first is killed when it has written something.
    let mut first = batch(room.path(), &["--shard=0/3"], &[]);
    let slurm = [
        ("SLURM_ARRAY_TASK_ID", "1"),
        ("SLURM_ARRAY_TASK_COUNT", "3"),
    ];
    let second = batch(room.path(), &[], &slurm);
    while !room.path().join("ash_0/sheet.png").exists() {
        assert!(first.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let (lines, error) = ended(second);
    assert_eq!(error, None);
    assert_eq!(
        statuses(&lines),
        [1, 4, 7, 10].map(|job| (job, "done")).into()
    );
    assert!(
        lines
            .iter()
            .all(|line| line["pictures"] == 2 && line["attempts"] == 1)
    );
    let kubernetes = [("JOB_COMPLETION_INDEX", "2"), ("JOB_COMPLETIONS", "3")];
    assert_eq!(ended(batch(room.path(), &[], &kubernetes)).0.len(), 4);

    // What is complete is skipped.
    let (lines, error) = ended(batch(room.path(), &["--shard=0/3"], &[]));
    assert_eq!(error, None);
    let found = statuses(&lines);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 3, 6, 9]);
    assert_eq!(found[&0], "skipped");
    assert_eq!(found[&9], "done");
    let (lines, _) = ended(batch(room.path(), &[], &[]));
    assert_eq!(
        statuses(&lines),
        (0..12).map(|job| (job, "skipped")).collect()
    );
    for job in &jobs {
        let out = room.path().join(job["out"].as_str().unwrap());
        assert_eq!(
            fs::read_dir(out.join("frames")).unwrap().count(),
            2,
            "{job}"
        );
        assert!(!out.join(".partial").exists(), "{job}");
    }
}

#[test]
fn a_job_that_fails_leaves_the_others_alone() {
    let room = tempfile::tempdir().unwrap();
    let good = |out: &str| json!({"out": out, "sample": "pink", "frames": "..1"});
    let mut bad = good("b");
    bad["motion"] = "missing.json".into();
    let jobs = json!([good("a"), bad, good("c.gif")]);
    fs::write(room.path().join("jobs.json"), jobs.to_string()).unwrap();
    let (lines, error) = ended(batch(room.path(), &["--retries=2"], &[]));
    assert_eq!(
        statuses(&lines),
        [(0, "done"), (1, "failed"), (2, "done")].into()
    );
    assert!(
        lines[1]["error"].as_str().unwrap().contains("missing.json"),
        "{lines:?}"
    );
    assert_eq!(lines[1]["attempts"], 3);
    assert!(error.unwrap().contains("1 of 3 jobs failed"));
    assert!(!room.path().join("b").exists() && room.path().join("c.gif").exists());
}
