//! The command as people run it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[path = "commands/batch.rs"]
mod batch;
#[path = "commands/profile.rs"]
mod profile;
#[path = "commands/track.rs"]
mod track;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").join(path)
}

fn gpavatar<const N: usize>(args: [&str; N]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpavatar"));
    command.args(args).output().unwrap()
}

/// Runs a command that has to succeed, and returns its standard output.
#[track_caller]
fn written<const N: usize>(args: [&str; N]) -> String {
    let output = gpavatar(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that has to fail, and returns its standard error.
#[track_caller]
fn failure<const N: usize>(args: [&str; N]) -> String {
    let output = gpavatar(args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn help_has_every_command_and_its_examples() {
    let all = written(["--help"]);
    let commands =
        "reenact batch track orbit gallery info import evaluate profile parity completions";
    for command in commands.split(' ') {
        assert!(all.contains(&format!("\n  {command} ")), "{command}: {all}");
        let help = written([command, "--help"]);
        let example = format!("\n  gpavatar {command}");
        assert!(help.contains(&example), "{help}");
    }
}

#[test]
fn shells_complete_commands_and_arguments() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = written(["completions", shell]);
        assert!(script.contains("reenact") && script.contains("list-samples"));
    }
}

#[test]
fn reenact_runs_on_what_ships() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("talk");
    let directory = out.to_str().unwrap();
    let list = written(["reenact", "--frames=..4", "--stride=2", "--out", directory]);
    for name in ["frames", "reenact.gif", "sheet.png"] {
        let path = out.join(name);
        assert!(path.exists() && list.contains(path.to_str().unwrap()));
    }
    assert_eq!(fs::read_dir(out.join("frames")).unwrap().count(), 2);
    let picture = image::open(out.join("frames/0001.png")).unwrap();
    let pixels = picture.to_rgb8().pixels().copied().collect::<Vec<_>>();
    let lit = pixels.iter().filter(|pixel| pixel[0] > 64).count();
    assert!(lit > pixels.len() / 10, "{lit} pixels of a face");
}

#[test]
fn start_up_is_quiet_without_a_session() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpavatar"));
    command.args(["orbit", "--sample", "nobody"]);
    let output = command.env_remove("XDG_RUNTIME_DIR").output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let quiet = !errors.contains("XDG_RUNTIME_DIR");
    assert!(errors.contains("nobody") && quiet, "{errors}");
}

#[test]
fn samples_can_be_listed() {
    let list = written(["reenact", "--list-samples"]);
    assert!(list.contains("indigo, 3 pictures"), "{list}");
    let errors = failure(["orbit", "--sample", "nobody"]);
    let expected = "error: sample: expected one of indigo";
    assert!(errors.contains(expected), "{errors}");
}

#[test]
fn a_recording_becomes_a_motion_whose_contents_are_shown() {
    let room = tempfile::tempdir().unwrap();
    let motion = room.path().join("motion.json");
    let motion = motion.to_str().unwrap();
    let recording = file("tests/fixtures/face.csv");
    let recording = recording.to_str().unwrap();
    let told = written(["import", "motion", recording, "-o", motion]);
    for part in [
        "9 frames, 3 per second",
        "all 52 ARKit channels",
        "LeftEyeYaw",
        "head rotation kept",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(written(["info", motion]).contains("motion"));
    assert!(written(["info", recording]).contains("import: 9 frames"));
}

#[test]
fn what_import_writes_is_what_other_commands_take() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    let me = path("me");
    let tracked = file("tests/fixtures/sources.pth");
    written(["import", "sources", tracked.to_str().unwrap(), "-o", &me]);
    let recording = file("tests/fixtures/motions/turns_the_head.csv");
    let recording = recording.to_str().unwrap();
    let reenact = |source: &str, more: &[&str], out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpavatar"));
        command.args([
            "reenact",
            "-s",
            source,
            "--frames=20..21",
            "--out",
            &path(out),
        ]);
        let output = command.args(more).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        let picture = image::open(room.path().join(out).join("frames/0000.png")).unwrap();
        (picture.to_rgb8(), errors)
    };
    // The folder, its list and its pictures with the list; a recording without import.
    let more = ["--motion", recording];
    let (expected, told) = reenact(&me, &more, "folder");
    assert!(told.contains("130 frames, 60 per second"), "{told}");
    assert!(told.contains("100 identity coefficients"), "{told}");
    let list = format!("{me}/sources.json");
    assert!(reenact(&list, &more, "list").0 == expected);
    let both = format!("{me}/source_1.png");
    let first = format!("{me}/source_0.png");
    let more = [&more[..], &["-s", &both, "--tracked", &list]].concat();
    assert!(reenact(&first, &more, "pictures").0 == expected);

    // Cameras of three and of four rows.
    let picture = file("weights/samples/indigo/source_0.png");
    let cameras = ["", ", [0, 0, 0, 1]"].map(|last| {
        let name = path(&format!("cameras{}.json", last.len()));
        let rows = format!("[[[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 10.6]{last}]]");
        fs::write(&name, rows).unwrap();
        reenact(picture.to_str().unwrap(), &["--tracked", &name], "cameras").0
    });
    assert!(cameras[0] == cameras[1]);
    let broken = path("broken.json");
    fs::write(&broken, "[[[1, 0, 0, 0]]]").unwrap();
    let errors = failure([
        "orbit",
        "-s",
        picture.to_str().unwrap(),
        "--tracked",
        &broken,
    ]);
    assert!(
        errors.contains("broken.json") && errors.contains("3 rows of 4 numbers"),
        "{errors}"
    );
}

#[test]
fn weights_are_shown_by_name() {
    let weights = file("weights/demo.safetensors");
    let list = written(["info", weights.to_str().unwrap(), "density_layers"]);
    assert!(list.contains("nerf_mlp.density_layers.0.weight"), "{list}");
    assert!(!list.contains("style_tplane"), "{list}");
}

#[test]
fn what_cannot_be_read_is_named() {
    for command in ["info", "parity", "evaluate"] {
        let errors = failure([command, "missing"]);
        assert!(errors.starts_with("error: ") && errors.contains("missing"));
    }
}
