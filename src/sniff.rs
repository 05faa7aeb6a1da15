//! What a file is, told by its bytes before any reader parses it.
//!
//! A reader asks for the [`kind`], takes what it reads, and answers anything else with
//! [`refused`], so that nobody is told of a header of 8585922517832590376 bytes where a web page
//! was saved. Files of text are decoded by [`text`].

use std::borrow::Cow;
use std::fmt;

use crate::error::Error;

/// Bytes at the beginning that tell a text from other data.
const HEAD: usize = 4096;

/// Largest header that a safetensors file may have.
const MAX_HEADER: u64 = 100_000_000;

/// A kind of file. Its [`Display`](fmt::Display) is a noun with its article: "an HTML page".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Kind {
    Empty,
    /// A few lines that stand for a file which Git LFS keeps elsewhere.
    LfsPointer,
    Html,
    Xml,
    Json,
    /// Text of columns, separated by commas, semicolons or tabs.
    Table,
    /// Any other text.
    Text,
    Safetensors,
    /// A zip archive of PyTorch.
    TorchArchive,
    /// A file of PyTorch before version 1.6.
    TorchLegacy,
    /// A Python pickle of any protocol.
    Pickle,
    /// One array of numpy.
    Npy,
    /// A zip archive of arrays of numpy, `.npz`.
    NumpyArchive,
    /// Any other zip archive.
    Zip,
    Gzip,
    /// A network of TensorFlow Lite, or MediaPipe's `.task` bundle of them.
    TfLite,
    Png,
    Jpeg,
    Gif,
    WebP,
    Bmp,
    Tiff,
    Heic,
    Avif,
    /// A file of this kind whose end is missing.
    Cut(&'static str),
    /// Only zeros where every kind has something.
    Zeros,
    /// A kind that nothing here reads.
    Other(&'static str),
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::LfsPointer => "a Git LFS pointer",
            Self::Html => "an HTML page",
            Self::Xml => "an XML document",
            Self::Json => "a JSON file",
            Self::Table => "a table of separated values",
            Self::Text => "a text",
            Self::Safetensors => "a safetensors file",
            Self::TorchArchive => "a PyTorch archive",
            Self::TorchLegacy => "a PyTorch file in the format before version 1.6",
            Self::Pickle => "a Python pickle",
            Self::Npy => "a numpy array (.npy)",
            Self::NumpyArchive => "a numpy archive (.npz)",
            Self::Zip => "a zip archive",
            Self::Gzip => "a gzip-compressed file",
            Self::TfLite => "a network of TensorFlow Lite or MediaPipe (.tflite, .task)",
            Self::Png => "a PNG picture",
            Self::Jpeg => "a JPEG picture",
            Self::Gif => "a GIF picture",
            Self::WebP => "a WebP picture",
            Self::Bmp => "a BMP picture",
            Self::Tiff => "a TIFF picture",
            Self::Heic => "a HEIC picture",
            Self::Avif => "an AVIF picture",
            Self::Cut(whole) => return write!(f, "the beginning of {whole}"),
            Self::Zeros => "a file of zeros",
            Self::Other(name) => name,
            Self::Unknown => "data of an unknown kind",
        })
    }
}

impl Kind {
    #[cfg(feature = "import")]
    /// True for files of text, which [`text`] decodes.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Json | Self::Table | Self::Text)
    }

    /// True for pictures that are decoded here.
    pub fn is_picture(self) -> bool {
        use Kind::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
        matches!(self, Png | Jpeg | Gif | WebP | Bmp | Tiff)
    }
}

/// Beginnings of files, after an offset.
const MAGICS: &[(usize, &[u8], Kind)] = &[
    (0, b"version https://git-lfs.github.com/", Kind::LfsPointer),
    (0, b"\x93NUMPY", Kind::Npy),
    (0, b"\x1F\x8B", Kind::Gzip),
    (4, b"TFL3", Kind::TfLite),
    (0, b"\x89PNG\r\n\x1A\n", Kind::Png),
    (0, b"\xFF\xD8\xFF", Kind::Jpeg),
    (0, b"GIF87a", Kind::Gif),
    (0, b"GIF89a", Kind::Gif),
    (0, b"II*\0", Kind::Tiff),
    (0, b"MM\0*", Kind::Tiff),
    (0, b"II+\0", Kind::Tiff),
    (0, b"MM\0+", Kind::Tiff),
    (0, b"\x89HDF\r\n\x1A\n", Kind::Other("an HDF5 file")),
    (0, b"\xFF\x0A", Kind::Other("a JPEG XL picture")),
    (0, b"\0\0\0\x0CJXL ", Kind::Other("a JPEG XL picture")),
    (0, b"\0\0\0\x0CjP  ", Kind::Other("a JPEG 2000 picture")),
    (0, b"8BPS", Kind::Other("a Photoshop picture")),
    (0, b"\x76\x2F\x31\x01", Kind::Other("an OpenEXR picture")),
    (
        0,
        b"\x1A\x45\xDF\xA3",
        Kind::Other("a Matroska or WebM video"),
    ),
    (0, b"glTF", Kind::Other("a glTF scene")),
    (0, b"Kaydara FBX Binary", Kind::Other("an FBX scene")),
    (0, b"%PDF-", Kind::Other("a PDF document")),
    (0, b"7z\xBC\xAF\x27\x1C", Kind::Other("a 7z archive")),
    (0, b"Rar!\x1A\x07", Kind::Other("a RAR archive")),
    (0, b"\xFD7zXZ\0", Kind::Other("an xz-compressed file")),
    (0, b"BZh", Kind::Other("a bzip2-compressed file")),
    (
        0,
        b"\x28\xB5\x2F\xFD",
        Kind::Other("a zstd-compressed file"),
    ),
    (257, b"ustar", Kind::Other("a tar archive")),
    (0, b"\x7FELF", Kind::Other("a program")),
];

/// The integer at the beginning of files of PyTorch before version 1.6.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";

/// Tells what a file is by its first bytes, and a zip archive by the names of its entries.
pub(crate) fn kind(bytes: &[u8]) -> Kind {
    if bytes.is_empty() {
        return Kind::Empty;
    }
    if let Some(kind) = safetensors(bytes) {
        return kind;
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return zip(bytes);
    }
    for (offset, magic, kind) in MAGICS {
        if bytes.get(*offset..).is_some_and(|it| it.starts_with(magic)) {
            return *kind;
        }
    }
    if let Some(kind) = container(bytes) {
        return kind;
    }
    if bytes.starts_with(LEGACY_MAGIC) {
        return Kind::TorchLegacy;
    }
    if matches!(bytes, [0x80, 2..=5, ..]) || is_old_pickle(bytes) {
        return Kind::Pickle;
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    if head.iter().all(|&byte| byte == 0) {
        return Kind::Zeros;
    }
    of_text(head).unwrap_or(Kind::Unknown)
}

/// The answer of a reader of `format` to a file that is none: an [`Error::Format`] that says what
/// the file is, and what to do about it where that is known.
#[cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "browsers open no paths")
)]
pub(crate) fn refused(what: impl Into<String>, format: &'static str, bytes: &[u8]) -> Error {
    Error::format(what, format, reason(bytes))
}

/// The same as [`refused`] without names: "it is an HTML page, not the file itself: …".
pub(crate) fn reason(bytes: &[u8]) -> String {
    let (kind, length) = (kind(bytes), bytes.len());
    let again = "get the file again";
    match kind {
        Kind::Empty => format!("it is empty: {again}"),
        Kind::LfsPointer => format!(
            "it is {kind} ({length} bytes), not the file itself: fetch it with `git lfs pull`"
        ),
        Kind::Html | Kind::Xml => format!(
            "it is {kind}{}, not the file itself: the download gave a page, {again}",
            title(bytes)
        ),
        Kind::Cut(_) => {
            format!("it is {kind}, {length} bytes of it: the download or the copy was cut, {again}")
        }
        Kind::Zeros => {
            format!("it is {kind}: the download has not been finished, {again}")
        }
        Kind::Table | Kind::Text => {
            let text = String::from_utf8_lossy(&bytes[..length.min(60)]);
            let line = text.trim_start_matches('\u{FEFF}').lines().next();
            format!(
                "it is {kind} that begins with {:?}",
                line.unwrap_or_default()
            )
        }
        Kind::Unknown => {
            let first = bytes.iter().take(8).map(|byte| format!(" {byte:02x}"));
            let first: String = first.collect();
            format!("it is {kind} ({length} bytes that begin with{first})")
        }
        _ => format!("it is {kind}"),
    }
}

/// The text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one.
///
/// # Errors
/// The first place that is not of the encoding.
pub(crate) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units = units.iter().map(|&bytes| unit(bytes));
        let decoded: Result<String, _> = char::decode_utf16(units).collect();
        match (decoded, rest) {
            (Ok(text), []) => Ok(text.into()),
            (Ok(_), _) => Err("a text in UTF-16 of an odd number of bytes: it is cut".to_owned()),
            (Err(error), _) => Err(format!("a text in UTF-16 with an {error}")),
        }
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest, 3).map(Cow::Borrowed),
        _ => utf8(bytes, 0).map(Cow::Borrowed),
    }
}

fn utf8(bytes: &[u8], before: usize) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let (byte, at) = (bytes[at], at + before);
        format!("expected a text in UTF-8, found byte 0x{byte:02x} at {at}: save it as UTF-8")
    })
}

/// A safetensors file begins with the length of its header, which is a JSON object.
fn safetensors(bytes: &[u8]) -> Option<Kind> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = u64::from_le_bytes(*length);
    let whole = rest.first() == Some(&b'{') && length <= MAX_HEADER;
    whole.then_some(match (rest.len() as u64) < length {
        true => Kind::Cut("a safetensors file"),
        false => Kind::Safetensors,
    })
}

/// The kinds that share a container's beginning.
fn container(bytes: &[u8]) -> Option<Kind> {
    match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, form @ ..] => Some(match form {
            [b'W', b'E', b'B', b'P', ..] => Kind::WebP,
            [b'W', b'A', b'V', b'E', ..] => Kind::Other("a WAV recording"),
            [b'A', b'V', b'I', b' ', ..] => Kind::Other("an AVI video"),
            _ => return None,
        }),
        // The length of the second header keeps texts that begin with BM out.
        [b'B', b'M', rest @ ..] if matches!(rest.get(12..16), Some([12..=124, 0, 0, 0])) => {
            Some(Kind::Bmp)
        }
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => Some(match brand.get(..4)? {
            b"avif" | b"avis" => Kind::Avif,
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => {
                Kind::Heic
            }
            // A picture of any codec: its list of compatible brands has the codec's.
            b"mif1" | b"msf1" => match brand.get(8..64.min(brand.len())) {
                Some(others) if others.windows(4).any(|brand| brand == b"avif") => Kind::Avif,
                _ => Kind::Heic,
            },
            _ => Kind::Other("a video (MP4 or QuickTime)"),
        }),
        _ => None,
    }
}

/// True for the beginnings that pickles of protocols 0 and 1 have, which do not say what they are: a
/// container or the class of an object, and an opcode that may follow it.
fn is_old_pickle(bytes: &[u8]) -> bool {
    let stored = |rest: &[u8]| match rest {
        [b'p', digit, ..] => digit.is_ascii_digit(),
        [next, ..] => b"(.)qr".contains(next),
        [] => false,
    };
    match bytes {
        [b'(', b'd' | b'l' | b't', rest @ ..] => {
            stored(rest)
                || rest
                    .first()
                    .is_some_and(|next| b"FGIJKLMNSTUVX".contains(next))
        }
        [b'}' | b']', rest @ ..] => stored(rest),
        // c, the module and the name of a class, each with the end of its line.
        [b'c', rest @ ..] => {
            let mut lines = rest[..rest.len().min(256)].splitn(3, |&byte| byte == b'\n');
            let named = |line: Option<&[u8]>| {
                let identifier = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
                line.is_some_and(|line| !line.is_empty() && line.iter().all(identifier))
            };
            named(lines.next()) && named(lines.next()) && lines.next().is_some_and(stored)
        }
        _ => false,
    }
}

/// The kind of text that `head` begins, if it does.
fn of_text(head: &[u8]) -> Option<Kind> {
    let wide = matches!(head, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]);
    let controls = |&byte: &u8| byte < b' ' && !b"\t\n\x0C\r".contains(&byte);
    if !wide && head.iter().any(controls) {
        return None;
    }
    // The head may end within a character.
    let even = head.len() & !1;
    let decoded = match text(if wide { &head[..even] } else { head }) {
        Ok(text) => text,
        Err(_) => String::from_utf8_lossy(head),
    };
    let start = decoded.trim_start_matches('\u{FEFF}').trim_start();
    let lower: String = start.chars().take(16).collect();
    let lower = lower.to_ascii_lowercase();
    let begins = |any: &[&str]| any.iter().any(|tag| lower.starts_with(tag));
    Some(if begins(&["<!doctype html", "<html", "<head", "<body"]) {
        Kind::Html
    } else if begins(&["<?xml", "<svg", "<!", "<error"]) {
        match start.to_ascii_lowercase().contains("<html") {
            true => Kind::Html,
            false => Kind::Xml,
        }
    } else if begins(&["{", "["]) {
        Kind::Json
    } else if start
        .lines()
        .next()
        .is_some_and(|line| line.contains([',', ';', '\t']))
    {
        Kind::Table
    } else {
        Kind::Text
    })
}

/// The title of a page, for a message.
fn title(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]);
    let inner = |tag: &str| {
        let (_, rest) = head.split_once(tag)?;
        let title = rest.split_once('<')?.0.trim();
        let short: String = title.chars().take(60).collect();
        (!short.is_empty()).then(|| format!(" ({short:?})"))
    };
    inner("<title>")
        .or_else(|| inner("<Code>"))
        .unwrap_or_default()
}

/// The kind of archive, by the names in its directory, which lies at its end.
fn zip(bytes: &[u8]) -> Kind {
    let Some(names) = zip_names(bytes) else {
        // The first entry's name follows its header.
        let length = bytes
            .get(26..28)
            .map_or(0, |b| usize::from(b[0]) + 256 * usize::from(b[1]));
        let name = bytes.get(30..30 + length).unwrap_or_default();
        return Kind::Cut(match of_entry(name) {
            Some(Kind::TorchArchive) => "a PyTorch archive",
            Some(Kind::NumpyArchive) => "a numpy archive (.npz)",
            _ => "a zip archive",
        });
    };
    let kinds = [Kind::TorchArchive, Kind::NumpyArchive, Kind::TfLite];
    let has = |kind: &Kind| names.iter().any(|name| of_entry(name) == Some(*kind));
    kinds.into_iter().find(has).unwrap_or(Kind::Zip)
}

/// The kind of archive that an entry of this name is found in.
fn of_entry(name: &[u8]) -> Option<Kind> {
    let folders = name.iter().filter(|&&byte| byte == b'/').count();
    if name.ends_with(b"/data.pkl") && folders == 1 {
        Some(Kind::TorchArchive)
    } else if name.ends_with(b".npy") {
        Some(Kind::NumpyArchive)
    } else if name.ends_with(b".tflite") {
        Some(Kind::TfLite)
    } else {
        None
    }
}

/// Names in an archive's directory, or none if the record at its end is missing.
fn zip_names(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let number = |at: usize, size: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let value = field
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).ok()
    };
    // The record ends with a comment of at most 65535 bytes.
    let from = bytes.len().saturating_sub(22 + 0xFFFF);
    let tail = &bytes[from..];
    let end = from
        + tail
            .windows(4)
            .rposition(|window| window == b"PK\x05\x06")?;
    let mut at = number(end + 16, 4)?;
    if at == 0xFFFF_FFFF {
        // The record of large archives, whose place the twenty bytes before tell.
        let large = number(end.checked_sub(12)?, 8)?;
        at = number(large.checked_add(48)?, 8)?;
    }
    let mut names = Vec::new();
    while bytes
        .get(at..)
        .is_some_and(|it| it.starts_with(b"PK\x01\x02"))
    {
        let (name, extra, comment) = (
            number(at + 28, 2)?,
            number(at + 30, 2)?,
            number(at + 32, 2)?,
        );
        names.push(bytes.get(at + 46..at + 46 + name)?);
        at += 46 + name + extra + comment;
    }
    Some(names)
}

#[cfg(test)]
mod tests;
