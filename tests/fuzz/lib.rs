//! Files around a fuzzer's input. Bytes alone die in the first parser: a fuzzer hardly ever finds a
//! checksum, a length, or the name of an entry. So some targets take their input as it is, and
//! others make a valid file of it whose values are anything.
//!
//! ```sh
//! tests/fuzz/run.sh 600            # every target for ten minutes
//! tests/fuzz/run.sh 60 objects     # one of them
//! ```

mod objects;
mod tensors;

use std::io::{Cursor, Write};

use gpavatar::import::{
    Checkpoint, Contents, HeadOptions, MotionOptions, Sources, head_model_from_bytes,
    motion_from_bytes,
};
use gpavatar::track::NetFiles;
use gpavatar::{FloatFormat, HeadModel, Motion, SourceImage, TensorFile, Weights};
use zip::write::SimpleFileOptions;

pub use objects::Object;
pub use tensors::Tensors;

/// An archive of these files, not compressed.
pub fn archive<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in files {
        // A name that was there is left out.
        if writer.start_file(name, options).is_ok() {
            writer.write_all(content).expect("memory takes everything");
        }
    }
    writer
        .finish()
        .expect("memory takes everything")
        .into_inner()
}

/// An archive like PyTorch's, with this pickle and a few storages.
pub fn torch_archive(pickle: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = (0..=255).collect();
    archive([
        ("archive/data.pkl", pickle),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &numbers),
        ("archive/data/1", &numbers[..7]),
        ("archive/data/2", &[]),
        ("archive/data/3", &[0; 4096]),
    ])
}

/// Input after a `P` is used as it is, any other as the pickle of an archive of PyTorch.
pub fn torch_file(input: &[u8]) -> Vec<u8> {
    match input.split_first() {
        Some((b'P', _)) => input.to_vec(),
        _ => torch_archive(input),
    }
}

/// Hands a file to everything that reads files of others, and uses what comes of it.
pub fn import(file: &[u8]) {
    checkpoint(file);
    contents(file);
    head_model(file);
    motion(file);
    let _ = Sources::from_bytes("fuzz", file);
}

pub fn checkpoint(file: &[u8]) {
    let Ok(mut checkpoint) = Checkpoint::from_bytes("fuzz", file.to_vec()) else {
        return;
    };
    if let Some(last) = checkpoint.sets().last().cloned() {
        match checkpoint.with_set(&last) {
            Ok(other) => checkpoint = other,
            Err(_) => return,
        }
    }
    let _ = checkpoint
        .writer(FloatFormat::F16)
        .map(|writer| writer.into_bytes());
}

pub fn contents(file: &[u8]) {
    if let Ok(contents) = Contents::from_bytes("fuzz", file.to_vec()) {
        let _ = contents.to_string();
    }
}

pub fn head_model(file: &[u8]) {
    for options in [HeadOptions::default(), HeadOptions::whole()] {
        if let Ok(head) = head_model_from_bytes("fuzz", file.to_vec(), &options) {
            let _ = head.to_safetensors();
        }
    }
}

pub fn motion(file: &[u8]) {
    let options = MotionOptions {
        smoothing: Some(0.9),
        ..MotionOptions::default()
    };
    for options in [MotionOptions::default(), options] {
        if let Ok(imported) = motion_from_bytes("fuzz", file, &options) {
            let _ = (imported.to_string(), imported.motion.to_json());
        }
    }
}

/// Hands a file to everything that reads this crate's own.
pub fn own_file(file: &[u8]) {
    if let Ok(weights) = Weights::from_bytes(file.to_vec()) {
        let _ = weights
            .writer(FloatFormat::F16)
            .map(|writer| writer.into_bytes());
    }
    if let Ok(tensors) = TensorFile::from_bytes("fuzz", file.to_vec()) {
        for name in tensors.tensor_names() {
            let _ = (tensors.f32(name), tensors.i64(name), tensors.u8(name));
        }
    }
    if let Ok(head) = HeadModel::from_safetensors(file.to_vec()) {
        let _ = head.to_safetensors();
    }
    if let Ok(motion) = Motion::from_safetensors(file.to_vec()) {
        let _ = motion.to_json();
    }
    if let Ok(json) = std::str::from_utf8(file)
        && let Ok(motion) = Motion::from_json(json)
    {
        let _ = motion.sample(0.5);
        let _ = motion.to_safetensors();
    }
}

pub fn picture(file: &[u8]) {
    if let Ok(picture) = SourceImage::from_bytes(file) {
        let _ = picture.homography(64);
    }
}

/// Hands a file to the reader of the tracker's networks: input after a `P` as a whole, any other as
/// each of the networks.
pub fn networks(input: &[u8]) {
    if let Some((b'P', file)) = input.split_first() {
        let _ = NetFiles::from_bytes(file, None);
        return;
    }
    let file = archive([("net.tflite", input)]);
    let _ = NetFiles::from_bytes(&file, None);
}
