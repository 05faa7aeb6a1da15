use std::io::Write;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn written(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An archive of these files, not compressed.
pub fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    written(files, CompressionMethod::Stored)
}

/// The archive with its entries edited by `change`, and their checksums updated.
pub fn rewritten(archive: &[u8], change: impl Fn(&str, &mut Vec<u8>)) -> Vec<u8> {
    let parsed = Archive::parse(archive).unwrap();
    let files: Vec<(&str, Vec<u8>)> = (parsed.names())
        .map(|name| {
            let mut content = parsed.entry(name).unwrap().content(archive).unwrap().into();
            change(name, &mut content);
            (name, content)
        })
        .collect();
    let files = files.iter().map(|(name, content)| (*name, &**content));
    stored(&files.collect::<Vec<_>>())
}

#[test]
fn entries_are_read_however_they_are_stored() {
    let content = b"some content ".repeat(100);
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let bytes = written(&[("a", &content), ("empty", &[])], method);
        let archive = Archive::parse(&bytes).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a", "empty"]);
        assert!(archive.entry("b").is_err());
        let entry = archive.entry("a").unwrap();
        assert_eq!(entry.content(&bytes).unwrap(), content);
        let empty = archive.entry("empty").unwrap();
        assert!(empty.content(&bytes).unwrap().is_empty());
        let borrowed = entry.stored(&bytes);
        match method {
            CompressionMethod::Stored => assert_eq!(borrowed.unwrap(), content),
            _ => assert!(borrowed.is_err_and(|reason| reason.contains("compressed"))),
        }
    }
}

#[test]
fn damaged_entries_are_refused() {
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let mut bytes = written(&[("name", &b"some content ".repeat(100))], method);
        // Behind the header of 30 bytes and the name.
        bytes[40] ^= 1;
        let archive = Archive::parse(&bytes).unwrap();
        assert!(archive.entry("name").unwrap().content(&bytes).is_err());
    }
}

#[test]
fn entries_cannot_claim_more_than_they_have() {
    let whole = written(&[("name", &[7; 100])], CompressionMethod::Deflated);
    let central = whole.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let claimed = |at: usize, size: u32| {
        let mut bytes = whole.clone();
        bytes[central + at..][..4].copy_from_slice(&size.to_le_bytes());
        let archive = Archive::parse(&bytes)?;
        archive.entry("name")?.content(&bytes).map(Cow::into_owned)
    };
    assert_eq!(claimed(24, 100).unwrap(), [7; 100]);
    // The uncompressed size, and the compressed one.
    assert!(claimed(24, 99).is_err());
    assert!(claimed(24, 101).is_err());
    assert!(claimed(24, 0xFFFF_FFFE).unwrap_err().contains("cannot be"));
    assert!(claimed(20, 1000).unwrap_err().contains("within the file"));
}

/// A thousandth of an archive, inflated: entries come from one budget, and each is found at once.
#[test]
fn entries_are_inflated_within_one_budget() {
    let zeros = vec![0; 1 << 20];
    let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &*zeros)).collect();
    let bytes = written(&files, CompressionMethod::Deflated);
    let archive = Archive::parse(&bytes).unwrap();
    let contents = names
        .iter()
        .map(|name| archive.entry(name).unwrap().content(&bytes));
    let results: Vec<_> = contents
        .map(|content| content.map(|bytes| bytes.len()))
        .collect();
    let read = results
        .iter()
        .filter(|result| **result == Ok(1 << 20))
        .count();
    assert!((40..60).contains(&read), "{read}");
    assert!(
        results[99]
            .as_ref()
            .is_err_and(|reason| reason.contains("more memory"))
    );
}
