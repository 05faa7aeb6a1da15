//! Many reenactments, in parts that many machines share.

mod shard;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use gpavatar::Gpu;
use serde_json::{Map, Value, json};

use super::reenact::{self, Rendered};
use crate::args::GpuArgs;
use crate::tracked::read_json;
use crate::tracking::{interrupted, notice_interrupts};
use shard::Shard;

/// Renders many avatars and motions, and prints a line of JSON for each. What is complete is left as it
/// is: the same command goes on where an earlier one has ended.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar batch jobs.json                          every job, one after the other
  parallel gpavatar batch jobs.json --shard {}/3 ::: 0 1 2
                                                    three processes share them
  sbatch --array=0-7 --wrap 'gpavatar batch jobs.json'
                                                    eight machines of a Slurm cluster do

A job has the options of reenact, of which out is required:
  [{\"out\": \"a.mp4\", \"sample\": \"pink\", \"motion\": \"talk.json\"},
   {\"out\": \"b.mp4\", \"source\": [\"left.png\", \"right.png\"], \"frames\": \"0..24\"}]")]
pub struct Args {
    /// JSON list of jobs
    #[arg(value_name = "JOBS.json")]
    jobs: PathBuf,
    /// Every Nth job from I on, counted from 0 [default: those of the task in a Slurm array or an indexed
    /// Kubernetes Job, else all]
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How often a job that fails is tried again
    #[arg(long, value_name = "N", default_value_t = 1)]
    retries: u32,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// Arguments as reenact reads them.
#[derive(Parser)]
struct Job {
    #[command(flatten)]
    args: reenact::Args,
}

/// Options that are the same for all jobs.
const SHARED: [&str; 4] = ["adapter", "backend", "kernels", "shaders"];

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    notice_interrupts();
    // Everything that can be wrong with the jobs is said before the first is rendered.
    let jobs = read(&args.jobs)?;
    let shard = match args.shard {
        Some(shard) => shard,
        None => Shard::of_environment(|name| std::env::var(name).ok())?,
    };
    let mut device = Device(&args.gpu, None);
    let (mut failed, mut count) = (0, 0);
    for (number, job) in jobs.iter().enumerate().filter(|(i, _)| shard.has(*i)) {
        count += 1;
        let out = job.args.out();
        let mut line = match reenact::is_complete(out) {
            true => json!({"status": "skipped"}),
            false => device.render(&job.args, args.retries)?,
        };
        failed += usize::from(line["status"] == "failed");
        line["job"] = json!(number);
        line["out"] = json!(out);
        println!("{line}");
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} of {count} jobs failed").into()),
    }
}

/// The device, once it has been opened.
struct Device<'a>(&'a GpuArgs, Option<Gpu>);

impl Device<'_> {
    /// Renders a job, again if it fails. Returns the rest of its line.
    ///
    /// # Errors
    /// If it was interrupted.
    fn render(&mut self, job: &reenact::Args, retries: u32) -> Result<Value, Box<dyn Error>> {
        let start = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let rendered = self.attempt(job);
            let seconds = start.elapsed().as_secs_f64();
            match rendered {
                Ok(Rendered { pictures, .. }) => {
                    return Ok(json!({
                        "status": "done", "pictures": pictures, "seconds": seconds, "attempts": attempts,
                    }));
                }
                Err(_) if interrupted() => {
                    return Err("interrupted: the same command goes on with this job".into());
                }
                Err(error) if attempts > retries => {
                    return Ok(json!({
                        "status": "failed", "error": error.to_string(), "attempts": attempts,
                    }));
                }
                // The device may be what failed.
                Err(_) => self.1 = None,
            }
        }
    }

    fn attempt(&mut self, job: &reenact::Args) -> Result<Rendered, Box<dyn Error>> {
        let gpu = match &self.1 {
            Some(gpu) => gpu,
            None => self.1.insert(self.0.open()?),
        };
        reenact::render(job, gpu)
    }
}

/// The jobs of a file.
fn read(file: &Path) -> Result<Vec<Job>, Box<dyn Error>> {
    let at = file.display();
    let jobs: Vec<Map<String, Value>> = read_json(file)?;
    let parsed = jobs.iter().enumerate().map(|(number, job)| {
        let named = |reason| format!("{at}: job {number}: {reason}");
        if !job.contains_key("out") {
            return Err(named("expected \"out\", found none".into()));
        }
        let parsed = arguments(job).and_then(|arguments| {
            let parsed = Job::try_parse_from(arguments);
            // The first line says what is wrong, the others how the command is used.
            let first = |error: clap::Error| {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                line.trim_start_matches("error: ").to_owned()
            };
            parsed.map_err(first)
        });
        parsed.map_err(named)
    });
    let jobs = parsed.collect::<Result<Vec<_>, _>>()?;
    let mut outputs = BTreeMap::new();
    for (number, job) in jobs.iter().enumerate() {
        if let Some(other) = outputs.insert(job.args.out(), number) {
            let out = job.args.out().display();
            return Err(format!("{at}: jobs {other} and {number} both write {out}").into());
        }
    }
    Ok(jobs)
}

/// A job's options as a command line.
fn arguments(job: &Map<String, Value>) -> Result<Vec<String>, String> {
    let mut arguments = vec!["job".to_owned()];
    for (key, value) in job {
        if SHARED.contains(&&**key) {
            return Err(format!("expected --{key} of the batch, found it in a job"));
        }
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            arguments.push(match value {
                Value::Bool(true) => format!("--{key}"),
                Value::Bool(false) => continue,
                Value::String(text) => format!("--{key}={text}"),
                Value::Number(number) => format!("--{key}={number}"),
                other => return Err(format!("{key}: expected text or a number, found {other}")),
            });
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests;
