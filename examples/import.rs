//! Turns files of the GPAvatar authors and of face trackers into files of this crate:
//!
//! ```sh
//! cargo run --release --example import -- \
//!     checkpoint one_model.ckpt --head generic_model.pkl -o gpavatar.safetensors --f16
//! cargo run --release --example import -- head generic_model.pkl -o flame.safetensors
//! cargo run --release --example import -- motion smoothed.pkl -o motion.json
//! cargo run --release --example import -- sources tracked_result.pth -o sources
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gpavatar::import::{self, Checkpoint, HeadOptions, MotionOptions, Sources};
use gpavatar::{FloatFormat, HeadModel, ModelConfig};
use indicatif::{ProgressBar, ProgressStyle};

/// Turns files of the GPAvatar authors and of face trackers into files of this crate.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The released weights, `one_model.ckpt`.
    Checkpoint {
        /// The checkpoint.
        file: PathBuf,
        /// Weights file to write.
        #[arg(short, long, default_value = "gpavatar.safetensors")]
        output: PathBuf,
        /// Head model to put into the weights file: FLAME's or one of this crate. With it the
        /// file is a complete model.
        #[arg(long)]
        head: Option<PathBuf>,
        /// Writes 16-bit floats: half the size, and what is lost is invisible.
        #[arg(long)]
        f16: bool,
        /// What the tensors' shapes do not tell, as JSON: '{"low_res_size": 128}'.
        #[arg(long)]
        config: Option<String>,
        #[command(flatten)]
        directions: Directions,
    },
    /// A FLAME model: generic_model.pkl, flame2023*.pkl, .npz or .safetensors.
    Head {
        /// The FLAME model.
        file: PathBuf,
        /// Head model file to write.
        #[arg(short, long, default_value = "flame.safetensors")]
        output: PathBuf,
        #[command(flatten)]
        directions: Directions,
    },
    /// A tracked video (lightning.pkl, smoothed.pkl), or a recording of Live Link Face (.csv).
    Motion {
        /// The video or recording.
        file: PathBuf,
        /// Motion to write, .json or .safetensors.
        #[arg(short, long, default_value = "motion.json")]
        output: PathBuf,
        /// Frames per second, if not 25 or what the recording says.
        #[arg(long)]
        fps: Option<f32>,
        /// Smooths the motion: 1 is not at all, GPAvatar uses 0.9.
        #[arg(long)]
        smoothing: Option<f32>,
        /// Keeps a recording's angles of head and eyes as channels.
        #[arg(long)]
        rotations: bool,
        /// Terms under which the motion may be used.
        #[arg(long, default_value = "")]
        licence: String,
    },
    /// Tracked source pictures, tracked_result.pth.
    Sources {
        /// The tracker's result.
        file: PathBuf,
        /// Directory to write pictures, cameras and shape to.
        #[arg(short, long, default_value = "sources")]
        output: PathBuf,
    },
}

#[derive(Args)]
struct Directions {
    /// Keeps all of FLAME's 300 + 100 directions. GPAvatar uses 100 + 50.
    #[arg(long)]
    whole: bool,
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

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Checkpoint {
            file,
            output,
            head,
            f16,
            config,
            directions,
        } => {
            let mut checkpoint = Checkpoint::open(&file)?;
            if let Some(json) = config {
                let changed = merged(checkpoint.config(), &json)?;
                checkpoint = checkpoint.with_config(|config| *config = changed)?;
            }
            let head = head.map(|head| directions.read(&head)).transpose()?;
            let points = checkpoint.config().points;
            if let Some(vertices) = head.as_ref().map(HeadModel::vertex_count)
                && vertices != points as usize
            {
                return Err(format!("a network of {points} points, a head of {vertices}").into());
            }
            let format = if f16 {
                FloatFormat::F16
            } else {
                FloatFormat::F32
            };
            let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template(
                "{bar:40} {decimal_bytes} of {decimal_total_bytes}",
            )?);
            let mut writer = checkpoint.writer(format)?;
            if let Some(head) = &head {
                head.embed(&mut writer, format);
            }
            writer.on_progress(|written, total| {
                bar.set_length(total as u64);
                bar.set_position(written as u64);
            });
            writer.write(&output)?;
            bar.finish();
            let tensors = checkpoint.config().tensors()?.len();
            let ignored = checkpoint.ignored().len();
            println!("{tensors} tensors, {ignored} others left out");
            wrote(&output);
        }
        Command::Head {
            file,
            output,
            directions,
        } => {
            let head = directions.read(&file)?;
            head.write(&output)?;
            println!(
                "{} vertices, {} identity and {} expression directions, {} joints",
                head.vertex_count(),
                head.shape_count(),
                head.expression_count(),
                head.joint_count()
            );
            wrote(&output);
        }
        Command::Motion {
            file,
            output,
            fps,
            smoothing,
            rotations,
            licence,
        } => {
            let options = MotionOptions {
                fps,
                smoothing,
                rotations,
            };
            let motion = import::motion(&file, &options)?;
            let name = motion.name().to_owned();
            let motion = motion.with_name(name, licence);
            motion.write(&output)?;
            println!("{} frames at {} per second", motion.len(), motion.fps());
            wrote(&output);
        }
        Command::Sources { file, output } => {
            let sources = Sources::open(&file)?;
            sources.write(&output)?;
            println!("{} pictures", sources.images.len());
            wrote(&output);
        }
    }
    Ok(())
}

fn wrote(output: &Path) {
    println!("wrote {}", output.display());
}

/// The configuration with some fields as `json` has them.
fn merged(config: &ModelConfig, json: &str) -> Result<ModelConfig, Box<dyn Error>> {
    let mut fields: serde_json::Map<_, _> = serde_json::from_str(&config.to_json()?)?;
    fields.extend(serde_json::from_str::<serde_json::Map<_, _>>(json)?);
    let json = serde_json::to_string(&fields)?;
    Ok(ModelConfig::from_json("--config", &json)?)
}
