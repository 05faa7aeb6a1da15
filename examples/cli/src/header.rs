//! What a report of times was measured with: without it, its numbers say nothing to others.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use gpavatar::{Camera, Model, ModelConfig};
use serde::{Deserialize, Serialize};

use crate::demo;

/// The head of a report.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Header {
    /// In UTC, as in RFC 3339.
    pub date: String,
    /// Versions of crates.
    pub versions: BTreeMap<String, String>,
    /// Commit of the checkout, with `-dirty` behind it if files have changed since. None outside of one.
    pub commit: Option<String>,
    /// Number of times that everything was measured.
    pub repeat: u32,
    /// Whether times of kernels are GPU timestamps; otherwise they are wall-clock times with a
    /// submission.
    pub timestamps: bool,
    pub adapter: Adapter,
    /// The processor that kernels are chosen for: `gpu` or `cpu`.
    pub kernels: String,
    /// Features of the device, as wgpu names them.
    pub features: Vec<String>,
    /// Those limits of the device that decide which kernels fit.
    pub limits: BTreeMap<String, u64>,
    /// Where the weights are from.
    pub network: String,
    pub precision: String,
    pub sizes: ModelConfig,
    /// Source pictures of the avatar.
    pub sources: u32,
    pub camera: View,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Adapter {
    /// All of it, and the mode of the shaders, in a line.
    pub description: String,
    pub name: String,
    pub backend: String,
    pub driver: String,
    pub driver_info: String,
    /// The smallest and the largest subgroup.
    pub subgroup_sizes: [u32; 2],
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct View {
    /// From the head's centre.
    pub distance: f32,
    /// In units of half the picture's width.
    pub focal: f32,
    /// World to camera, rows of a matrix.
    pub transform: [[f32; 4]; 3],
}

impl Header {
    /// The head of a report that is made now. `network` says where the weights are from.
    pub fn new(model: &Model, network: String, camera: &Camera, sources: u32, repeat: u32) -> Self {
        let gpu = model.gpu();
        let info = gpu.adapter().get_info();
        let limits = gpu.device().limits();
        let limits = [
            ("max_buffer_size", limits.max_buffer_size),
            (
                "max_storage_buffer_binding_size",
                limits.max_storage_buffer_binding_size,
            ),
            (
                "max_compute_workgroup_storage_size",
                limits.max_compute_workgroup_storage_size.into(),
            ),
            (
                "max_compute_invocations_per_workgroup",
                limits.max_compute_invocations_per_workgroup.into(),
            ),
        ];
        let features = gpu.device().features();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            date: utc(since.unwrap_or_default().as_secs()),
            versions: ["gpavatar", "naga", "wgpu"]
                .into_iter()
                .filter_map(version)
                .collect(),
            commit: commit(),
            repeat,
            timestamps: gpu.has_timestamps(),
            adapter: Adapter {
                description: gpu.description(),
                name: info.name,
                backend: info.backend.to_string(),
                driver: info.driver,
                driver_info: info.driver_info,
                subgroup_sizes: [info.subgroup_min_size, info.subgroup_max_size],
            },
            kernels: format!("{:?}", gpu.kind()).to_lowercase(),
            features: features.iter_names().map(|(name, _)| name.into()).collect(),
            limits: limits.map(|(name, limit)| (name.into(), limit)).into(),
            network,
            precision: model.precision().to_string(),
            sizes: model.config().clone(),
            sources,
            camera: View {
                distance: camera.origin().length(),
                focal: camera.focal,
                transform: camera.transform,
            },
        }
    }

    /// When, and of which code, in a line.
    pub fn origin(&self) -> String {
        let mut parts = vec![self.date.clone()];
        let versions = self.versions.iter();
        parts.extend(versions.map(|(name, version)| format!("{name} {version}")));
        parts.extend(self.commit.iter().map(|commit| format!("commit {commit}")));
        parts.join(", ")
    }
}

/// A crate and its version, as the workspace has locked it.
fn version(name: &str) -> Option<(String, String)> {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let mut lines = LOCK
        .lines()
        .skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines
        .nth(1)?
        .strip_prefix("version = \"")?
        .strip_suffix('"')?;
    Some((name.into(), version.into()))
}

/// The commit that `GPAVATAR_COMMIT` has named to the compiler, for programs that leave their checkout;
/// else that of the checkout.
fn commit() -> Option<String> {
    if let Some(commit) = option_env!("GPAVATAR_COMMIT").filter(|commit| !commit.is_empty()) {
        return Some(commit.into());
    }
    let root = demo::file("");
    // Git would also take a repository above.
    if !root.join(".git").exists() {
        return None;
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(root);
    git.args([
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    let commit = String::from_utf8(output.stdout).ok()?;
    Some(commit.trim().into())
}

/// The date and time of so many seconds after 1970 began.
fn utc(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let [hour, minute, second] = [second / 3600, second / 60 % 60, second % 60];
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        days + 1
    )
}

#[cfg(test)]
mod tests;
