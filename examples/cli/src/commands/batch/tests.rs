use super::*;

fn parsed(jobs: Value) -> Result<Vec<Job>, String> {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("jobs.json");
    std::fs::write(&file, jobs.to_string()).unwrap();
    read(&file).map_err(|error| error.to_string())
}

#[test]
fn jobs_have_the_options_of_reenact() {
    let job = json!({
        "out": "-a.mp4", "source": ["left.png", "right.png"], "frames": "0..24", "stride": 2,
        "lenient": true, "mirror": false, "background": "#ffffff",
    });
    let jobs = parsed(json!([job, {"out": "b", "sample": "pink"}])).unwrap();
    assert_eq!(jobs[0].args.out(), Path::new("-a.mp4"));
    assert_eq!(jobs[1].args.out(), Path::new("b"));
}

#[test]
fn what_is_wrong_with_a_job_is_said_with_its_number() {
    for (job, part) in [
        (json!({}), "expected \"out\""),
        (json!({"out": "b", "sampel": "pink"}), "--sampel"),
        (json!({"out": "b", "stride": 0}), "--stride"),
        (
            json!({"out": "b", "sample": "pink", "avatar": "me"}),
            "cannot be used with",
        ),
        (
            json!({"out": "b", "motion": {"file": "a"}}),
            "motion: expected text or a number",
        ),
        (
            json!({"out": "b", "motion": null}),
            "motion: expected text or a number",
        ),
        (
            json!({"out": "b", "adapter": "nvidia"}),
            "--adapter of the batch",
        ),
        (json!({"out": "a"}), "jobs 0 and 1 both write a"),
    ] {
        let error = parsed(json!([{"out": "a"}, job])).err().unwrap();
        assert!(error.contains(part), "{error}");
        assert!(error.contains("jobs.json: job"), "{error}");
    }
    assert!(
        parsed(json!({"out": "a"}))
            .err()
            .unwrap()
            .contains("jobs.json")
    );
}
