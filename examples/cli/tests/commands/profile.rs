//! Reports, traces and comparisons of `profile`.

use std::fs;

use gpavatar::Weights;
use serde_json::{Value, json};

use super::{failure, file, written};

/// Checks the samples of all times in a report, and counts those times.
fn check_samples(value: &Value, repeat: usize) -> usize {
    let children: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(values) => values.iter().collect(),
        _ => Vec::new(),
    };
    let below: usize = children.iter().map(|v| check_samples(v, repeat)).sum();
    let Some(median) = value.get("median_milliseconds") else {
        return below;
    };
    let mut samples: Vec<f64> = serde_json::from_value(value["milliseconds"].clone()).unwrap();
    assert_eq!(samples.len(), repeat);
    samples.sort_by(f64::total_cmp);
    assert_eq!(median.as_f64(), Some(samples[repeat / 2]));
    assert_eq!(value["worst_milliseconds"], samples[repeat - 1]);
    below + 1
}

#[test]
fn a_profile_tells_what_it_measured_and_is_compared() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    let [a, b, trace] = ["a.json", "b.json", "trace.json"].map(path);
    let text = written(["profile", "--repeat=3", "--json", &a, "--trace", &trace]);
    let read = |path: &str| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let mut report = read(&a);

    let header = report["header"].clone();
    assert_eq!(header["versions"]["gpavatar"], env!("CARGO_PKG_VERSION"));
    assert_eq!(header["precision"], "f32");
    assert_eq!(header["camera"]["distance"], 12.0);
    let weights = Weights::open(file("weights/demo.safetensors")).unwrap();
    assert_eq!(header["sizes"], json!(weights.config()));
    assert!(header["limits"]["max_buffer_size"].as_u64() > Some(1 << 20));
    assert!(text.contains(header["adapter"]["name"].as_str().unwrap()));
    let dispatches = report["frame"]["dispatches"].as_array().unwrap().clone();
    assert!(check_samples(&report, 3) > dispatches.len());
    let on_gpu = report["whole"].get("frame_on_gpu").is_some();
    assert_eq!(header["timestamps"], on_gpu);
    assert_eq!(text.contains("no GPU timestamps"), !on_gpu, "{text}");

    // The trace has all dispatches of a frame, one after the other.
    let trace = read(&trace);
    assert_eq!(trace["otherData"]["header"], header);
    let events = trace["traceEvents"].as_array().unwrap();
    let kernels = events.iter().filter(|event| event["cat"] == "kernels");
    let kernels: Vec<_> = kernels.collect();
    assert_eq!(kernels.len(), dispatches.len());
    for (event, dispatch) in kernels.iter().zip(&dispatches) {
        assert_eq!(event["name"], dispatch["kernel"]);
        let sample = event["dur"].as_f64().unwrap() / 1e3;
        let samples = dispatch["milliseconds"].as_array().unwrap().iter();
        let near = |time: &Value| (time.as_f64().unwrap() - sample).abs() < 1e-6;
        assert!(samples.clone().any(near), "{event} {dispatch}");
    }
    let starts: Vec<_> = kernels.iter().map(|e| e["ts"].as_f64().unwrap()).collect();
    assert!(starts[0] == 0.0 && starts.is_sorted());

    let same = written(["profile", "--compare", &a, &a]);
    assert!(
        !same.contains("warning") && !same.contains("  faster"),
        "{same}"
    );
    // As if all dispatches of the field had become a hundred times slower, at another precision.
    report["header"]["precision"] = json!("f16");
    report["header"]["adapter"]["driver_info"] = json!("another");
    let stages = report["frame"]["stages"].as_array_mut().unwrap();
    let field = stages.iter_mut().find(|stage| stage["stage"] == "field");
    let field = field.unwrap();
    let median = field["median_milliseconds"].as_f64().unwrap();
    field["median_milliseconds"] = json!(100.0 * median);
    fs::write(&b, report.to_string()).unwrap();
    let compared = written(["profile", "--compare", &a, &b]);
    for warning in [
        "precision differs: \"f32\" in A, \"f16\" in B",
        "adapter.driver_info differs",
    ] {
        assert!(
            compared.contains(&format!("warning: {warning}")),
            "{compared}"
        );
    }
    let ends = |row: &str, end: &str| {
        let mut lines = compared.lines().filter(|line| line.starts_with(row));
        let line = lines.next().unwrap();
        assert!(line.ends_with(end) && lines.next().is_none(), "{compared}");
    };
    ends("frame: field ", "  slower");
    ends("frame: rays ", "  same");
    let compared = written(["profile", "--compare", &b, &a]);
    assert_eq!(compared.matches("  faster").count(), 1, "{compared}");
}

#[test]
fn what_is_no_report_is_not_compared() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("other.json");
    let path = path.to_str().unwrap();
    let expected = "expected a report of gpavatar profile --json";
    for (content, reason) in [
        ("{}", "missing field `header`"),
        ("{\"header\": 3}", "line 1"),
        ("nonsense", "line 1"),
    ] {
        fs::write(path, content).unwrap();
        let errors = failure(["profile", "--compare", path, path]);
        let parts = ["error: ", "other.json: ", reason, expected];
        assert!(parts.iter().all(|part| errors.contains(part)), "{errors}");
    }
    let errors = failure(["profile", "--compare", "missing.json", path]);
    assert!(errors.contains("missing.json: ") && errors.contains(expected));
    let errors = failure(["profile", "--compare", path, path, "--full"]);
    assert!(errors.contains("--compare"), "{errors}");
}
