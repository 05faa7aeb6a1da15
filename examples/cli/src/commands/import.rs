//! Turns files of the GPAvatar authors and of face trackers into files of this crate, without
//! Python.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use gpavatar::import::{self, Checkpoint, HeadOptions, MotionOptions, Sources};
use gpavatar::track::Embedding;
use gpavatar::{FloatFormat, HeadModel, ModelConfig};

use crate::album::failed;
use crate::report;

/// Turns files of the GPAvatar authors and of face trackers into files of this crate.
#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  gpavatar import checkpoint one_model.ckpt --head generic_model.pkl --f16 -o gpavatar.safetensors
  gpavatar import head flame2023.pkl --whole -o flame.safetensors
  gpavatar import embedding mediapipe_landmark_embedding.npz --head flame2023.pkl
  gpavatar import motion smoothed.pkl -o motion.json
  gpavatar import sources tracked_result.pth -o me")]
pub enum Args {
    Checkpoint(CheckpointArgs),
    Head(HeadArgs),
    Embedding(EmbeddingArgs),
    Motion(MotionArgs),
    Sources(SourcesArgs),
}

/// The released weights, one_model.ckpt, or the same as .safetensors
#[derive(clap::Args)]
pub struct CheckpointArgs {
    checkpoint: PathBuf,
    /// Weights file to write
    #[arg(short, long, value_name = "FILE")]
    #[arg(default_value = "gpavatar.safetensors")]
    output: PathBuf,
    /// Head model to put into it, FLAME's or one of this crate: then the file is a whole model
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    #[command(flatten)]
    directions: Directions,
    /// Set of weights to take, if the checkpoint has several [default: state_dict]
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
    /// Writes 16-bit floats: half the size
    #[arg(long)]
    f16: bool,
    /// Fields that shapes do not determine, if not as released: '{"low_res_size": 64}'
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
}

/// A FLAME head model: generic_model.pkl, flame2023*.pkl, FLAME_with_eye.pt, .npz or .safetensors
#[derive(clap::Args)]
pub struct HeadArgs {
    model: PathBuf,
    /// Head model file to write
    #[arg(short, long, value_name = "FILE", default_value = "flame.safetensors")]
    output: PathBuf,
    #[command(flatten)]
    directions: Directions,
}

#[derive(clap::Args)]
struct Directions {
    /// Keeps all of FLAME's 300 + 100 directions; GPAvatar uses 100 + 50
    #[arg(long)]
    whole: bool,
}

/// FLAME's mediapipe_landmark_embedding.npz: where landmarks lie on it, for track and reenact --embedding
#[derive(clap::Args)]
pub struct EmbeddingArgs {
    embedding: PathBuf,
    /// The FLAME head model with its triangles, as import head takes it
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    /// Embedding to write
    #[arg(short, long, value_name = "FILE", default_value = "embedding.json")]
    output: PathBuf,
}

/// A tracked video (smoothed.pkl, .npz …) or a recording of a face (.csv, .json, .tsv …)
#[derive(clap::Args)]
pub struct MotionArgs {
    recording: PathBuf,
    /// Motion to write, .json or .safetensors
    #[arg(short, long, value_name = "FILE", default_value = "motion.json")]
    output: PathBuf,
    /// Frames per second, 1 to 240 [default: as the file or its times say; 25 for tracked videos]
    #[arg(long)]
    fps: Option<f32>,
    /// Smooths the motion, less the nearer to 1; GPAvatar uses 0.9
    #[arg(long, value_name = "ALPHA")]
    smoothing: Option<f32>,
    /// Leaves out the head rotation of a recording
    #[arg(long)]
    still_head: bool,
    /// Under what terms the motion may be used, to be written into it
    #[arg(long, value_name = "TEXT", default_value = "")]
    licence: String,
}

/// Tracked source pictures, tracked_result.pth
#[derive(clap::Args)]
pub struct SourcesArgs {
    tracked: PathBuf,
    /// Directory to write pictures, cameras and shape to
    #[arg(short, long, value_name = "DIRECTORY", default_value = "sources")]
    output: PathBuf,
}

pub fn run(args: Args) -> Result<(), Box<dyn Error>> {
    match args {
        Args::Checkpoint(args) => checkpoint(args),
        Args::Head(args) => head(args),
        Args::Embedding(args) => embedding(&args),
        Args::Motion(args) => motion(args),
        Args::Sources(args) => sources(args),
    }
}

fn checkpoint(args: CheckpointArgs) -> Result<(), Box<dyn Error>> {
    let mut checkpoint = Checkpoint::open(&args.checkpoint)?;
    if let Some(set) = &args.set {
        checkpoint = checkpoint.with_set(set)?;
    }
    if let [taken, others @ ..] = checkpoint.sets()
        && !others.is_empty()
    {
        let others = others.join(", ");
        println!("took the weights of {taken}; the file also has those of {others} (--set NAME)");
    }
    if let Some(json) = &args.config {
        let changed = merged(checkpoint.config(), json)?;
        checkpoint = checkpoint.with_config(|config| *config = changed)?;
    }
    let head = args.head.map(|head| args.directions.read(&head));
    let head = head.transpose()?;
    let points = checkpoint.config().points as usize;
    if let Some(vertices) = head.as_ref().map(HeadModel::vertex_count)
        && vertices != points
    {
        Err(format!(
            "the network has {points} points, the head {vertices} vertices"
        ))?;
    }

    let format = match args.f16 {
        true => FloatFormat::F16,
        false => FloatFormat::F32,
    };
    let bar = report::progress("megabytes", 0);
    let mut writer = checkpoint.writer(format)?;
    if let Some(head) = &head {
        head.embed(&mut writer, format);
    }
    writer.on_progress(|written, total| {
        bar.set_length((total / 1_000_000) as u64);
        bar.set_position((written / 1_000_000) as u64);
    });
    writer.write(&args.output)?;
    bar.finish_and_clear();
    let tensors = checkpoint.config().tensors()?.len();
    let ignored = checkpoint.ignored().len();
    println!("{tensors} tensors, {ignored} others left out");
    report::list(&[args.output]);
    Ok(())
}

/// The configuration with some fields as `json` has them.
fn merged(config: &ModelConfig, json: &str) -> Result<ModelConfig, Box<dyn Error>> {
    let mut fields: serde_json::Map<_, _> = serde_json::from_str(&config.to_json()?)?;
    fields.extend(serde_json::from_str::<serde_json::Map<_, _>>(json)?);
    let json = serde_json::to_string(&fields)?;
    Ok(ModelConfig::from_json("--config", &json)?)
}

impl Directions {
    fn read(&self, file: &Path) -> gpavatar::Result<HeadModel> {
        let options = match self.whole {
            true => HeadOptions::whole(),
            false => HeadOptions::default(),
        };
        import::head_model(file, &options)
    }
}

fn head(args: HeadArgs) -> Result<(), Box<dyn Error>> {
    let head = args.directions.read(&args.model)?;
    head.write(&args.output)?;
    println!(
        "{} vertices, {} identity and {} expression directions, {} joints",
        head.vertex_count(),
        head.shape_count(),
        head.expression_count(),
        head.joint_count()
    );
    report::list(&[args.output]);
    Ok(())
}

fn embedding(args: &EmbeddingArgs) -> Result<(), Box<dyn Error>> {
    let read = |path: &Path| fs::read(path).map_err(|error| failed("read", path, error));
    let name = |path: &Path| path.display().to_string();
    let head = import::head_model(&args.head, &HeadOptions::default())?;
    let triangles = import::head_triangles_from_bytes(name(&args.head), read(&args.head)?)?;
    let (what, bytes) = (name(&args.embedding), read(&args.embedding)?);
    let embedding = Embedding::mediapipe(&what, bytes, &head, &triangles)?;
    let written = fs::write(&args.output, embedding.to_json());
    written.map_err(|error| failed("write", &args.output, error))?;
    println!("{} landmarks", embedding.points().len());
    report::list(std::slice::from_ref(&args.output));
    Ok(())
}

fn motion(args: MotionArgs) -> Result<(), Box<dyn Error>> {
    let options = MotionOptions {
        fps: args.fps,
        smoothing: args.smoothing,
        still_head: args.still_head,
        ..MotionOptions::default()
    };
    let mut imported = import::motion(&args.recording, &options)?;
    if !args.licence.is_empty() {
        let name = imported.motion.name().to_owned();
        imported.motion = imported.motion.with_name(name, args.licence);
    }
    imported.motion.write(&args.output)?;
    println!("{imported}");
    report::list(&[args.output]);
    Ok(())
}

fn sources(args: SourcesArgs) -> Result<(), Box<dyn Error>> {
    let sources = Sources::open(&args.tracked)?;
    sources.write(&args.output)?;
    println!("{}", report::pictures(sources.images.len()));
    report::list(&[args.output]);
    Ok(())
}
