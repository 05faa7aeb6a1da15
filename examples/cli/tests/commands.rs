//! The command as people run it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    let commands = "reenact orbit gallery info import evaluate profile parity completions";
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
    written(["import", "motion", recording, "-o", motion]);
    assert!(written(["info", motion]).contains("motion"));
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
