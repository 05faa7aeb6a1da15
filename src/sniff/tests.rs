use super::*;

/// A zip archive of empty entries.
fn archive(names: &[&str]) -> Vec<u8> {
    let (mut entries, mut directory) = (Vec::new(), Vec::new());
    for name in names {
        let place = (entries.len() as u32).to_le_bytes();
        let length = (name.len() as u16).to_le_bytes();
        let fields = [&[0; 22][..], &length, &[0, 0]].concat();
        entries.extend([b"PK\x03\x04", &fields[..], name.as_bytes()].concat());
        let fields = [&[0; 24][..], &length, &[0; 12], &place].concat();
        directory.extend([b"PK\x01\x02", &fields[..], name.as_bytes()].concat());
    }
    let place = (entries.len() as u32).to_le_bytes();
    let size = (directory.len() as u32).to_le_bytes();
    let end = [b"PK\x05\x06", &[0; 8][..], &size, &place, &[0, 0]].concat();
    [entries, directory, end].concat()
}

/// Characters as UTF-16 with a byte order mark.
fn wide(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let marked = "\u{FEFF}".encode_utf16().chain(text.encode_utf16());
    marked.flat_map(bytes).collect()
}

const LFS: &str = "version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 418612345
";

#[test]
fn every_kind_is_told_by_its_beginning() {
    let header = |length: u64, rest: &str| [&length.to_le_bytes(), rest.as_bytes()].concat();
    let brand = |brand: &str| [b"\0\0\0\x1Cftyp", brand.as_bytes(), b"\0\0\0\0mif1"].concat();
    let page = "\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    let cases: &[(Kind, Vec<u8>)] = &[
        (Kind::Empty, vec![]),
        (Kind::LfsPointer, LFS.into()),
        (Kind::Html, page.into()),
        (Kind::Html, [b"\xEF\xBB\xBF", page.as_bytes()].concat()),
        (
            Kind::Xml,
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".into(),
        ),
        (
            Kind::Html,
            "<?xml version=\"1.0\"?><!DOCTYPE html><html/>".into(),
        ),
        (Kind::Json, " {\"version\": 1}".into()),
        (Kind::Json, b"\xEF\xBB\xBF[1, 2]".into()),
        (Kind::Json, wide("{\"a\": 1}", u16::to_le_bytes)),
        (Kind::Table, "Timecode,JawOpen\n1,0\n".into()),
        (Kind::Table, "Zeit;JawOpen;Gr\u{FC}n\n".into()),
        (Kind::Table, b"Zeit;JawOpen;Gr\xFCn\n".into()),
        (Kind::Table, wide("time\tjawOpen\n", u16::to_be_bytes)),
        (Kind::Text, "Entry not found".into()),
        (Kind::Text, "\n".into()),
        (Kind::Safetensors, header(2, "{}")),
        // The first byte is that of a pickle.
        (
            Kind::Safetensors,
            [&header(0x280, "{"), &[b' '; 0x27F][..]].concat(),
        ),
        (Kind::Cut("a safetensors file"), header(100, "{\"a\":")),
        (
            Kind::TorchArchive,
            archive(&["archive/version", "archive/data.pkl"]),
        ),
        (Kind::NumpyArchive, archive(&["a.npy", "b.npy"])),
        (Kind::TfLite, archive(&["face_detector.tflite"])),
        (Kind::Zip, archive(&["word/document.xml"])),
        (Kind::Zip, archive(&[])),
        (Kind::Zip, archive(&["a/b/data.pkl", "data.pkl"])),
        (
            Kind::Cut("a PyTorch archive"),
            archive(&["x/data.pkl"])[..45].into(),
        ),
        (
            Kind::Cut("a numpy archive (.npz)"),
            archive(&["a.npy"])[..60].into(),
        ),
        (Kind::Cut("a zip archive"), b"PK\x03\x04".into()),
        (Kind::TorchLegacy, [LEGACY_MAGIC, b"."].concat()),
        (Kind::Pickle, b"\x80\x02}.".into()),
        (Kind::Pickle, b"\x80\x05\x95\0".into()),
        (Kind::Pickle, b"(dp0\nS'a'\np1\nI1\ns.".into()),
        (Kind::Pickle, b"(lp1\n.".into()),
        (Kind::Pickle, b"}q\x00(X\x01\0\0\0aK\x01u.".into()),
        (Kind::Pickle, b"]q\x00.".into()),
        (
            Kind::Pickle,
            b"cnumpy.core.multiarray\n_reconstruct\np0\n".into(),
        ),
        (
            Kind::Pickle,
            b"ccollections\nOrderedDict\nq\x00)Rq\x01.".into(),
        ),
        (Kind::Npy, b"\x93NUMPY\x01\0".into()),
        (Kind::Gzip, b"\x1F\x8B\x08\0".into()),
        (Kind::TfLite, b"\x1C\0\0\0TFL3".into()),
        (Kind::Png, b"\x89PNG\r\n\x1A\n".into()),
        (Kind::Jpeg, b"\xFF\xD8\xFF\xE0".into()),
        (Kind::Gif, b"GIF89a".into()),
        (Kind::WebP, b"RIFF\x10\0\0\0WEBPVP8 ".into()),
        (
            Kind::Bmp,
            b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".into(),
        ),
        (Kind::Tiff, b"II*\0\x08\0\0\0".into()),
        (Kind::Tiff, b"MM\0*".into()),
        (Kind::Heic, brand("heic")),
        (Kind::Heic, brand("mif1")),
        (Kind::Avif, brand("avif")),
        (Kind::Other("a video (MP4 or QuickTime)"), brand("isom")),
        (Kind::Other("a PDF document"), b"%PDF-1.7".into()),
        (Kind::Zeros, vec![0; 5000]),
        (Kind::Unknown, vec![1, 2, 3]),
        (Kind::Unknown, b"\x80\x09\0\0".into()),
    ];
    for (expected, bytes) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert_eq!(kind(bytes), *expected, "{shown:?}");
        // A beginning may be of another kind, but is always of some.
        for end in 0..bytes.len().min(100) {
            assert!(!reason(&bytes[..end]).is_empty());
        }
    }
}

#[test]
fn a_refusal_says_what_the_file_is_and_what_to_do() {
    let page = "<html><head><title>\n Sign in · Hub </title></head></html>";
    let long = [&[b'x'; 1000][..]].concat();
    for (bytes, expected) in [
        (
            LFS.as_bytes(),
            "m.safetensors is not a valid weights file: it is a Git LFS pointer (134 bytes), not the \
             file itself: fetch it with `git lfs pull`",
        ),
        (
            page.as_bytes(),
            "it is an HTML page (\"Sign in · Hub\"), not the file itself: the download",
        ),
        (b"", "it is empty: get the file again"),
        (
            b"PK\x03\x04",
            "it is the beginning of a zip archive, 4 bytes of it: the download",
        ),
        (
            b"Entry not found\n",
            "it is a text that begins with \"Entry not found\"",
        ),
        (
            &[0; 9],
            "it is a file of zeros: the download has not been finished",
        ),
        (
            b"\x01\xFF",
            "it is data of an unknown kind (2 bytes that begin with 01 ff)",
        ),
        (b"\x80\x04N.", "it is a Python pickle"),
        (&long, "it is a text that begins with \"xxx"),
    ] {
        let message = refused("m.safetensors", "weights file", bytes).to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.len() < 300, "{message}");
    }
}

#[test]
fn text_is_decoded_with_or_without_a_byte_order_mark() {
    let sample = "Grüße, 你好 🙂\n";
    for bytes in [
        sample.as_bytes().to_vec(),
        [b"\xEF\xBB\xBF", sample.as_bytes()].concat(),
        wide(sample, u16::to_le_bytes),
        wide(sample, u16::to_be_bytes),
    ] {
        assert_eq!(text(&bytes).unwrap(), sample);
    }
    assert_eq!(text(b"").unwrap(), "");
    for (bytes, reason) in [
        (&b"ab\xFC"[..], "byte 0xfc at 2: save it as UTF-8"),
        (b"\xEF\xBB\xBFa\xFC", "byte 0xfc at 4"),
        (b"\xFF\xFEa", "odd number of bytes"),
        (b"\xFF\xFE\x00\xD8a\x00", "unpaired surrogate"),
    ] {
        assert!(text(bytes).unwrap_err().contains(reason));
    }
}
