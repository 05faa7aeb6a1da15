//! The programs ffmpeg and ffprobe: what is in a film, and its frames by pipes.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use gpavatar::{Error, Result};
use image::RgbaImage;
use serde::Deserialize;

use super::{Frames, Next, no_film};

/// Longest side of a frame.
const MOST: u32 = 16384;
/// Rates that a film may have. Some files name the rate of their clock instead.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=240.0;

/// What a film has.
pub struct Facts {
    pub rate: f64,
    pub seconds: Option<f64>,
    /// Codec of its sound.
    pub sound: Option<String>,
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    codec_type: String,
    #[serde(default)]
    codec_name: String,
    #[serde(default)]
    avg_frame_rate: String,
    #[serde(default)]
    r_frame_rate: String,
    duration: Option<String>,
}

#[derive(Default, Deserialize)]
struct Format {
    duration: Option<String>,
}

/// Asks ffprobe what a film has.
pub fn probe(path: &Path) -> Result<Facts> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "json", "-show_entries"]);
    command
        .arg("stream=codec_type,codec_name,avg_frame_rate,r_frame_rate,duration:format=duration");
    let output = command.arg(url(path)).stdin(Stdio::null()).output();
    let output = output.map_err(|error| not_started(path, error))?;
    let no_video = || {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().map(stripped);
        let because = last.map(|line| format!(": {line}")).unwrap_or_default();
        no_film(path, format!("it has no video{because}"))
    };
    let probe: Probe = serde_json::from_slice(&output.stdout).map_err(|_| no_video())?;
    let of = |kind: &str| {
        probe
            .streams
            .iter()
            .find(|stream| stream.codec_type == kind)
    };
    let video = of("video").ok_or_else(no_video)?;
    let rates = [&video.avg_frame_rate, &video.r_frame_rate];
    let rate = rates
        .into_iter()
        .filter_map(|rate| fraction(rate))
        .find(|rate| RATES.contains(rate));
    let durations = [&video.duration, &probe.format.duration]
        .into_iter()
        .flatten();
    let mut durations = durations.filter_map(|seconds| seconds.parse::<f64>().ok());
    Ok(Facts {
        rate: rate.unwrap_or(super::USUAL),
        seconds: durations.find(|seconds| seconds.is_finite() && *seconds > 0.0),
        sound: of("audio").map(|sound| sound.codec_name.clone()),
    })
}

/// `30000/1001`.
fn fraction(text: &str) -> Option<f64> {
    let (over, under) = text.split_once('/')?;
    Some(over.parse::<f64>().ok()? / under.parse::<f64>().ok()?)
}

/// A file's name that ffmpeg takes for nothing else.
pub fn url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

/// Frames of a film, as ffmpeg turns them upright and spaces them evenly.
pub struct Reader {
    process: Process,
    frames: BufReader<ChildStdout>,
}

impl Reader {
    /// Reads what ffmpeg takes by these arguments, at a rate.
    pub fn open(path: &Path, input: &[OsString], rate: f64) -> Result<Self> {
        // The container of each frame says how large it is after it was turned.
        let filter = format!("fps={rate:.6}:start_time=0");
        let words = |text: &'static str| text.split(' ').map(OsString::from);
        let after = words("-map 0:v:0 -c:v pam -pix_fmt rgba -f image2pipe -vf");
        let arguments = words("-nostdin -v error").chain(input.iter().cloned());
        let arguments = arguments
            .chain(after)
            .chain([filter.into(), "pipe:1".into()]);
        let mut process = Process::start(path, arguments, Stdio::null(), Stdio::piped())?;
        let frames = process.child.stdout.take();
        let frames = frames.ok_or_else(|| no_film(path, "ffmpeg has no output".into()))?;
        Ok(Self {
            process,
            frames: BufReader::with_capacity(1 << 20, frames),
        })
    }
}

impl Frames for Reader {
    fn next(&mut self, frame: &mut RgbaImage) -> Result<Next> {
        let whole = next_frame(&mut self.frames, frame);
        if let Ok(true) = whole {
            return Ok(Next::Frame);
        }
        let (ok, last) = self.process.end();
        Ok(match (whole, ok, last) {
            (Ok(_), true, None) => Next::End,
            (_, _, Some(line)) => Next::Cut(line),
            (Err(error), ..) => Next::Cut(error.to_string()),
            (Ok(_), ..) => Next::Cut("ffmpeg failed".into()),
        })
    }
}

/// Reads a frame of the format PAM; false at the end.
fn next_frame(bytes: &mut impl BufRead, frame: &mut RgbaImage) -> io::Result<bool> {
    let invalid = |found: &str| io::Error::other(format!("expected a frame, found {found:?}"));
    let (mut width, mut height, mut line) = (0, 0, String::new());
    if bytes.fill_buf()?.is_empty() {
        return Ok(false);
    }
    loop {
        line.clear();
        bytes.take(64).read_line(&mut line)?;
        let (key, value) = line
            .trim_end()
            .split_once(' ')
            .unwrap_or((line.trim_end(), ""));
        match (key, value.parse()) {
            ("WIDTH", Ok(value)) => width = value,
            ("HEIGHT", Ok(value)) => height = value,
            ("DEPTH", Ok(4u32)) | ("MAXVAL", Ok(255)) | ("TUPLTYPE" | "P7", _) => {}
            ("ENDHDR", _) => break,
            _ => return Err(invalid(&line)),
        }
    }
    if !(1..=MOST).contains(&width) || !(1..=MOST).contains(&height) {
        return Err(invalid(&format!("{width} x {height} pixels")));
    }
    if frame.dimensions() != (width, height) {
        *frame = RgbaImage::new(width, height);
    }
    bytes.read_exact(frame)?;
    Ok(true)
}

/// Takes pictures for ffmpeg to write.
pub struct Writer {
    process: Process,
    size: (u32, u32),
}

impl Writer {
    /// Starts writing `path` with these arguments between the pictures' and the file's name.
    pub fn create(
        path: &Path,
        size: (u32, u32),
        rate: f64,
        arguments: &[OsString],
    ) -> Result<Self> {
        let (width, height) = size;
        let input = format!(
            "-v error -y -f rawvideo -pix_fmt rgba -s {width}x{height} -framerate {rate:.6} -i pipe:0"
        );
        let input = input.split(' ').map(OsString::from);
        let all = input.chain(arguments.iter().cloned()).chain([url(path)]);
        Ok(Self {
            process: Process::start(path, all, Stdio::piped(), Stdio::null())?,
            size,
        })
    }

    pub fn push(&mut self, picture: &RgbaImage) -> io::Result<()> {
        if picture.dimensions() != self.size {
            let (found, expected) = (picture.dimensions(), self.size);
            return Err(io::Error::other(format!(
                "expected {expected:?} pixels, found {found:?}"
            )));
        }
        let input: Option<&mut ChildStdin> = self.process.child.stdin.as_mut();
        match input.map(|input| input.write_all(picture)) {
            Some(Ok(())) => Ok(()),
            // It has ended and said why.
            _ => self
                .finish()
                .and(Err(io::Error::other("ffmpeg ended early"))),
        }
    }

    pub fn finish(&mut self) -> io::Result<()> {
        drop(self.process.child.stdin.take());
        match self.process.end() {
            (true, _) => Ok(()),
            (false, line) => Err(io::Error::other(line.unwrap_or("ffmpeg failed".into()))),
        }
    }
}

/// A running ffmpeg, which ends with this.
struct Process {
    child: Child,
    /// Reads what it complains about, of which the last line stays.
    errors: Option<JoinHandle<Option<String>>>,
}

impl Process {
    fn start<S: AsRef<OsStr>>(
        film: &Path,
        arguments: impl IntoIterator<Item = S>,
        input: Stdio,
        output: Stdio,
    ) -> Result<Self> {
        let mut command = Command::new("ffmpeg");
        command.args(arguments).stdin(input).stdout(output);
        command.stderr(Stdio::piped());
        // The terminal's Ctrl-C is for this program, which then decides what becomes of the film.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| not_started(film, error))?;
        let errors = child.stderr.take().map(|errors| {
            std::thread::spawn(move || {
                let mut last = None;
                let (mut errors, mut line) = (BufReader::new(errors), Vec::new());
                while matches!(errors.read_until(b'\n', &mut line), Ok(1..)) {
                    let text = String::from_utf8_lossy(&line);
                    let text = stripped(text.trim());
                    if !text.is_empty() {
                        last = Some(text.chars().take(200).collect());
                    }
                    line.clear();
                }
                last
            })
        });
        Ok(Self { child, errors })
    }

    /// Waits for its end: whether it succeeded, and the last line of its complaints.
    fn end(&mut self) -> (bool, Option<String>) {
        let errors = self.errors.take().and_then(|errors| errors.join().ok());
        let ok = self.child.wait().is_ok_and(|status| status.success());
        (ok, errors.flatten())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line without the address of the part of ffmpeg that it comes from.
fn stripped(line: &str) -> &str {
    match line.split_once("] ") {
        Some((part, rest)) if part.starts_with('[') => rest,
        _ => line,
    }
}

fn not_started(film: &Path, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return crate::album::failed("run ffmpeg for", film, error);
    }
    Error::Argument {
        what: film.display().to_string(),
        expected: "ffmpeg and ffprobe on the PATH (apt-get install ffmpeg, brew install ffmpeg or \
                   winget install ffmpeg); animated GIFs and folders of PNGs do without"
            .into(),
        found: "neither".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "P7\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n";

    #[test]
    fn frames_say_how_large_they_are() {
        let mut frame = RgbaImage::new(0, 0);
        let bytes = [HEAD.as_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
        let mut stream = &*bytes.repeat(2);
        for _ in 0..2 {
            assert!(next_frame(&mut stream, &mut frame).unwrap());
            assert_eq!(frame.dimensions(), (2, 1));
            assert_eq!(frame.as_raw()[..], bytes[HEAD.len()..]);
        }
        assert!(!next_frame(&mut stream, &mut frame).unwrap());
        for cut in 1..bytes.len() {
            let mut stream = &bytes[..cut];
            assert!(next_frame(&mut stream, &mut frame).is_err(), "{cut}");
        }
        for (from, to) in [
            ("WIDTH 2", "WIDTH 0"),
            ("HEIGHT 1", "HEIGHT 99999"),
            ("DEPTH 4", "DEPTH 3"),
            ("P7", "P6"),
        ] {
            let wrong = HEAD.replace(from, to);
            assert!(
                next_frame(&mut wrong.as_bytes(), &mut frame).is_err(),
                "{to}"
            );
        }
    }

    #[test]
    fn rates_are_fractions() {
        assert_eq!(fraction("25/1"), Some(25.0));
        assert_eq!(fraction("30000/1001"), Some(30000.0 / 1001.0));
        assert!(fraction("0/0").is_none_or(|rate| !RATES.contains(&rate)));
        assert_eq!(fraction(""), None);
    }

    #[test]
    fn complaints_do_not_name_addresses() {
        assert_eq!(
            stripped("[mov @ 0x561e70ca7940] partial file"),
            "partial file"
        );
        assert_eq!(stripped("No such file [1] here"), "No such file [1] here");
    }
}
