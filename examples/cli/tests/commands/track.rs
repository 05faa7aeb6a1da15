//! Photographs and films of people, as people track them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{failure, file, gpavatar, written};

/// A photograph of an astronaut, one of two faces, and one of none.
fn photo(name: &str) -> String {
    let path = file("tests/golden/track").join(format!("{name}.png"));
    path.to_str().unwrap().to_owned()
}

/// A film whose frames are parts of the astronaut's photograph, each further on: of so many pictures,
/// of which those before `black` and from `light` on are to be seen.
fn film(path: &Path, frames: u32, [black, light]: [u32; 2]) {
    let filter = format!(
        "crop=256:256:60+4*n:2*n,drawbox=t=fill:enable='between(n,{black},{light}-1)',format=yuv420p"
    );
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"];
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-loop", "1", "-framerate", "12", "-i"]);
    ffmpeg.arg(photo("astronaut")).args(sound);
    ffmpeg.args(["-vf", &filter]);
    ffmpeg.args(["-t", &format!("{}", f64::from(frames) / 12.0), "-crf", "10"]);
    assert!(ffmpeg.arg(path).status().unwrap().success());
}

#[test]
fn photographs_become_sources_that_reenact_takes() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    let (me, out) = (path("me"), path("out"));
    // The one without a face is left out, which is said.
    let [astronaut, none, turned] = ["astronaut", "none", "rot20"].map(photo);
    let output = gpavatar(["track", &astronaut, &none, &turned, "-o", &me]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let left_out = "none.png: expected a face, found none";
    assert!(
        errors.contains(left_out) && !errors.contains("astronaut"),
        "{errors}"
    );
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("astronaut.png: presence 1.000") && told.ends_with("me\n"),
        "{told}"
    );

    let list = fs::read_to_string(path("me/sources.json")).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let sources = list["sources"].as_array().unwrap();
    let names: Vec<_> = sources.iter().map(|source| &source["frame"]).collect();
    assert_eq!(names, ["astronaut.png", "rot20.png"]);
    assert_eq!(sources[0]["transform"][2][3], 10.6);
    assert_eq!(image::open(path("me/source_1.png")).unwrap().width(), 512);
    assert!(image::open(path("me/sheet.png")).unwrap().width() > 512);
    written(["reenact", "-s", &me, "--frames=..1", "--out", &out]);

    let again = failure(["track", &astronaut, "-o", &me]);
    assert!(again.contains("expected a new or empty folder"), "{again}");
}

#[test]
fn a_photograph_is_matted_by_its_own_alpha() {
    let room = tempfile::tempdir().unwrap();
    let [cut, me] = ["cut.png", "me"].map(|name| room.path().join(name));
    let mut picture = image::open(photo("astronaut")).unwrap().into_rgba8();
    for (_, y, pixel) in picture.enumerate_pixels_mut() {
        // The chin is above.
        pixel[3] = if y < 190 { 255 } else { 0 };
    }
    picture.save(&cut).unwrap();
    let [cut, out] = [&cut, &me].map(|path| path.to_str().unwrap());
    written(["track", cut, "-o", out]);
    let source = image::open(me.join("source_0.png")).unwrap().to_rgb8();
    // Also what the network takes for background stays, and the suit is gone.
    assert!(source.get_pixel(20, 60).0.iter().all(|value| *value > 60));
    assert!(source.get_pixel(256, 500).0.iter().all(|value| *value == 0));
}

#[test]
fn another_head_model_is_tracked_by_its_embedding() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    // The shipped one, whose channels have lost their names.
    let head = gpavatar::HeadModel::open(file("weights/demo.safetensors")).unwrap();
    let mut parts = head.parts().clone();
    parts.channels.clear();
    let nameless = gpavatar::HeadModel::new(parts).unwrap();
    let (model, embedding) = (path("head.safetensors"), path("embedding.json"));
    nameless.write(&model).unwrap();
    let shipped = gpavatar::track::Embedding::shipped();
    fs::write(&embedding, shipped.to_json()).unwrap();
    let head = format!("--head={model}");
    let embedding = format!("--embedding={embedding}");

    let me = path("me");
    let [astronaut, turned] = ["astronaut", "rot20"].map(photo);
    let told = written(["track", &astronaut, &turned, "-o", &me, &head, &embedding]);
    assert_eq!(told.matches("fit ").count(), 2, "{told}");
    let sources = gpavatar::import::Sources::open(&me).unwrap();
    assert_eq!(sources.shape.len(), nameless.shape_count());
    assert!(sources.shape.iter().any(|value| *value != 0.0));

    let (clip, out) = (path("clip.mkv"), path("clip.json"));
    film(clip.as_ref(), 3, [9, 9]);
    let as_it_is = "--calibration=none";
    written(["track", &clip, "-o", &out, &head, &embedding, as_it_is]);
    let motion = gpavatar::Motion::open(&out).unwrap();
    let expression = &motion.frames()[0].expression;
    assert_eq!(expression.len(), nameless.expression_count());
    assert!(expression.iter().any(|value| value.abs() > 0.1));
}

#[test]
fn an_embedding_of_flame_becomes_one_of_the_crate() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("embedding.json");
    let [npz, head] = ["embedding.npz", "head.npz"].map(|name| file("tests/fixtures").join(name));
    let [npz, head, path] = [&npz, &head, &out].map(|path| path.to_str().unwrap());
    let told = written(["import", "embedding", npz, "--head", head, "-o", path]);
    assert!(told.starts_with("2 landmarks\n"), "{told}");
    let json = fs::read_to_string(&out).unwrap();
    let embedding = gpavatar::track::Embedding::from_json("it", &json).unwrap();
    let [nose, eye] = embedding.points() else {
        panic!("{json}");
    };
    assert_eq!(
        (&nose.landmarks[..], nose.weights),
        (&[4][..], [0.5, 0.25, 0.25, 0.0])
    );
    assert_eq!((&eye.landmarks[..], eye.vertices[1]), (&[263][..], 1));
    let errors = failure(["import", "embedding", head, "--head", head]);
    assert!(
        errors.contains("head.npz is not a valid embedding"),
        "{errors}"
    );
}

#[test]
fn each_of_two_people_has_a_folder() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("both");
    let two = photo("two");
    written(["track", &two, "--faces=3", "-o", out.to_str().unwrap()]);
    let pictures = ["face_0", "face_1"].map(|face| {
        assert!(out.join(face).join("sources.json").exists());
        image::open(out.join(face).join("source_0.png")).unwrap()
    });
    assert!(pictures[0] != pictures[1]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    let errors = failure(["track", &two, &two, "--faces=2"]);
    assert!(errors.contains("who is who"), "{errors}");
}

#[test]
fn pictures_without_a_face_are_named() {
    let room = tempfile::tempdir().unwrap();
    let dot = room.path().join("dot.png");
    image::RgbImage::new(1, 1).save(&dot).unwrap();
    let out = room.path().join("out");
    let out = out.to_str().unwrap();
    for picture in [photo("none"), dot.to_str().unwrap().to_owned()] {
        let errors = failure(["track", &picture, "-o", out]);
        let expected = format!("error: {picture}: expected a face, found none");
        assert!(errors.contains(&expected), "{errors}");
    }
    assert!(!Path::new(out).exists());
    let errors = failure(["track", &photo("astronaut"), "--nets", out, "-o", out]);
    assert!(
        errors.contains("face_landmarker.task") && errors.contains("get.sh"),
        "{errors}"
    );
    let errors = failure(["track", "missing.jpg", "-o", out]);
    assert!(errors.contains("missing.jpg"), "{errors}");
}

/// The frames of a motion and its rate.
fn motion(path: &Path) -> (usize, f64) {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(json["channels"].as_array().unwrap().len(), 52);
    let frames = json["transform"].as_array().unwrap().len();
    (frames, json["fps"].as_f64().unwrap())
}

#[test]
fn a_film_becomes_a_motion_of_its_length_and_rate() {
    let room = tempfile::tempdir().unwrap();
    let [clip, out] = ["clip.mkv", "clip.json"].map(|name| room.path().join(name));
    film(&clip, 24, [10, 13]);
    let [input, output] = [&clip, &out].map(|path| path.to_str().unwrap());
    let told = written(["track", input, "-o", output]);
    assert!(
        told.contains("24 frames, 12.00 per second, the face in 21;"),
        "{told}"
    );
    assert_eq!(motion(&out), (24, 12.0));
    // Cut within a frame.
    let whole = fs::read(&clip).unwrap();
    fs::write(&clip, &whole[..whole.len() / 2]).unwrap();
    let cut = gpavatar(["track", input, "-o", output]);
    let errors = String::from_utf8(cut.stderr).unwrap();
    assert!(
        cut.status.success() && errors.contains("is cut or damaged"),
        "{errors}"
    );
    let (frames, _) = motion(&out);
    assert!((1..24).contains(&frames), "{frames}");
    let last = format!("ends with frame {frames}");
    assert!(errors.contains(&last), "{errors}");

    film(&clip, 5, [0, 5]);
    fs::remove_file(&out).unwrap();
    let errors = failure(["track", input, "-o", output]);
    let expected = format!("error: {input}: expected a face, found none in 5 frames");
    assert!(errors.contains(&expected), "{errors}");
    assert!(!out.exists());
    let errors = failure(["track", input, "-o", "motion.txt"]);
    assert!(
        errors.contains("expected .json or .safetensors"),
        "{errors}"
    );
}

/// What ffprobe says of a film: codec, rate and number of frames, and duration of each stream.
fn probed(path: &Path) -> Vec<[String; 3]> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-of", "csv=p=0", "-count_frames"]);
    ffprobe.args([
        "-show_entries",
        "stream=codec_name,avg_frame_rate,nb_read_frames,duration",
    ]);
    let output = ffprobe.arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let [codec, rate, duration, count] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{text}");
        };
        [codec.into(), format!("{rate} {count}"), duration.into()]
    };
    text.lines().map(row).collect()
}

#[test]
fn a_photograph_is_moved_as_a_film() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    let (clip, out) = (path("clip.mp4"), path("out.mp4"));
    film(clip.as_ref(), 18, [9, 11]);
    let me = photo("astronaut");
    let told = written(["reenact", "--photo", &me, "--drive", &clip, "-o", &out]);
    assert!(
        told.starts_with("18 pictures, ") && told.contains("without tracking"),
        "{told}"
    );
    let [video, sound] = &probed(out.as_ref())[..] else {
        panic!("{told}");
    };
    assert_eq!(video, &["h264", "12/1 18", "1.500000"]);
    assert_eq!(sound[0], "aac");
    let seconds: f64 = sound[2].parse().unwrap();
    assert!((seconds - 1.5).abs() < 0.05, "{seconds}");

    // A part of it, every other frame, on a sample, from the second half second on.
    let args = ["--sample=pink", "--frames=6..12", "--stride=2", "--drive"];
    let out = path("part.mkv");
    written([
        "reenact", args[0], args[1], args[2], args[3], &clip, "-o", &out,
    ]);
    let streams = probed(out.as_ref());
    assert_eq!(streams[0][..2], ["h264", "6/1 3"]);
    assert_eq!(streams.len(), 2);

    // Without a face and with a background that the container does not have.
    film(clip.as_ref(), 2, [0, 2]);
    let errors = failure(["reenact", "--drive", &clip, "-o", &out]);
    assert!(
        errors.contains("expected a face, found none in 2 frames"),
        "{errors}"
    );
    let errors = failure(["reenact", "--background=transparent", "-o", &out]);
    assert!(errors.contains(".webm, .gif or a directory"), "{errors}");
    let errors = failure(["reenact", "--photo", &photo("none"), "--frames=..1"]);
    assert!(errors.contains("none.png: expected a face"), "{errors}");
    assert_eq!(probed(out.as_ref()), streams);
    assert_eq!(fs::read_dir(room.path()).unwrap().count(), 3);
}

#[test]
fn a_motion_becomes_a_film() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("out.webm");
    let path = out.to_str().unwrap();
    let list = written([
        "reenact",
        "--background=transparent",
        "--frames=..2",
        "-o",
        path,
    ]);
    assert!(list.ends_with(&format!("{path}\n")), "{list}");
    let [[codec, rate, _]] = &probed(&out)[..] else {
        panic!("{list}");
    };
    assert!(codec == "vp9" && rate.ends_with(" 2"), "{codec} {rate}");
}

#[test]
fn an_interrupted_track_keeps_what_it_has() {
    let room = tempfile::tempdir().unwrap();
    let [folder, out] = ["folder", "out.json"].map(|name| room.path().join(name));
    fs::create_dir(&folder).unwrap();
    let first = folder.join("0000.png");
    fs::copy(photo("two"), &first).unwrap();
    // More than are tracked in the time.
    for i in 1..5000 {
        fs::hard_link(&first, folder.join(format!("{i:04}.png"))).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpavatar"));
    command.arg("track").arg(&folder).arg("-o").arg(&out);
    let piped = std::process::Stdio::piped;
    let running = command.stdout(piped()).stderr(piped()).spawn().unwrap();
    // By then it runs, and however slowly, it tracks one frame at least.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = running.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && told.starts_with("interrupted: "),
        "{told}"
    );
    let (frames, _) = motion(&out);
    assert!((1..5000).contains(&frames), "{frames}");
    assert!(told.contains(&format!("\n{frames} frames")), "{told}");
}

#[test]
fn a_track_that_was_killed_goes_on() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    let [clip, whole, out] = ["clip.mkv", "whole.json", "out.json"].map(path);
    film(Path::new(&clip), 72, [30, 33]);
    let told = written(["track", &clip, "-o", &whole]);
    let (frames, _) = told.split_once(';').unwrap();
    assert!(
        frames.starts_with("72 frames, 12.00 per second, the face in "),
        "{told}"
    );

    let mut command = Command::new(env!("CARGO_BIN_EXE_gpavatar"));
    command.args(["track", &clip, "-o", &out]);
    let null = std::process::Stdio::null;
    let mut running = command.stdout(null()).stderr(null()).spawn().unwrap();
    let journal = path("out.json.tracked");
    let lines = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    while lines() < 20 {
        assert!(running.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(!Path::new(&out).exists());
    let told = written(["track", &clip, "-o", &out]);
    assert!(told.starts_with("goes on after "), "{told}");
    assert!(told.contains(&format!("\n{frames};")), "{told}");
    assert!(!Path::new(&journal).exists());
    // The tracker starts anew some frames before.
    let numbers = |path: &str, key: &str| {
        let motion: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let rows = motion[key].as_array().unwrap().iter();
        let rows = rows.flat_map(|row| row.as_array().unwrap().clone());
        let flat = |value: serde_json::Value| match value {
            serde_json::Value::Array(values) => values,
            value => vec![value],
        };
        rows.flat_map(flat)
            .map(|value| value.as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    for key in ["expression", "transform"] {
        let [a, b] = [&whole, &out].map(|path| numbers(path, key));
        assert_eq!(a.len(), b.len());
        let worst = a
            .iter()
            .zip(&b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        println!("{key}: {worst:.1e}");
        assert!(worst < 2e-2, "{key}: {worst}");
    }
}

/// A device of ffmpeg that shows a photograph stands for a camera.
#[test]
fn a_camera_is_tracked_until_it_ends() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("out.json");
    let output = out.to_str().unwrap();
    let device = format!(
        "lavfi:movie={}:loop=0,setpts=N/12/TB,trim=duration=1.5",
        photo("astronaut")
    );
    let told = written(["track", "--webcam", &device, "--fps=12", "-o", output]);
    assert!(
        told.contains("18 frames, 12.00 per second, the face in 18"),
        "{told}"
    );
    assert_eq!(motion(&out), (18, 12.0));
    let lines = written(["track", "--webcam", &device, "--fps=12", "--json"]);
    assert_eq!(lines.lines().count(), 18);

    let error = failure(["track", "--webcam", "camera", "-o", output]);
    assert!(
        error.contains("--webcam: expected FORMAT:DEVICE"),
        "{error}"
    );
    let error = failure(["track", "--webcam", "v4l2:/nowhere", "-o", output]);
    assert!(
        error.contains("v4l2:/nowhere") && error.contains("No such file"),
        "{error}"
    );
}

#[test]
fn numbers_are_printed_for_each_picture_and_frame() {
    let room = tempfile::tempdir().unwrap();
    let clip = room.path().join("clip.mkv");
    film(&clip, 4, [2, 3]);
    let lines = |printed: String| {
        let line = |line: &str| serde_json::from_str(line).unwrap();
        printed
            .lines()
            .map(line)
            .collect::<Vec<serde_json::Value>>()
    };
    let [two, none] = ["two", "none"].map(photo);
    let pictures = lines(written(["track", &two, "--faces=2", "--json"]));
    let faces = pictures[0]["faces"].as_array().unwrap();
    assert_eq!(faces.len(), 2);
    for face in faces {
        assert_eq!(face["landmarks"].as_array().unwrap().len(), 478);
        assert_eq!(face["scores"].as_object().unwrap().len(), 52);
        assert!(face["presence"].as_f64().unwrap() > 0.99);
        assert!(face["fit"]["residual"].as_f64().unwrap() < 10.0);
    }
    let pictures = lines(written(["track", &none, "--json"]));
    assert_eq!(pictures[0]["faces"], serde_json::json!([]));
    let frames = lines(written(["track", clip.to_str().unwrap(), "--json"]));
    let lost: Vec<_> = frames
        .iter()
        .map(|frame| &frame["faces"][0]["lost"])
        .collect();
    assert_eq!(lost, [false, false, true, false]);
    assert_eq!(frames[3]["frame"], 3);
}

#[test]
fn films_become_a_dataset() {
    let room = tempfile::tempdir().unwrap();
    let [first, second, out] = ["a.mp4", "b.mkv", "out"].map(|name| room.path().join(name));
    film(&first, 6, [2, 3]);
    film(&second, 4, [9, 9]);
    let [a, b, footage] = [&first, &second, &out].map(|path| path.to_str().unwrap());
    let told = written(["track", a, "--dataset", footage]);
    assert!(told.contains("6 frames, 5 kept"), "{told}");
    let errors = failure(["track", b, a, "--dataset", footage]);
    assert!(errors.contains("expected a new clip"), "{errors}");
    written(["track", b, "--dataset", footage]);

    let read = |path: &str| {
        let text = fs::read(out.join(path)).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()
    };
    let header = read("dataset.json");
    assert_eq!(header["format"], "gpavatar tracked data");
    let head = gpavatar::HeadModel::open(out.join("head.safetensors")).unwrap();
    for region in ["left_eye", "right_eye", "mouth"] {
        let vertices = header["regions"][region].as_array().unwrap().iter();
        let vertices = vertices.map(|vertex| vertex.as_u64().unwrap() as usize);
        assert!(vertices.clone().count() > 10 && vertices.max().unwrap() < head.vertex_count());
    }
    for (clip, expected) in [("a", 5), ("b", 4)] {
        let clip = format!("clips/{clip}");
        let shape = read(&format!("{clip}/shape.json"));
        assert_eq!(shape.as_array().unwrap().len(), head.shape_count());
        let (frames, rate) = motion(&out.join(&clip).join("motion.json"));
        assert_eq!((frames, rate), (expected, 12.0));
        let pictures = fs::read_dir(out.join(&clip).join("frames")).unwrap();
        let pictures: Vec<_> = pictures.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(pictures.len(), expected);
        // Black around the head, which is background only in pictures without alpha.
        let picture = image::open(&pictures[0]).unwrap();
        assert_eq!(picture.color(), image::ColorType::Rgb8);
        assert_eq!((picture.width(), picture.height()), (512, 512));
        let corner = *picture.to_rgb8().get_pixel(0, 0);
        assert!(corner.0.iter().all(|value| *value < 5), "{corner:?}");
    }
    // A clip is what an avatar of it is built from.
    let clip = out.join("clips/a");
    let sources = gpavatar::import::Sources::open(&clip).unwrap();
    let cameras = sources.images.iter().filter_map(|image| image.camera());
    assert_eq!(
        (cameras.count(), sources.shape.len()),
        (2, head.shape_count())
    );
    let (clip, reenacted) = (clip.to_str().unwrap(), room.path().join("reenacted"));
    let reenacted = reenacted.to_str().unwrap();
    let output = gpavatar(["reenact", "-s", clip, "--frames=..1", "--out", reenacted]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && !errors.contains("left out"),
        "{errors}"
    );
    assert_eq!(fs::read_dir(out.join("clips")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
}

#[test]
fn without_ffmpeg_folders_and_gifs_are_films() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("out.json");
    let track = |input: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpavatar"));
        command
            .arg("track")
            .arg(input)
            .arg("-o")
            .arg(&out)
            .env("PATH", "");
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let clip = room.path().join("clip.mp4");
    film(&clip, 2, [9, 9]);
    let (ok, errors) = track(&clip);
    assert!(
        !ok && errors.contains("clip.mp4: expected ffmpeg"),
        "{errors}"
    );
    assert!(errors.contains("apt-get install ffmpeg"), "{errors}");
    let folder = room.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::copy(photo("astronaut"), folder.join("0.png")).unwrap();
    fs::copy(photo("rot20"), folder.join("1.png")).unwrap();
    assert!(track(&folder).0);
    assert_eq!(motion(&out), (2, 25.0));
    let gif = room.path().join("clip.gif");
    film(&gif, 2, [9, 9]);
    assert!(track(&gif).0);
    assert_eq!(motion(&out).0, 2);
}
