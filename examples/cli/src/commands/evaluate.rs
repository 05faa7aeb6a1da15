//! Measures a network on heads that it never saw: `gpavatar evaluate FOLDER`, where
//! `python -m avatar_training heads-evaluation FOLDER` made the folder.

use std::error::Error;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use gpavatar::track::{Tracker, TrackerOptions};
use gpavatar::{HeadModel, Weights};
use image::RgbaImage;
use serde::Serialize;

use crate::album::{Album, evenly};
use crate::args::GpuArgs;
use crate::avatar::{self, ModelArgs};
use crate::demo;
use crate::evaluation::{Evaluation, Kind, Rendering, Scores, to_image};
use crate::film::entries;
use crate::report;
use crate::sheet::{Cell, sheet, width};

/// Measures a network on heads that it never saw, and writes contact sheets of some.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar evaluate heads                             the network that ships with the repository
  gpavatar evaluate heads --identities 5              the first five heads only
  gpavatar evaluate heads --model mine.safetensors --json mine.json -o out/mine
  gpavatar evaluate heads --tracker --photographs empty    how well the tracker reads these people")]
pub struct Args {
    /// Evaluation folder, with an evaluation.json
    folder: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Evaluate the first N identities only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    identities: Option<u32>,
    /// Write all numbers as JSON to a file, or with - to standard output in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory to write contact sheets to
    #[arg(short, long, value_name = "DIRECTORY", default_value = "out/evaluate")]
    out: PathBuf,
    /// Identities on the contact sheets at most, evenly spread over all
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    sheet_rows: u32,
    /// Measure the tracker on these people instead; weights/track/get.sh brings its networks
    #[arg(long)]
    tracker: bool,
    /// Photographs of no people, to find none in and to put people before
    #[arg(long, value_name = "DIRECTORY", requires = "tracker")]
    photographs: Option<PathBuf>,
    #[command(flatten)]
    gpu: GpuArgs,
}

#[derive(Serialize)]
struct Report {
    adapter: String,
    model: String,
    model_bytes: u64,
    /// Numbers that training learns.
    parameters: usize,
    #[serde(flatten)]
    scores: Scores,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let most = args.identities.map(|most| most as usize);
    let evaluation = Evaluation::open(&args.folder, most)?;
    if args.tracker {
        return track(args, &evaluation);
    }
    let path = args.model.path();
    let model_bytes = std::fs::metadata(&path)
        .map_err(|error| format!("{}: {error}", path.display()))?
        .len();
    let parameters = parameters(&Weights::open(&path)?)?;
    let gpu = args.gpu.open()?;
    let model = args.model.open(&gpu)?;

    let mut album = Album::create(&args.out)?;
    let rows = evenly(evaluation.identities.len(), args.sheet_rows as usize);
    let mut sheets = Sheets::new(rows.iter().map(|i| evaluation.identities[*i].name.clone()));
    let bar = report::progress("evaluating", evaluation.renderings());
    let scores = evaluation.measure(&model, |rendering| {
        sheets.add(rendering);
        bar.inc(1);
    })?;
    bar.finish_and_clear();

    sheets.save(&mut album, model.config().output_size)?;
    let report = Report {
        adapter: gpu.description(),
        model: path.display().to_string(),
        model_bytes,
        parameters,
        scores,
    };
    let written = album.finish()?;
    report::write(&report, &report.text()?, args.json.as_deref(), &written)
}

fn track(args: &Args, evaluation: &Evaluation) -> Result<(), Box<dyn Error>> {
    let photographs = args.photographs.as_deref().map(pictures_in).transpose()?;
    let gpu = args.gpu.open()?;
    let tracker = Tracker::new(&gpu, &demo::nets()?, TrackerOptions::default())?;
    let head = HeadModel::open(args.model.path())?;
    let bar = report::progress("tracking", evaluation.stills());
    let photographs = photographs.unwrap_or_default();
    let scores = evaluation.track(&tracker, &head, &photographs, || bar.inc(1))?;
    bar.finish_and_clear();
    let mut text = format!("{}\n\n", gpu.description());
    scores.write(&mut text)?;
    report::write(&scores, &text, args.json.as_deref(), &[])
}

/// The pictures of a directory, in the order of their names.
fn pictures_in(directory: &Path) -> Result<Vec<RgbaImage>, Box<dyn Error>> {
    let paths = entries(directory);
    let paths = paths.map_err(|error| format!("{}: {error}", directory.display()))?;
    let pictures = paths.iter().map(|path| {
        let picture = image::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(picture.into_rgba8())
    });
    pictures.collect()
}

/// Number of weights that training learns: all but the stored noise.
fn parameters(weights: &Weights) -> gpavatar::Result<usize> {
    let tensors = weights.config().tensors()?.into_iter();
    let learnt = tensors.filter(|tensor| !tensor.name.contains(".noises."));
    let sizes = learnt.map(|tensor| tensor.shape.iter().product::<usize>());
    Ok(sizes.sum())
}

impl Report {
    fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        writeln!(out, "{}", self.adapter)?;
        let (model, bytes, parameters) = (&self.model, self.model_bytes, self.parameters);
        writeln!(out, "{model}: {bytes} bytes, {parameters} parameters\n")?;
        self.scores.write(&mut out)?;
        Ok(out)
    }
}

/// Contact sheets of some identities, a row or two for each.
struct Sheets(Vec<Row>);

/// The cells of an identity.
#[derive(Default)]
struct Row {
    identity: String,
    /// Sources of the avatar, then truth, rendering and difference of some targets.
    targets: Vec<Cell>,
    /// Truth and rendering of every single channel.
    channels: [Vec<Cell>; 2],
}

/// Targets of each kind that a row shows.
const RANDOM_TARGETS: usize = 2;
/// Factor that brightens difference pictures.
const GAIN: f32 = 3.0;

impl Sheets {
    fn new(identities: impl Iterator<Item = String>) -> Self {
        let row = |identity| Row {
            identity,
            ..Row::default()
        };
        Self(identities.map(row).collect())
    }

    /// Adds a rendering of the avatar from the first source alone.
    fn add(&mut self, rendering: &Rendering) {
        let shown = |row: &&mut Row| row.identity == rendering.identity.name;
        if rendering.of == (0..1)
            && let Some(row) = self.0.iter_mut().find(shown)
        {
            row.add(rendering);
        }
    }

    /// Saves the sheets, cells as large as pictures of `side` pixels.
    fn save(&self, album: &mut Album, side: u32) -> gpavatar::Result<()> {
        let targets: Vec<&[Cell]> = self.0.iter().map(|row| &row.targets[..]).collect();
        let channels = self.0.iter().flat_map(|row| &row.channels);
        let channels: Vec<&[Cell]> = channels.map(|cells| &cells[..]).collect();
        for (name, groups) in [("sheet.png", targets), ("channels.png", channels)] {
            let columns = groups.iter().map(|cells| cells.len()).max().unwrap_or(0);
            if columns > 0 {
                let columns = columns as u32;
                album.save(name, &sheet(&groups, columns, width(columns, side)))?;
            }
        }
        Ok(())
    }
}

impl Row {
    fn add(&mut self, rendering: &Rendering) {
        let [truth, picture] = [rendering.truth, rendering.picture].map(to_image);
        if self.targets.is_empty() {
            self.targets = avatar::cells(&rendering.sources[rendering.of.clone()]);
        }
        let shown = self.targets.len() / 3;
        match &rendering.target.kind {
            Kind::Channel { channel } => {
                self.channels[0].push(Cell::new(channel, truth));
                self.channels[1].push(Cell::new("rendered", picture));
            }
            Kind::Random { .. } if shown < RANDOM_TARGETS => self.targets.extend([
                Cell::new("truth", truth),
                Cell::new("rendered", picture),
                Cell::new("difference", to_image(&rendering.difference(GAIN))),
            ]),
            _ => {}
        }
    }
}
