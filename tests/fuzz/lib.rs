//! Archives around a fuzzer's input. On its own a fuzzer would never find a checksum.
//!
//! ```sh
//! sh tests/fuzz/seed.sh
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz motion -- -max_total_time=600 -rss_limit_mb=1024
//! ```

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;

/// An archive of these files, not compressed.
pub fn archive<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in files {
        writer.start_file(name, options).expect("names are short and differ");
        writer.write_all(content).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything").into_inner()
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
    ])
}

/// Input after a `P` is used as it is, any other as the pickle of an archive of PyTorch.
pub fn torch_file(input: &[u8]) -> Vec<u8> {
    match input.split_first() {
        Some((b'P', raw)) => [b"P", raw].concat(),
        _ => torch_archive(input),
    }
}
