//! Whatever file is handed to whatever reader: it is read, or the answer says what the file is, and
//! neither takes more time or memory than a file of its size may.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::heap::{Counting, peak};
use flate2::{Compression, write::GzEncoder};
use gpavatar::import::{
    Checkpoint, Contents, HeadOptions, MotionOptions, Sources, head_model, head_model_from_bytes,
    motion_from_bytes,
};
use gpavatar::{
    Error, FloatFormat, HeadModel, Motion, SourceImage, TensorFile, TensorWriter, Weights,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A safetensors file of the tiny network with the authors' names, `prefix` before them, and the
/// networks of a loss.
fn authors(prefix: &str) -> Vec<u8> {
    let checkpoint = Checkpoint::open(fixture("checkpoint_nested.ckpt")).unwrap();
    let mut writer = TensorWriter::new(BTreeMap::new());
    for spec in checkpoint.config().tensors().unwrap() {
        let values = checkpoint.f32(&spec.name);
        if let Ok(values) = values {
            let name = format!("{prefix}{}", spec.name);
            writer.floats(name, &spec.shape, FloatFormat::F32, || Ok(values));
        }
    }
    for name in ["percep_loss.mean", "percep_loss.std"] {
        writer.floats(name, &[3], FloatFormat::F32, || Ok(vec![0.5; 3].into()));
    }
    writer.into_bytes().unwrap()
}

type Reader = (&'static str, fn(Vec<u8>) -> Option<Error>);

/// Every way to read a file from memory that does not need a device.
const READERS: &[Reader] = &[
    ("weights", |bytes| Weights::from_bytes(bytes).err()),
    ("tensors", |bytes| {
        TensorFile::from_bytes("file", bytes).err()
    }),
    ("head model", |bytes| {
        HeadModel::from_safetensors(bytes).err()
    }),
    ("motion", |bytes| Motion::from_safetensors(bytes).err()),
    ("checkpoint", |bytes| {
        Checkpoint::from_bytes("file", bytes).err()
    }),
    ("import head", |bytes| {
        head_model_from_bytes("file", bytes, &HeadOptions::default()).err()
    }),
    ("import motion", |bytes| {
        motion_from_bytes("file", &bytes, &MotionOptions::default()).err()
    }),
    ("import sources", |bytes| {
        Sources::from_bytes("file", &bytes).err()
    }),
    ("info", |bytes| Contents::from_bytes("file", bytes).err()),
    ("picture", |bytes| SourceImage::from_bytes(&bytes).err()),
];

#[test]
fn every_reader_says_what_another_kind_of_file_is() {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 418612345\n";
    let page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>";
    let weights = authors("");
    let torch = bytes("checkpoint_nested.ckpt");
    let wide = |text: &str| -> Vec<u8> {
        let units = "\u{FEFF}".encode_utf16().chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let png = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::RgbImage::new(2, 2);
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let npy = b"\x93NUMPY\x01\0\x46\0{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"
        .iter()
        .copied()
        .chain([b' '; 12])
        .chain([b'\n', 0, 0, 0, 0])
        .collect();
    let pickle = |protocol| bytes(&format!("head_protocol{protocol}.pkl"));
    // A file, what its readers are, and what the others say.
    let cases: Vec<(&str, Vec<u8>, &[&str], &str)> = vec![
        ("empty", vec![], &[], "it is empty"),
        (
            "LFS pointer",
            lfs.into(),
            &[],
            "a Git LFS pointer (78 bytes), not the file itself",
        ),
        (
            "page",
            page.into(),
            &[],
            "an HTML page (\"Sign in\"), not the file itself",
        ),
        (
            "page with a mark",
            [b"\xEF\xBB\xBF", page.as_bytes()].concat(),
            &[],
            "an HTML page",
        ),
        (
            "XML",
            "<?xml version=\"1.0\"?><Error/>".into(),
            &[],
            "an XML document",
        ),
        (
            "message",
            "Entry not found".into(),
            &[],
            "begins with \"Entry not found\"",
        ),
        ("zeros", vec![0; 100_000], &[], "a file of zeros"),
        ("noise", vec![0xC1, 7, 0, 3], &[], "data of an unknown kind"),
        ("JSON", "{\"error\": 404}".into(), &[], "JSON"),
        ("wide JSON", wide("{\"error\": 404}"), &[], "JSON"),
        (
            "table",
            "time,jawOpen\n0.0,0.5\n0.04,0.5\n0.08,0.5\n".into(),
            &["import motion", "info"],
            "a table",
        ),
        (
            "safetensors",
            weights.clone(),
            &["tensors", "checkpoint", "info"],
            "safetensors",
        ),
        (
            "cut safetensors",
            weights[..500].into(),
            &[],
            "the beginning of a safetensors file",
        ),
        (
            "cut data",
            weights[..weights.len() - 9].into(),
            &[],
            "was cut",
        ),
        (
            "torch",
            torch.clone(),
            &["checkpoint", "info"],
            "a PyTorch archive",
        ),
        (
            "cut torch",
            torch[..9000].into(),
            &[],
            "the beginning of a PyTorch archive",
        ),
        ("legacy torch", bytes("legacy.ckpt"), &["info"], "PyTorch"),
        (
            "pickle 0",
            pickle(0),
            &["import head", "info"],
            "a Python pickle",
        ),
        (
            "pickle 1",
            pickle(1),
            &["import head", "info"],
            "a Python pickle",
        ),
        (
            "pickle 2",
            pickle(2),
            &["import head", "info"],
            "a Python pickle",
        ),
        (
            "pickle 5",
            pickle(5),
            &["import head", "info"],
            "a Python pickle",
        ),
        (
            "npz",
            bytes("head.npz"),
            &["import head", "info"],
            "a numpy archive (.npz)",
        ),
        (
            "cut npz",
            bytes("head.npz")[..900].into(),
            &[],
            "the beginning of a numpy archive",
        ),
        ("npy", npy, &["info"], "a numpy array (.npy)"),
        (
            "zip",
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".into(),
            &["info"],
            "a zip archive",
        ),
        (
            "tflite",
            b"\x1C\0\0\0TFL3\0\0".into(),
            &[],
            "TensorFlow Lite or MediaPipe",
        ),
        ("PNG", png.clone(), &["picture"], "a PNG picture"),
        ("cut PNG", png[..20].into(), &[], "PNG"),
        ("JPEG", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0".into(), &[], "JPEG"),
        ("GIF", b"GIF89a".into(), &[], "GIF"),
        ("WebP", b"RIFF\x04\0\0\0WEBP".into(), &[], "WebP"),
        (
            "BMP",
            [b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0", &[0; 8][..]].concat(),
            &[],
            "BMP",
        ),
        ("TIFF", b"II*\0\x08\0\0\0".into(), &[], "TIFF"),
        (
            "HEIC",
            b"\0\0\0\x18ftypheic\0\0\0\0heicmif1".into(),
            &[],
            "HEIC",
        ),
        (
            "AVIF",
            b"\0\0\0\x18ftypavif\0\0\0\0avifmif1".into(),
            &[],
            "AVIF",
        ),
        (
            "video",
            b"\0\0\0\x18ftypisom\0\0\0\0isom".into(),
            &[],
            "a video",
        ),
    ];
    let mut wrong = Vec::new();
    for (file, bytes, readers, expected) in &cases {
        for (reader, read) in READERS {
            let error = read(bytes.clone()).map(|error| error.to_string());
            // A file of the right kind with another content is answered with that.
            let of_this_kind = matches!(
                (*file, *reader),
                (
                    "safetensors",
                    "weights" | "head model" | "motion" | "import head"
                ) | ("torch", "import head" | "import motion" | "import sources")
                    | (
                        "pickle 0" | "pickle 1" | "pickle 2" | "pickle 5" | "legacy torch",
                        _
                    )
                    | ("npz" | "npy" | "zip", _)
                    | ("JSON" | "wide JSON" | "table", _)
                    | ("message" | "cut data", "import motion")
                    | ("cut data", "import sources")
                    | (_, "picture")
            );
            let nonsense = ["EOCD", "a header of", "8585922517832590376"];
            let right = match &error {
                None => readers.contains(reader),
                Some(message) => {
                    let said = message.contains(expected) || of_this_kind;
                    let plain = !nonsense.iter().any(|nonsense| message.contains(nonsense));
                    !readers.contains(reader) && said && plain && message.len() < 3000
                }
            };
            if !right {
                wrong.push(format!("{file}, {reader}: {error:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn authors_weights_as_safetensors_are_imported() {
    let original = Checkpoint::open(fixture("checkpoint_nested.ckpt")).unwrap();
    let compiled = "_orig_mod.";
    for prefix in [
        "",
        "module.",
        compiled,
        "model.",
        "model._orig_mod.module.",
        "net.",
    ] {
        for file in [authors(prefix), gzipped(&authors(prefix))] {
            let checkpoint = Checkpoint::from_bytes("file", file).unwrap();
            assert_eq!(checkpoint.config(), original.config(), "{prefix}");
            assert_eq!(
                checkpoint.ignored(),
                ["percep_loss.mean", "percep_loss.std"]
            );
            assert_eq!(checkpoint.sets().len(), 1);
            for spec in original.config().tensors().unwrap() {
                if let Ok(values) = original.f32(&spec.name) {
                    assert_eq!(checkpoint.f32(&spec.name).unwrap(), values, "{}", spec.name);
                }
            }
        }
    }
    // As they are they are no weights file: they lack the configuration.
    let error = Weights::from_bytes(authors("")).unwrap_err().to_string();
    let parts = [
        "no entry \"config\"",
        "`gpavatar import checkpoint` makes a weights file of it",
    ];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    // A weights file of this crate keeps its configuration.
    let own = original
        .with_config(|config| config.neighbours = 3)
        .unwrap();
    let own = own.writer(FloatFormat::F32).unwrap().into_bytes().unwrap();
    let again = Checkpoint::from_bytes("file", own).unwrap();
    assert_eq!(again.config().neighbours, 3);
}

#[test]
fn foreign_names_are_answered_with_the_nearest() {
    let mut writer = TensorWriter::new(BTreeMap::new());
    let names = [
        "backbone.conv1.weight",
        "query_style_triplane",
        "head.bias",
        "nerf_mlps.fc.weight",
    ];
    for name in names {
        writer.floats(name, &[1], FloatFormat::F32, || Ok(vec![0.0].into()));
    }
    let error = Checkpoint::from_bytes("file", writer.into_bytes().unwrap()).unwrap_err();
    let nearest = "the nearest names are nerf_mlps.fc.weight, query_style_triplane, ";
    assert!(error.to_string().contains(nearest), "{error}");
}

#[test]
fn heads_saved_by_pytorch_are_imported() {
    for name in ["FLAME_with_eye.pt", "flat.pt"] {
        let head = head_model(fixture(name), &HeadOptions::default()).unwrap();
        let counts = [
            head.vertex_count(),
            head.shape_count(),
            head.expression_count(),
            head.joint_count(),
        ];
        assert_eq!(counts, [4, 100, 50, 5], "{name}");
        let packed = gzipped(&bytes(name));
        let packed = head_model_from_bytes("file", packed, &HeadOptions::default()).unwrap();
        assert_eq!(packed.parts(), head.parts());
    }
    let checkpoint = bytes("checkpoint_nested.ckpt");
    let error = head_model_from_bytes("file", checkpoint, &HeadOptions::default()).unwrap_err();
    let reason = "expected an array v_template, found none in a dictionary of";
    assert!(error.to_string().contains(reason), "{error}");
}

/// A file that was cut after its weights were read is of no concern to them.
#[test]
fn files_that_are_cut_while_their_content_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    std::fs::write(&path, authors("")).unwrap();
    let tensors = TensorFile::open(&path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let expected = tensors.f32("query_style_tplane").unwrap().into_owned();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    assert_eq!(tensors.f32("query_style_tplane").unwrap(), expected);
    assert_eq!(checkpoint.f32("query_style_tplane").unwrap(), expected);
}

/// A million bytes of zeros in an archive, again and again.
fn bomb(entries: usize) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default();
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000,), }\n";
    for i in 0..entries {
        let name = match i {
            0 => "v_template".to_owned(),
            1 => "shapedirs".to_owned(),
            i => format!("a{i}"),
        };
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(b"\x93NUMPY\x01\0").unwrap();
        writer
            .write_all(&(header.len() as u16).to_le_bytes())
            .unwrap();
        writer.write_all(header.as_bytes()).unwrap();
        writer.write_all(&vec![0; 1_000_000]).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Files that make much of few bytes, of about `n` thousand bytes each.
fn amplifiers(n: usize) -> Vec<(&'static str, Vec<u8>)> {
    let list = |m: usize, last: &[u8]| [b"](", &b"h\x01".repeat(m)[..], last, b"e"].concat();
    let nested = |inner: Vec<u8>, times: usize| {
        [
            b"\x80\x02K\x00q\x010",
            &inner[..],
            b"q\x020",
            &b"]".repeat(8),
            b"](",
            &b"h\x02".repeat(times),
            b"e",
            &b"a".repeat(8),
            b".",
        ]
        .concat()
    };
    // Frames that share one dictionary of many entries.
    let shared_frame = {
        let mut bytes = b"\x80\x02}(".to_vec();
        for i in 0..n * 60 {
            bytes.extend([b"U\x08k", format!("{i:07}").as_bytes(), b"K\x01"].concat());
        }
        let numbers = |n: usize| [b"](", &b"K\x01".repeat(n)[..], b"e"].concat();
        bytes.extend([b"U\x10emoca_expression", &numbers(50)[..]].concat());
        bytes.extend([b"U\x0Aemoca_pose", &numbers(6)[..]].concat());
        bytes.extend([b"U\x10transform_matrix", &numbers(12)[..]].concat());
        bytes.extend(b"uq\x010}(");
        for i in 0..n * 30 {
            bytes.extend([b"U\x08v", format!("{i:07}").as_bytes(), b"h\x01"].concat());
        }
        bytes.extend(b"u.");
        bytes
    };
    // A list of one sparse matrix that unfolds to a million numbers.
    let sparse = {
        let matrix =
            b"cscipy.sparse._csr\ncsr_matrix\n)\x81}(U\x06_shapeM\0\x04M\0\x04\x86U\x04dataNu\
            U\x07indicesNU\x06indptrNub"
                .to_vec();
        nested(matrix, n * 400)
    };
    vec![
        (
            "lists that are no numbers",
            nested(list(n * 250, b"N"), n * 250),
        ),
        ("lists of numbers", nested(list(n * 250, b""), n * 250)),
        (
            "values",
            [b"\x80\x02(", &b"]".repeat(n * 1000)[..], b"t."].concat(),
        ),
        (
            "text",
            nested(
                [
                    b"X",
                    &((n * 500) as u32).to_le_bytes()[..],
                    &b"a".repeat(n * 500),
                ]
                .concat(),
                n * 200,
            ),
        ),
        ("shared frames", shared_frame),
        ("sparse matrices", sparse),
        ("empty keys", b"\x80\x02}q\0U\0h\0s.".to_vec()),
        ("entries", bomb(n / 2 + 1)),
        ("gzip", gzipped(&vec![b'a'; n * 300_000])),
        (
            "gzipped pickle",
            gzipped(&[b"\x80\x02(", &b"]".repeat(n * 100_000)[..], b"t."].concat()),
        ),
    ]
}

#[test]
fn no_file_takes_more_memory_than_eight_times_its_size_and_64_mebibytes() {
    let mut wrong = Vec::new();
    for n in [20, 200] {
        for (name, file) in amplifiers(n) {
            for (reader, read) in READERS {
                let start = Instant::now();
                let bytes = file.clone();
                let peak = peak(|| drop(read(bytes)));
                let most = 8 * file.len() + (64 << 20);
                // Linear in the size, and seconds for what took minutes.
                let time = start.elapsed();
                if peak > most || time > Duration::from_secs(10) {
                    let size = file.len();
                    wrong.push(format!(
                        "{name} of {size} bytes, {reader}: {peak} bytes, {time:?}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
