//! Candidates: kernels from disk, each checked and timed against the kernel that is in use.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use gpavatar::{
    Avatar, AvatarOptions, Candidate, Gpu, GpuOptions, Model, ModelOptions, RenderOptions,
    SourceImage,
};
use gpavatar_cli::costs::Times;
use gpavatar_cli::demo::{self, Sample};
use gpavatar_cli::report;
use serde::{Deserialize, Serialize};

use super::Args;

/// The largest difference that rounding explains, of the range of the values in use.
const TOLERANCE: f32 = 1e-4;

/// `candidates.json` lists these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Label of a dispatch.
    layer: String,
    /// `FOLDER/FILE` of a kernel, below the folder of candidates or else `shaders`.
    kernel: Option<String>,
    #[serde(default)]
    constants: BTreeMap<String, u32>,
    workgroups: Option<[u32; 3]>,
}

#[derive(Serialize)]
pub struct Trials {
    adapter: String,
    trials: Vec<Trial>,
}

/// A candidate beside the kernel in use.
#[derive(Serialize)]
struct Trial {
    layer: String,
    candidate: String,
    /// Why there are no numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    times: Times,
    times_in_use: Times,
    /// Largest difference from the results in use, of their range.
    difference: f32,
}

/// What all trials share.
struct Setup<'a> {
    args: &'a Args,
    gpu: &'a Gpu,
    sources: &'a [SourceImage],
    /// The files of all candidates.
    candidates: Candidate,
}

/// A model whose dispatch is watched.
struct Watched<'a> {
    label: &'a str,
    model: Model,
    sources: &'a [SourceImage],
    avatar: Avatar,
    /// Whether the dispatch is one of a frame, and not of an avatar.
    in_frame: bool,
    milliseconds: Vec<f64>,
}

impl Trials {
    /// Tries all candidates of a folder.
    pub fn run(args: &Args, folder: &Path, options: &GpuOptions) -> Result<Self, Box<dyn Error>> {
        let list = folder.join("candidates.json");
        let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
        let entries: Vec<Entry> =
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", list.display()))?;
        let gpu = Gpu::with_options(options)?;
        let shaders = demo::file("shaders");
        let setup = Setup {
            args,
            gpu: &gpu,
            sources: &Sample::named(None)?.pictures()?[..1],
            // SAFETY: whoever names a folder of candidates vouches for its kernels, as the help says.
            candidates: unsafe { Candidate::new("", &[&shaders, folder])? },
        };
        let bar = report::progress("trying", entries.len());
        let mut trials = Vec::new();
        // Candidates of a layer are mostly next to each other.
        let mut in_use = None;
        for entry in &entries {
            let tried = Trial::new(&setup, &mut in_use, entry);
            trials.push(tried.unwrap_or_else(|error| Trial {
                error: Some(error.to_string()),
                ..Trial::empty(entry)
            }));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Self {
            adapter: gpu.description(),
            trials,
        })
    }

    /// A table in Markdown.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        writeln!(out, "{}\n", self.adapter)?;
        writeln!(
            out,
            "| layer | candidate | difference | best ms | median ms | in use, median ms | of it |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|")?;
        for trial in &self.trials {
            write!(out, "| {} | {} ", trial.layer, trial.candidate)?;
            if let Some(error) = &trial.error {
                writeln!(
                    out,
                    "| {} | | | | |",
                    error.lines().next().unwrap_or_default()
                )?;
                continue;
            }
            let Times { best, median, .. } = &trial.times;
            let in_use = trial.times_in_use.median;
            let wrong = if trial.difference <= TOLERANCE {
                ""
            } else {
                " WRONG"
            };
            write!(out, "| {:.1e}{wrong} | {best:.3} ", trial.difference)?;
            writeln!(
                out,
                "| {median:.3} | {in_use:.3} | {:.2} |",
                median / in_use
            )?;
        }
        let failed = self.trials.iter().filter_map(|trial| {
            let error = trial
                .error
                .as_deref()
                .filter(|error| error.contains('\n'))?;
            Some(format!("\n{}:\n{error}", trial.candidate))
        });
        out.extend(failed);
        Ok(out)
    }
}

impl Trial {
    fn empty(entry: &Entry) -> Self {
        let mut candidate = entry.kernel.clone().unwrap_or_else(|| "the same".into());
        for (name, value) in &entry.constants {
            candidate += &format!(", {name} {value}");
        }
        Self {
            layer: entry.layer.clone(),
            candidate,
            error: None,
            times: Times::default(),
            times_in_use: Times::default(),
            difference: 0.0,
        }
    }

    /// Times the candidate and the kernel in use in turns. `in_use` is the model of the last trial.
    fn new<'a>(
        setup: &Setup<'a>,
        in_use: &mut Option<Watched<'a>>,
        entry: &'a Entry,
    ) -> Result<Self, Box<dyn Error>> {
        let layer = entry.layer.as_str();
        let known = in_use.take().filter(|watched| watched.label == layer);
        let in_use = in_use.insert(match known {
            Some(watched) => watched,
            None => Watched::new(setup, layer, Candidate::in_use(layer))?,
        });
        let expected = in_use.results()?;
        let mut candidate = setup.candidates.clone();
        candidate.dispatch.clone_from(&entry.layer);
        candidate.kernel.clone_from(&entry.kernel);
        candidate.constants.clone_from(&entry.constants);
        candidate.workgroups = entry.workgroups;
        let mut tried = Watched::new(setup, layer, candidate)?;
        let found = tried.results()?;
        for _ in 0..setup.args.repeat {
            in_use.time()?;
            tried.time()?;
        }
        Ok(Self {
            times: Times::new(tried.milliseconds),
            times_in_use: Times::new(in_use.milliseconds.clone()),
            difference: difference(&found, &expected),
            ..Self::empty(entry)
        })
    }
}

impl<'a> Watched<'a> {
    fn new(
        setup: &Setup<'a>,
        label: &'a str,
        candidate: Candidate,
    ) -> Result<Self, Box<dyn Error>> {
        let options = ModelOptions {
            tuning: setup.args.tuning.choose(setup.gpu),
            candidate: Some(candidate),
            ..ModelOptions::default()
        };
        let model = Model::with_options(setup.gpu, setup.args.weights()?, options)?;
        let sources = setup.sources;
        let (avatar, encoding) =
            Avatar::profile_images(&model, sources, &AvatarOptions::default())?;
        Ok(Self {
            label,
            model,
            sources,
            avatar,
            in_frame: encoding.kernels.iter().all(|time| time.label != label),
            milliseconds: Vec::new(),
        })
    }

    /// Runs the avatar or the frame that the dispatch is part of, and times the dispatch.
    fn time(&mut self) -> Result<(), Box<dyn Error>> {
        let profile = if self.in_frame {
            let drive = demo::at_rest(&self.model);
            self.avatar.profile(&drive, &RenderOptions::default())?.1
        } else {
            Avatar::profile_images(&self.model, self.sources, &AvatarOptions::default())?.1
        };
        let times = profile.kernels;
        let mut watched = times.iter().filter(|time| time.label == self.label);
        let time = watched.next().ok_or_else(|| {
            let mut labels: Vec<_> = times.iter().map(|time| time.label.as_str()).collect();
            labels.truncate(8);
            format!(
                "no layer {:?}; there are {}, …",
                self.label,
                labels.join(", ")
            )
        })?;
        self.milliseconds.push(time.milliseconds);
        Ok(())
    }

    /// What the dispatch writes, after a first run that does not count.
    fn results(&mut self) -> Result<BTreeMap<String, Vec<u32>>, Box<dyn Error>> {
        self.time()?;
        self.milliseconds.clear();
        let taps = self.model.taps();
        let taps = taps.filter(|(name, _)| name.starts_with("candidate."));
        let mut results = BTreeMap::new();
        for (name, tensor) in taps {
            let values = pollster::block_on(tensor.read(self.model.gpu()))?;
            let bits = values.into_iter().map(f32::to_bits);
            results.insert(name.to_owned(), bits.collect());
        }
        Ok(results)
    }
}

/// The largest difference, of the range of the expected values. Infinite if words that are no
/// numbers differ.
fn difference(found: &BTreeMap<String, Vec<u32>>, expected: &BTreeMap<String, Vec<u32>>) -> f32 {
    let mut largest: f32 = 0.0;
    for (name, expected) in expected {
        let empty = Vec::new();
        let found = found.get(name).unwrap_or(&empty);
        if found.len() != expected.len() {
            return f32::INFINITY;
        }
        let numbers = expected.iter().map(|bits| f32::from_bits(*bits));
        let finite = numbers.filter(|number| number.is_finite());
        let (low, high) = finite.fold((0.0f32, 0.0f32), |(low, high), x| (low.min(x), high.max(x)));
        for (found, expected) in found.iter().zip(expected).filter(|(a, b)| a != b) {
            let apart = (f32::from_bits(*found) - f32::from_bits(*expected)).abs();
            let apart = apart / (high - low).max(f32::MIN_POSITIVE);
            largest = largest.max(if apart.is_nan() { f32::INFINITY } else { apart });
        }
    }
    largest
}
