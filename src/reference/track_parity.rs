//! The tracker's networks beside what TensorFlow Lite's own interpreter computes.

mod pictures;

use std::collections::BTreeMap;

use super::golden::{Difference, range};
use super::parity::{Row, Table};
use super::{Real, track};
use crate::track::{Net, NetFiles, Nets, Picture, Region};
use crate::{Error, Gpu, ModelOptions, Result, SourceImage, TensorFile};

pub use pictures::pictures;

/// Tolerances of the outputs, as absolute differences.
struct Tolerances {
    /// Logits of the detector and of a face's presence.
    logits: f32,
    /// Landmarks, in pixels of the crop.
    points: f32,
    scores: f32,
    mask: f32,
}

/// Of the scalar twin.
const TWIN: Tolerances = Tolerances {
    logits: 1e-3,
    points: 1e-3,
    scores: 1e-5,
    mask: 1e-3,
};

/// Of the kernels, whose sums have another order.
const KERNELS: Tolerances = Tolerances {
    logits: 5e-3,
    points: 5e-3,
    scores: 1e-4,
    mask: 2e-3,
};

/// Inner maps, and regressors, by this share of their range.
const OF_RANGE: f32 = 1e-4;

/// Compares all cases of a file with the scalar twins or, on a device, with the kernels. The file holds, for each case K, `caseK.input` (bytes
/// `[height][width][RGB]`, or the points) or `caseK.picture` (the bytes as a picture file), the
/// outputs by name, and inner maps as `caseK.tapN`, N being the map's number in the network's
/// file; the metadata `taps` has their steps: elements 0, s, 2s, … of the map are there. Maps that no
/// kernel stores are left out.
///
/// # Errors
/// [`Error::Tensors`] or [`Error::Argument`] if the file is of another layout.
pub async fn table(files: &NetFiles, case: &TensorFile, gpu: Option<&Gpu>) -> Result<Table> {
    let traced = ModelOptions {
        trace: true,
        ..ModelOptions::default()
    };
    let nets = gpu
        .map(|gpu| Nets::with_options(gpu, files, &traced))
        .transpose()?;
    let tolerances = if nets.is_some() { KERNELS } else { TWIN };
    let has = |output: &str| case.contains(&format!("case0.{output}"));
    let net = match () {
        () if has("regressors") => Some(Net::Detector),
        () if has("points") => Some(Net::Landmarks),
        () if has("mask") => Some(Net::Segmentation),
        () if has("scores") => None,
        () => {
            let expected = "a tensor case0.regressors, .points, .mask or .scores";
            return Err(Error::tensor(case.what(), format!("expected {expected}")));
        }
    };
    let mut rows = Vec::new();
    for index in 0.. {
        let prefix = format!("case{index}.");
        let mut names = case.tensor_names().filter(|name| name.starts_with(&prefix));
        if names.next().is_none() {
            break;
        }
        let found = match net {
            Some(net) => {
                let bytes = input(files, case, net, &prefix)?;
                match &nets {
                    Some(nets) => on_device(nets, net, &bytes).await?,
                    None => computed(files, net, &bytes),
                }
            }
            None => mixed(files, case, &prefix)?,
        };
        let prefixed = case
            .tensor_names()
            .filter_map(|name| Some((name, name.strip_prefix(&prefix)?)));
        for (name, part) in prefixed {
            let input = part == "input" || part == "picture";
            let absent = part.starts_with("tap") && !found.contains_key(part);
            if !input && !absent {
                rows.push(row(case, name, part, &found, &tolerances)?);
            }
        }
    }
    Ok(Table(rows))
}

/// Maps by the names that the file gives them.
type Maps = BTreeMap<String, Vec<f32>>;

fn row(
    case: &TensorFile,
    name: &str,
    part: &str,
    found: &Maps,
    tolerances: &Tolerances,
) -> Result<Row> {
    let expected = case.f32(name)?;
    let all = found.get(part).map_or(&[][..], Vec::as_slice);
    let step = step(case, part)?;
    let values: Vec<f32> = match (part, case.shape(name)?) {
        ("mask", [height, width, _]) if *height > 0 && *width > 0 => {
            let sides = [256 / height, 256 / width];
            let rows = all.chunks_exact(256).step_by(sides[0].max(1));
            rows.flat_map(|row| row.iter().step_by(sides[1].max(1)).copied())
                .collect()
        }
        _ => all
            .iter()
            .step_by(step)
            .copied()
            .take(expected.len())
            .collect(),
    };
    let difference = Difference::new(name, &values, &expected)?;
    let (limit, tolerance) = match part {
        "logits" | "presence" => (tolerances.logits, "logit"),
        "points" => (tolerances.points, "pixel"),
        "scores" => (tolerances.scores, "absolute"),
        "mask" | "tongue" => (tolerances.mask, "absolute"),
        _ => (OF_RANGE * range(&expected), "of the range"),
    };
    Ok(Row {
        passed: difference.max() <= limit,
        tolerance: match part {
            "logits" | "presence" | "points" | "scores" | "mask" | "tongue" => {
                format!("{limit:.0e} {tolerance}")
            }
            _ => format!("{OF_RANGE:.0e} {tolerance}"),
        },
        difference,
    })
}

/// How far apart in its map the elements of a tap are.
fn step(case: &TensorFile, part: &str) -> Result<usize> {
    #[derive(serde::Deserialize)]
    struct Tap {
        step: usize,
    }
    if !part.starts_with("tap") {
        return Ok(1);
    }
    let taps = case.metadata().get("taps").map_or("{}", String::as_str);
    let taps: BTreeMap<String, Tap> = serde_json::from_str(taps)
        .map_err(|error| Error::argument("metadata taps", "JSON with a step for each", error))?;
    let step = taps.get(part).map(|tap| tap.step).filter(|step| *step > 0);
    step.ok_or_else(|| {
        Error::tensor(
            case.what(),
            format!("{part}: expected its step in the metadata"),
        )
    })
}

/// The input of a case: RGB, row by row.
fn input(files: &NetFiles, case: &TensorFile, net: Net, prefix: &str) -> Result<Vec<u8>> {
    let network = files
        .network(net)
        .ok_or_else(|| Error::argument("the networks", "the file for segmentation, too", "none"))?;
    let size = network.graph.shape(network.graph.input);
    let name = format!("{prefix}input");
    let bytes = match case.contains(&name) {
        true => case.u8(&name)?.to_vec(),
        false => {
            let picture = SourceImage::from_bytes(case.u8(&format!("{prefix}picture"))?)?;
            let pixels = picture.pixels().chunks_exact(4);
            pixels.flat_map(|pixel| &pixel[..3]).copied().collect()
        }
    };
    let elements = size.iter().product::<usize>();
    Error::unless(
        bytes.len() == elements,
        name,
        format_args!("{elements} bytes"),
        bytes.len(),
    )?;
    Ok(bytes)
}

fn computed(files: &NetFiles, net: Net, bytes: &[u8]) -> Maps {
    let [gain, shift] = net.input_range();
    let input: Vec<Real> = bytes
        .iter()
        .map(|byte| gain * Real::from(*byte) + shift)
        .collect();
    let maps = track::maps(files, net, &input).unwrap_or_default();
    let named = |(map, value): (&usize, &super::Tensor)| (format!("tap{map}"), value.data.clone());
    let mut named: Maps = maps.iter().map(named).collect();
    let outputs = files
        .network(net)
        .map_or(&[][..], |network| &network.outputs);
    for (name, map) in net.output_names().iter().zip(outputs) {
        named.insert((*name).into(), maps[map].data.clone());
    }
    named
}

async fn on_device(nets: &Nets, net: Net, bytes: &[u8]) -> Result<Maps> {
    let side = (bytes.len() / 3).isqrt() as u32;
    let (pixels, _) = bytes.as_chunks::<3>();
    let pixels: Vec<u8> = pixels
        .iter()
        .flat_map(|[r, g, b]| [*r, *g, *b, 255])
        .collect();
    let picture = Picture::new(nets.gpu(), side, side, &pixels)?;
    let outputs = nets.run(net, &picture, &Region::whole(side, side)).await?;
    let maps = nets.traced(net).await?.into_iter();
    let mut named: Maps = maps
        .map(|(map, value)| (format!("tap{map}"), value))
        .collect();
    named.extend(
        net.output_names()
            .iter()
            .map(|name| name.to_string())
            .zip(outputs),
    );
    Ok(named)
}

fn mixed(files: &NetFiles, case: &TensorFile, prefix: &str) -> Result<Maps> {
    let name = format!("{prefix}input");
    let values = case.f32(&name)?;
    let (points, _) = values.as_chunks();
    let points = points.try_into();
    let points = points.map_err(|_| Error::argument(&name, "146 points of 2", values.len()))?;
    let mut tokens = Vec::new();
    let scores = files
        .mixer
        .run(points, &mut Default::default(), |x| tokens.push(x.to_vec()));
    // Maps of the published file; of others only the scores are known.
    let taps = ["tap77", "tap105", "tap133", "tap161"].map(String::from);
    let mut named: Maps = taps.into_iter().zip(tokens).collect();
    named.insert("scores".into(), scores.to_vec());
    Ok(named)
}
