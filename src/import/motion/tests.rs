use std::fmt::Write as _;

use super::*;
use crate::error::refused;

fn parse(text: &str) -> Result<ImportedMotion> {
    motion_from_bytes("test", text.as_bytes(), &MotionOptions::default())
}

#[track_caller]
fn imported(text: &str) -> ImportedMotion {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(text: &str, reasons: &[&str]) {
    let error = refused!(parse(text), Format);
    for reason in reasons {
        assert!(error.contains(reason), "{text:?}: {error}");
    }
}

/// A table with a column of times and one channel.
fn timed<T: std::fmt::Display>(name: &str, times: impl IntoIterator<Item = T>) -> String {
    let rows = times.into_iter().map(|time| format!("{time},0.5\n"));
    format!("{name},jawOpen\n{}", rows.collect::<String>())
}

#[test]
fn every_spelling_of_a_channel_is_known() {
    for name in [
        "jawOpen",
        "JawOpen",
        "jaw_open",
        "JAW OPEN",
        "blendShapes.JawOpen",
        "Face|jawOpen",
        "weights[jawOpen]",
    ] {
        let found = imported(&format!("t,{name}\n0,1\n0.1,1\n"));
        assert_eq!(found.motion.channels(), ["jawOpen"], "{name}");
        assert!(found.dropped.is_empty());
    }
    let sides = imported("t,eyeBlink_L,EyeBlinkRight,mouth_left\n0,1,0,0\n0.1,1,0,0\n");
    let expected = ["eyeBlinkLeft", "eyeBlinkRight", "mouthLeft"];
    assert_eq!(sides.motion.channels(), expected);
    // The same channel with a prefix stands back.
    let twice = imported("t,jawOpen,raw.jawOpen\n0,1,0.5\n0.1,1,0.5\n");
    assert_eq!(twice.dropped, ["raw.jawOpen"]);
    assert_eq!(twice.motion.frames()[0].expression, [1.0]);
    // A head model of other channels.
    let options = MotionOptions {
        channels: vec!["AU26".into()],
        ..MotionOptions::default()
    };
    let other = motion_from_bytes("test", b"t,au_26,jawOpen\n0,1,0\n0.1,1,0\n", &options).unwrap();
    assert_eq!(other.motion.channels(), ["AU26"]);
    assert_eq!(other.dropped, ["jawOpen"]);
}

#[test]
fn an_import_is_told_in_a_line() {
    let line = imported("time,jawOpen,_neutral,headYaw\n0,1,1,0\n0.04,1,1,0.5\n").to_string();
    assert_eq!(
        line,
        "2 frames, 25 per second by its times in seconds, 1 channels (jawOpen); left out: _neutral; \
         head rotation kept, by the camera"
    );
    let many: String = (0..30).fold(String::new(), |mut many, i| {
        let _ = write!(many, ",point{i}");
        many
    });
    let line = imported(&format!("time,jawOpen{many}\n0,1{}\n", ",x".repeat(30))).to_string();
    assert!(line.contains("point19, and 10 more"), "{line}");
}

#[test]
fn tables_may_be_separated_and_written_in_other_ways() {
    let expected = imported("time,jawOpen\n0,0.25\n0.5,0.75\n").motion;
    for text in [
        "time;jawOpen\n0;0,25\n0,5;0,75\n",
        "time\tjawOpen\n0\t0.25\n0.5\t0.75\n",
        "sep=;\r\ntime;jawOpen\r\n0;0,25\r\n0,5;0,75\r\n",
        "\u{feff}time,jawOpen\n0,0.25\n0.5,0.75\n",
        "jawOpen,time\n\"0,25\",0\n0.75,0.5\n",
        "time,jawOpen\n0:00,0.25\n0:00.5,0.75\n",
    ] {
        assert_eq!(imported(text).motion, expected, "{text:?}");
    }
    // A row without values has no face.
    let blank = imported("time,jawOpen\n0,0.25\n0.5,\n1,0.75\n").motion;
    assert_eq!(blank.frames()[1].expression, [0.25]);
}

#[test]
fn rates_are_measured() {
    let fps = |text: &str| imported(text).motion.fps();
    for (rate, rounding) in [
        (30.0, 0.0),
        (24.0, 0.5),
        (59.94, 0.0),
        (120.0, 0.5),
        (17.3, 0.0),
    ] {
        for count in [2, 3, 10, 500] {
            let seconds = (0..count).map(|i| f64::from(i) / rate);
            let found = fps(&timed("time", seconds.clone()));
            assert!(
                (f64::from(found) - rate).abs() < 1e-3,
                "{rate} {count}: {found}"
            );
            if rounding > 0.0 {
                let milliseconds = seconds.map(|time| (1000.0 * time + rounding).floor());
                let found = fps(&timed("timestamp", milliseconds));
                let error = 1.0 + rate / 1000.0 / f64::from(count - 1);
                assert!(
                    (f64::from(found) / rate - 1.0).abs() < error,
                    "{rate} {count}: {found}"
                );
            }
        }
    }
    assert_eq!(fps(&timed("timestamp", [0, 33])), 30.0);
    assert_eq!(fps(&timed("timestamp", [0, 33, 66, 100])), 30.0);
    assert_eq!(fps(&timed("Time (ms)", ["0.0", "33.3", "66.7"])), 30.0);
    let since_1970 = [1_700_000_000_000_u64, 1_700_000_000_033, 1_700_000_000_066];
    assert_eq!(fps(&timed("timestamp", since_1970)), 30.0);
    assert_eq!(fps(&timed("timestamp", [0, 33_333, 66_667])), 30.0);
    assert_eq!(fps(&timed("timestamp_ns", [0, 33_333_333])), 30.0);
    // Milliseconds stand beside a number and seconds.
    let text = "frame,time,timestamp_ms,jawOpen\n0,0,0,1\n1,1,40,1\n2,2,80,1\n";
    assert_eq!(fps(text), 25.0);
}

#[test]
fn jumps_of_the_clock_do_not_count() {
    let jumping = |at: usize, by: f64| {
        let times = (0..60).map(move |i| i as f64 / 30.0 + if i < at { 0.0 } else { by });
        imported(&timed("time", times)).motion.fps()
    };
    for by in [100.0, -1.0, -100.0] {
        assert_eq!(jumping(20, by), 30.0, "{by}");
    }
    let codes = |seconds: &[u32]| {
        let code = |s: u32| (0..30).map(move |f| format!("10:00:{s:02}:{f:02}.0"));
        timed("Timecode", seconds.iter().copied().flat_map(code))
    };
    assert_eq!(
        imported(&codes(&[0, 1, 2, 40, 41, 42, 10, 11, 12]))
            .motion
            .fps(),
        30.0
    );
    // Short clips: within a second, over one turn of it, over one jump.
    refused(&codes(&[0]), &["within one", "--fps"]);
    assert_eq!(imported(&codes(&[0, 1])).motion.fps(), 30.0);
    refused(&codes(&[0, 20]), &["row 32", "--fps"]);
    let short = ["10:00:00:58", "10:00:00:59", "10:00:01:00"];
    assert_eq!(imported(&timed("Timecode", short)).motion.fps(), 60.0);
}

#[test]
fn rates_that_nothing_tells_are_refused() {
    let plausible = "1 to 240 frames per second";
    refused("frame,jawOpen\n0,1\n1,1\n", &["found none", "--fps"]);
    refused(&timed("time", 0..9), &["count the frames", "--fps"]);
    refused(
        &timed("time", [0.0, 1.5, 3.0]),
        &["row 3", plausible, "--fps"],
    );
    refused(
        &timed("time_s", [0, 33, 66]),
        &["row 3", plausible, "--fps"],
    );
    refused(&timed("time", [0.0, 0.002, 0.004]), &["row 3", plausible]);
    refused(
        &timed("time", [5.0, 5.0, 5.0]),
        &["row 3", "after 5", "--fps"],
    );
    refused(&timed("time", [0.0, 0.04, 9.0]), &["row 4", "--fps"]);
    refused(
        r#"{"fps": 0.5, "frames": [{"jawOpen": 1}, {"jawOpen": 0}]}"#,
        &[plausible],
    );
    let with = |fps| {
        let options = MotionOptions {
            fps: Some(fps),
            ..MotionOptions::default()
        };
        motion_from_bytes("test", b"frame,jawOpen\n0,1\n1,1\n", &options)
    };
    assert_eq!(with(50.0).unwrap().motion.fps(), 50.0);
    for fps in [0.5, 241.0, f32::NAN] {
        refused!(with(fps), Argument);
    }
    assert_eq!(imported("jawOpen\n1\n").motion.len(), 1);
}

#[test]
fn head_rotations_turn_the_camera_around_the_head() {
    let origin = |text: &str| imported(text).motion.frames()[1].camera.origin();
    let close = |text: &str, expected: [f32; 3]| {
        let found = origin(text);
        assert!(found.abs_diff_eq(expected.into(), 1e-4), "{text}: {found}");
    };
    let (sin, cos) = 0.5f32.sin_cos();
    let left = [-10.0 * sin, 0.0, 10.0 * cos];
    close("t,jawOpen,headYaw\n0,0,0\n0.1,0,0.5\n", left);
    // Degrees.
    let degrees = 0.5f32.to_degrees();
    close(&format!("t,jawOpen,yaw\n0,0,0\n0.1,0,{degrees}\n"), left);
    close(
        "t,jawOpen,HeadPitch\n0,0,0\n0.1,0,0.5\n",
        [0.0, 10.0 * sin, 10.0 * cos],
    );
    close("t,jawOpen,HeadRoll\n0,0,0\n0.1,0,0.5\n", [0.0, 0.0, 10.0]);
    // To the person's left, about the vertical axis, in all forms.
    let rotation = |value: &str| {
        format!(r#"[{{"t": 0, "jawOpen": 0}}, {{"t": 0.1, "jawOpen": 0, "rotation": {value}}}]"#)
    };
    let (s, c) = (sin, cos);
    let (qs, qc) = 0.25f32.sin_cos();
    for value in [
        "[0, 0.5, 0]".to_owned(),
        r#"{"yaw": 0.5}"#.to_owned(),
        format!("[0, {qs}, 0, {qc}]"),
        format!("[{c}, 0, {s}, 0, 1, 0, -{s}, 0, {c}]"),
        format!("[[{c}, 0, {s}], [0, 1, 0], [-{s}, 0, {c}]]"),
        format!("[[{c}, 0, {s}, 7], [0, 1, 0, 7], [-{s}, 0, {c}, 7], [0, 0, 0, 1]]"),
        // By columns, as MediaPipe has it in browsers.
        format!(r#"{{"data": [{c}, 0, -{s}, 0, 0, 1, 0, 0, {s}, 0, {c}, 0, 3, 4, 5, 1]}}"#),
        format!("[{c}, 0, {s}, 3, 0, 1, 0, 4, -{s}, 0, {c}, 5, 0, 0, 0, 1]"),
    ] {
        close(&rotation(&value), left);
    }
    let still = rotation("[0, 0, 0, 2]");
    refused(&still, &["frame 1: rotation: expected"]);
}

#[test]
fn json_of_many_programs_is_read() {
    let expected = imported("time,jawOpen,tongueOut\n0,0.25,0\n0.04,0.75,1\n").motion;
    for text in [
        // NVIDIA Audio2Face.
        r#"{"exportFps": 25, "numFrames": 2, "facsNames": ["jawOpen", "tongueOut"],
            "weightMat": [[0.25, 0], [0.75, 1]]}"#,
        // LAM Audio2Expression, in another order.
        r#"{"frames": [{"rotation": [], "weights": [0.25, 0], "time": 0},
                       {"time": 0.04, "weights": [0.75, 1]}],
            "metadata": {"fps": 25}, "names": ["jawOpen", "tongueOut"]}"#,
        // MediaPipe.
        r#"[{"timestamp_ms": 0, "face_blendshapes": [[
                {"index": 0, "score": 0.25, "category_name": "jawOpen", "display_name": ""},
                {"index": 1, "score": 0, "category_name": "tongueOut"}]]},
            {"timestamp_ms": 40, "face_blendshapes": [[
                {"score": 1, "category_name": "tongueOut"},
                {"score": 0.75, "category_name": "jawOpen"}]]}]"#,
        r#"{"frames": [
            {"time": 0, "faceBlendshapes": [{"categories": [{"score": 0.25, "categoryName": "jawOpen"}]}]},
            {"time": 0.04, "blendshapes": {"jawOpen": 0.75, "tongueOut": 1}}]}"#,
        // A key for each frame, or a list for each channel.
        r#"{"10": {"jawOpen": 0.75, "tongueOut": 1, "t": 0.04}, "9": {"jawOpen": 0.25, "t": 0}}"#,
        r#"{"time": [0, 0.04], "jawOpen": [0.25, 0.75], "tongueOut": [0, 1]}"#,
        // A line for each frame.
        "{\"t\": 0, \"jawOpen\": 0.25, \"tongueOut\": 0}\n{\"t\": 0.04, \"jawOpen\": 0.75, \"tongueOut\": 1}\n",
    ] {
        assert_eq!(imported(text).motion.frames(), expected.frames(), "{text}");
        assert_eq!(imported(text).motion.fps(), 25.0, "{text}");
    }
    let names =
        imported(r#"{"fps": 30, "frames": [{"_neutral": 1, "jawOpen": 1}, {"jawOpen": 1}]}"#);
    assert_eq!(names.dropped, ["_neutral"]);
    // NeuroSync's numbers have no names.
    let row = vec!["0.5"; 68].join(",");
    let numbers = imported(&format!(r#"{{"blendshapes": [[{row}], [{row}]]}}"#));
    assert_eq!(
        (numbers.motion.fps(), numbers.motion.channels().len()),
        (60.0, 52)
    );
    assert!(numbers.dropped.contains(&"happy".to_owned()));
    // A frame without a face.
    let blank = r#"{"fps": 30, "frames": [{"faceBlendshapes": [[{"score": 1, "categoryName":
        "jawOpen"}]]}, {"faceBlendshapes": []}]}"#;
    assert_eq!(imported(blank).motion.frames()[1].expression, [1.0]);
}

#[test]
fn json_that_is_something_else_is_named() {
    refused(r#"{"a": 1, "b": {}}"#, &["an object of 2 (a, b …)"]);
    refused("[]", &["a list of 0 numbers"]);
    refused("{", &["EOF"]);
    refused(r#"{"frames": [[1, 2]]}"#, &["names of the 2 numbers"]);
    refused(
        r#"{"fps": 30, "names": ["jawOpen"], "frames": [[1], [1, 2]]}"#,
        &["frame 1", "found 2"],
    );
    refused(
        r#"{"fps": 30, "frames": [{"elbow": 1}]}"#,
        &["found \"elbow\""],
    );
    refused(
        r#"{"frames": [{"jawOpen": 1}, {"jawOpen": 1}]}"#,
        &["--fps"],
    );
}

#[test]
fn cues_become_shapes_of_the_mouth() {
    let tsv = "0.00\tX\n0.50\tD\n1.00\tA\n1.50\tX\n";
    let xml = r#"<?xml version="1.0"?><rhubarbResult><mouthCues>
        <mouthCue start="0.00" end="0.50">X</mouthCue>
        <mouthCue start="0.50" end="1.00">D</mouthCue>
        <mouthCue start="1.00" end="1.50">A</mouthCue></mouthCues></rhubarbResult>"#;
    let json = r#"{"metadata": {"duration": 1.5}, "mouthCues": [
        {"start": 0.0, "end": 0.5, "value": "X"}, {"start": 0.5, "end": 1.0, "value": "D"},
        {"start": 1.0, "end": 1.5, "value": "A"}]}"#;
    let expected = imported(tsv);
    assert_eq!(expected.rate, RateSource::Assumed);
    let motion = &expected.motion;
    assert_eq!((motion.len(), motion.fps()), (46, 30.0));
    let jaw = motion
        .channels()
        .iter()
        .position(|name| name == "jawOpen")
        .unwrap();
    let jaws = |i: usize| motion.frames()[i].expression[jaw];
    // Closed, half way, open, closed.
    let found = [0, 15, 22, 40].map(jaws);
    assert!((found[1] - 0.3).abs() < 1e-5 && [found[0], found[2], found[3]] == [0.0, 0.6, 0.0]);
    for text in [xml, json] {
        assert_eq!(imported(text).motion, *motion, "{text}");
    }
    refused("0.00\tX\n0.50\tQ\n1\tX\n", &["cue 1", "found \"Q\""]);
    refused("0.50\tX\n0.20\tA\n1\tX\n", &["cue 1", "from 0.5 on"]);
    refused("0.00\tX\nnoon\tA\n", &["line 2"]);
    refused("0.00\tX\n1e9\tA\n", &["more than a file"]);
}

#[test]
fn curves_are_sampled() {
    let track = r#"{"format": "openfacefx.track", "version": 1, "fps": 60, "duration": 1.0,
        "viseme_set": ["sil"], "channels": [
            {"name": "sil", "keys": [[0, 1]]}, {"name": "PP", "keys": [[0, 0]]},
            {"name": "aa", "keys": [[0, 0], [1, 1]]}, {"name": "E", "keys": [[0, 0]]},
            {"name": "U", "keys": [[0, 0]]}]}"#;
    let csv = "time,channel,value\n0,sil,1\n0,PP,0\n0,aa,0\n1,aa,1\n0,E,0\n0,U,0\n";
    for (text, fps) in [(track, 60.0), (csv, 30.0)] {
        let found = imported(text).motion;
        assert_eq!((found.fps(), found.len()), (fps, fps as usize + 1));
        let jaw = found
            .channels()
            .iter()
            .position(|name| name == "jawOpen")
            .unwrap();
        let half = &found.frames()[fps as usize / 2];
        assert!((half.expression[jaw] - 0.3).abs() < 1e-5);
    }
    let arkit = "time,channel,value\n0,jawOpen,0\n0.5,jawOpen,1\n0,elbow,1\n";
    let arkit = imported(arkit);
    assert_eq!(
        (arkit.motion.len(), arkit.dropped),
        (16, vec!["elbow".to_owned()])
    );
    let columns = imported("time,PP,FF,TH,DD,aa\n0,0,0,0,0,1\n0.01,0,0,0,0,0.5\n").motion;
    let jaw = columns
        .channels()
        .iter()
        .position(|name| name == "jawOpen")
        .unwrap();
    assert_eq!(
        [0, 1].map(|i| columns.frames()[i].expression[jaw]),
        [0.6, 0.3]
    );
}

#[test]
fn texts_may_be_in_utf_16() {
    let text = "time,jawOpen\n0,0.25\n0.5,0.75\n";
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
    let found = motion_from_bytes("test", &bytes, &MotionOptions::default()).unwrap();
    assert_eq!(found.motion, imported(text).motion);
    refused("<html><title>Not found</title>", &["HTML", "Not found"]);
    refused("<?xml version=\"1.0\"?><a/>", &["XML"]);
}

#[test]
fn small_files_take_little_memory() {
    // Rows without a face, frames without values.
    let rows = "1,0\n".repeat(2_000_000);
    let names = ARKIT.join(",");
    refused(
        &format!("frame,BlendShapeCount,{names}\n{rows}"),
        &["more than a file"],
    );
    let frames = "{},".repeat(2_000_000);
    let text = format!(r#"{{"fps": 30, "frames": [{frames}{{"jawOpen": 1}}]}}"#);
    refused(&text, &["more lists and names"]);
}

#[test]
fn a_motion_of_this_crate_stays_as_it_is() {
    let own = r#"{"version": 1, "name": "smile", "fps": 24, "channels": ["jawOpen"],
        "orbit": [10, 0, 20], "expression": [[0], [1]]}"#;
    let found = imported(own);
    assert_eq!(found.motion, Motion::from_json(own).unwrap());
    assert_eq!(found.rate, RateSource::Own);
    // What is wrong with one is told as such.
    for (text, reason) in [
        (
            own.replace("\"version\": 1, ", ""),
            "missing field `version`",
        ),
        (
            own.replace("expression", "expresion"),
            "unknown field `expresion`",
        ),
    ] {
        let error = refused!(parse(&text), Format);
        assert!(error.contains("test") && error.contains(reason), "{error}");
    }
}

#[test]
fn the_documented_table_of_visemes_is_the_one_used() {
    let source = include_str!("../motion.rs");
    let shapes = channels::VISEMES[1..15]
        .iter()
        .map(|(name, shape)| (name.to_string(), shape));
    let rhubarb = channels::RHUBARB.iter().filter(|(name, _)| *name != "X");
    for (name, shape) in shapes.chain(rhubarb.map(|(name, shape)| (name.to_string(), shape))) {
        let mut row = shape
            .iter()
            .map(|(channel, weight)| format!("{channel} {weight}"));
        let listed = source
            .lines()
            .filter(|line| line.starts_with("/// | "))
            .any(|line| {
                let row = line.split('|').collect::<Vec<_>>();
                let names = row[1].trim().trim_start_matches("shape ");
                names.split(", ").any(|listed| listed == name)
                    && shape
                        .iter()
                        .all(|(channel, weight)| line.contains(&format!("{channel} {weight}")))
            });
        assert!(listed, "{name}: {:?}", row.next());
    }
}

/// Replaces parts of well-formed files by others, below what a parser of JSON or tables refuses.
#[test]
fn garbled_files_end_well() {
    let files = [
        "time,jawOpen,headYaw\n0,0.5,0.1\n0.04,0.5,0.1\n0.08,0.5,0.1\n",
        "Timecode,BlendShapeCount,JawOpen\n10:00:58:29.0,1,0\n10:00:59:00.0,0\n10:00:59:01.0,1,0\n",
        "time,channel,value\n0,jawOpen,0\n1,jawOpen,1\n",
        "0.00\tX\n0.50\tD\n1.00\tX\n",
        "<a><mouthCue start=\"0.00\" end=\"0.50\">X</mouthCue> <mouthCue start=\"0.5\" end=\"1\">D</mouthCue></a>",
        r#"{"mouthCues": [{"start": 0, "end": 0.5, "value": "X"}, {"start": 0.5, "end": 1, "value": "D"}]}"#,
        r#"{"format": "x", "fps": 30, "channels": [{"name": "jawOpen", "keys": [[0, 0], [1, 1]]}]}"#,
        r#"{"fps": 30, "names": ["jawOpen", "tongueOut"], "frames": [{"weights": [0, 1], "time": 0,
            "rotation": [0, 0, 0, 1]}, {"weights": [0, 1], "time": 0.1, "rotation": []}]}"#,
        r#"[{"t": 0, "faceBlendshapes": [[{"score": 1, "categoryName": "jawOpen"}]], "matrix":
            {"data": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}}]"#,
        r#"{"0": {"jawOpen": 1, "t": 0}, "1": {"jawOpen": 1, "t": 0.1}}"#,
        r#"{"time": [0, 0.1], "jawOpen": [0, 1]}"#,
        r#"{"version": 1, "fps": 30, "expression": [[0], [1]], "orbit": [10, 0, 0]}"#,
    ];
    let others = [
        "",
        "0",
        "-1",
        "1e308",
        "-1e308",
        "0.001",
        "1e-300",
        "nan",
        "inf",
        "null",
        "[]",
        "{}",
        "[[]]",
        "\"\"",
        "\"jawOpen\"",
        "jawOpen",
        "time",
        "t",
        "fps",
        "frames",
        "names",
        "keys",
        "channels",
        "4294967296",
        "99999999999999999999",
        "\u{feff}",
        "\0",
        "é",
        ":",
        ",",
        ";",
        "\t",
        "\n",
        "\"",
        "}",
        "]",
        "rotation",
        "headYaw",
        "frame",
        "viseme_aa",
    ];
    // Numerical Recipes' generator: the same every time.
    let mut state = 1u32;
    let mut next = |end: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % end
    };
    let is_part = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let mut read = 0;
    for file in files {
        for _ in 0..3000 {
            let mut text = file.to_owned();
            for _ in 0..=next(3) {
                let at = next(text.len().max(1));
                let at = (at..=text.len())
                    .find(|&at| text.is_char_boundary(at))
                    .unwrap();
                let rest = &text[at..];
                let part = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                let part = part.max(rest.chars().next().map_or(0, char::len_utf8));
                text.replace_range(at..at + part, others[next(others.len())]);
            }
            if let Ok(imported) = parse(&text) {
                assert!(
                    !imported.to_string().is_empty() && imported.motion.fps() >= 1.0,
                    "{text}"
                );
                read += 1;
            }
        }
    }
    assert!(read > 2000, "{read}");
}
