//! The networks' files, as anybody may hand them over.

mod container;
mod flat;
mod model;

use std::collections::BTreeMap;

pub(crate) use model::{Model, Numbers, Operator, Stored};

use super::graph::{Graph, Kind, map_shape};
use super::mixer::{Mixer, POINTS, SCORES};
use crate::error::{Error, Problems, Result};

/// The tracker's networks, read and checked: a detector of faces, one for landmarks, one for
/// expression scores, and one that separates people from their background.
///
/// They are read from MediaPipe's `face_landmarker.task` and `selfie_segmentation.tflite` (© The
/// MediaPipe Authors, Apache License 2.0), which `weights/track/get.sh` brings. Other files are
/// accepted if their networks have the same inputs and outputs and are made of operators that this
/// crate knows.
#[derive(Clone, Debug)]
pub struct NetFiles {
    pub(crate) detector: Network,
    pub(crate) landmarks: Network,
    pub(crate) mixer: Mixer,
    pub(crate) segmentation: Option<Network>,
    geometry: Vec<u8>,
    unknown: Vec<&'static str>,
}

/// The networks that run on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// From a picture of 128 x 128 to 896 candidates of faces.
    Detector,
    /// From 256 x 256 pixels around a face to 478 landmarks.
    Landmarks,
    /// From 256 x 256 pixels to how much each of them is person.
    Segmentation,
}

impl Net {
    /// Gain and shift that make the network's input of a picture's values in 0..255.
    pub(crate) fn input_range(self) -> [f32; 2] {
        match self {
            Self::Detector => [1.0 / 127.5, -1.0],
            Self::Landmarks | Self::Segmentation => [1.0 / 255.0, 0.0],
        }
    }

    /// The outputs, in the order of [`Network::outputs`].
    #[cfg(any(test, feature = "reference"))]
    pub(crate) fn output_names(self) -> &'static [&'static str] {
        match self {
            Self::Detector => &["regressors", "logits"],
            Self::Landmarks => &["points", "presence", "tongue"],
            Self::Segmentation => &["mask"],
        }
    }
}

/// A network whose outputs are known by their roles.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub graph: Graph,
    /// The outputs' maps, in the order of the network's [`Role`].
    pub outputs: Vec<usize>,
}

/// What a network is for, by the shapes of its input and its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// Offsets of boxes and key points from 896 anchors, and the anchors' logits.
    Detector,
    /// 478 points in pixels of the crop, a logit of presence, the tongue in [0, 1].
    Landmarks,
    /// Scores of expression channels.
    Scores,
    /// Person in [0, 1].
    Segmentation,
}

/// Members of the `.task` and the checksums of those that this code was tested with.
const MEMBERS: [(&str, u32); 4] = [
    ("face_detector.tflite", 0x6763_AC6D),
    ("face_landmarks_detector.tflite", 0x8079_302F),
    ("face_blendshapes.tflite", 0x00D4_3C64),
    ("geometry_pipeline_metadata_landmarks.binarypb", 0xF38E_A9A5),
];
const SEGMENTATION: (&str, u32) = ("selfie_segmentation.tflite", 0x201C_87B5);

const TASK: &str = "face landmarker (.task)";
const TFLITE: &str = "TensorFlow Lite model";

impl NetFiles {
    /// Reads `face_landmarker.task` and, for mattes, `selfie_segmentation.tflite`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, and those of [`NetFiles::from_bytes`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(
        task: impl AsRef<std::path::Path>,
        segmentation: Option<&std::path::Path>,
    ) -> Result<Self> {
        let task = crate::file::read(task.as_ref())?;
        let segmentation = segmentation.map(crate::file::read).transpose()?;
        Self::from_bytes(&task, segmentation.as_deref())
    }

    /// The same from the files' contents.
    ///
    /// # Errors
    /// [`Error::Format`] if a file is damaged, of another kind, or holds a network of operators
    /// that this crate does not know; [`Error::Tensors`] with all differences if the networks'
    /// inputs or outputs are not those expected.
    pub fn from_bytes(task: &[u8], segmentation: Option<&[u8]>) -> Result<Self> {
        let members = container::members(task);
        let members = members.map_err(|reason| Error::format("the task", TASK, reason))?;
        let mut unknown = Vec::new();
        let mut problems = Problems::default();
        let (mut networks, mut mixer) = (BTreeMap::new(), None);
        let mut geometry = Vec::new();
        for (name, content) in members {
            let known = MEMBERS.into_iter().find(|(known, _)| *known == name);
            if known.is_none_or(|(_, checksum)| crc32fast::hash(content) != checksum) {
                unknown.push(known.map_or("a member of another name", |(known, _)| known));
            }
            if name.ends_with(".binarypb") {
                geometry = content.to_vec();
                continue;
            }
            let model = parsed(name, content)?;
            let second = match role(&model) {
                Some(Role::Scores) => mixer.replace(read(name, Mixer::read(&model))?).is_some(),
                Some(role @ (Role::Detector | Role::Landmarks)) => {
                    let network = Network::new(&model, content.len(), role);
                    networks.insert(role, read(name, network)?).is_some()
                }
                Some(Role::Segmentation) | None => {
                    let problem = format!("{name}: expected {}", described(&model));
                    problems.0.push(problem);
                    false
                }
            };
            if second {
                let problem = format!("{name}: expected one network for each purpose, found two");
                problems.0.push(problem);
            }
        }
        let (detector, landmarks) = (
            networks.remove(&Role::Detector),
            networks.remove(&Role::Landmarks),
        );
        for (role, found) in [
            (Role::Detector, detector.is_some()),
            (Role::Landmarks, landmarks.is_some()),
            (Role::Scores, mixer.is_some()),
        ] {
            let problem = format!("expected a network for {}, found none", role.name());
            problems.0.extend((!found).then_some(problem));
        }
        let (Some(detector), Some(landmarks), Some(mixer), []) =
            (detector, landmarks, mixer, &problems.0[..])
        else {
            return Err(Error::Tensors {
                what: "the task".into(),
                problems: problems.0,
            });
        };
        let segmentation = segmentation.map(|content| {
            let (name, checksum) = SEGMENTATION;
            if crc32fast::hash(content) != checksum {
                unknown.push(name);
            }
            let model = parsed(name, content)?;
            match role(&model) {
                Some(role @ Role::Segmentation) => {
                    read(name, Network::new(&model, content.len(), role))
                }
                _ => Err(Error::tensor(
                    name,
                    format!("expected {}", described(&model)),
                )),
            }
        });
        Ok(Self {
            detector,
            landmarks,
            mixer,
            segmentation: segmentation.transpose()?,
            geometry,
            unknown,
        })
    }

    /// One of the networks; there may be none for segmentation.
    pub(crate) fn network(&self, net: Net) -> Option<&Network> {
        match net {
            Net::Detector => Some(&self.detector),
            Net::Landmarks => Some(&self.landmarks),
            Net::Segmentation => self.segmentation.as_ref(),
        }
    }

    /// Files that differ from those that this crate was tested with. Their results may differ.
    #[must_use]
    pub fn unknown(&self) -> &[&'static str] {
        &self.unknown
    }

    /// The canonical face and its weights as the file has them: a protocol buffer.
    #[must_use]
    pub fn geometry(&self) -> &[u8] {
        &self.geometry
    }
}

fn parsed<'a>(name: &str, content: &'a [u8]) -> Result<Model<'a>> {
    read(name, Model::parse(content))
}

/// What was read of a model's file, or the file's error.
fn read<T>(name: &str, result: Result<T, String>) -> Result<T> {
    result.map_err(|reason| Error::format(name, TFLITE, reason))
}

impl Role {
    const ALL: [Self; 4] = [
        Self::Detector,
        Self::Landmarks,
        Self::Scores,
        Self::Segmentation,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Detector => "the detection of faces",
            Self::Landmarks => "landmarks",
            Self::Scores => "expression scores",
            Self::Segmentation => "segmentation",
        }
    }

    /// Shapes of the input and of the outputs.
    fn shapes(self) -> ([usize; 3], &'static [[usize; 3]]) {
        match self {
            Self::Detector => ([128, 128, 3], &[[1, 896, 16], [1, 896, 1]]),
            Self::Landmarks => ([256, 256, 3], &[[1, 1, 3 * 478], [1; 3], [1; 3]]),
            Self::Scores => ([1, POINTS.len(), 2], &[[1, 1, SCORES]]),
            Self::Segmentation => ([256, 256, 3], &[[256, 256, 1]]),
        }
    }
}

/// Shapes of a model's inputs and outputs.
fn shapes(model: &Model<'_>) -> [Vec<Option<[usize; 3]>>; 2] {
    [&model.inputs, &model.outputs].map(|tensors| {
        let shapes = tensors.iter().map(|tensor| {
            let shape = &model.tensors[*tensor].shape;
            // The scores have no first axis.
            map_shape(shape).or(match shape[..] {
                [length] => Some([1, 1, length]),
                _ => None,
            })
        });
        shapes.collect()
    })
}

fn role(model: &Model<'_>) -> Option<Role> {
    let [inputs, mut found] = shapes(model);
    found.sort();
    Role::ALL.into_iter().find(|role| {
        let (input, outputs) = role.shapes();
        let mut outputs: Vec<_> = outputs.iter().copied().map(Some).collect();
        outputs.sort();
        inputs == [Some(input)] && found == outputs
    })
}

/// What is expected, and what a model has instead.
fn described(model: &Model<'_>) -> String {
    let mut expected = Vec::new();
    for role in Role::ALL {
        let (input, outputs) = role.shapes();
        expected.push(format!("{input:?} to {outputs:?} ({})", role.name()));
    }
    let [inputs, outputs] = [&model.inputs, &model.outputs].map(|tensors| {
        let shapes = tensors.iter().map(|tensor| &model.tensors[*tensor].shape);
        format!("{:?}", shapes.collect::<Vec<_>>())
    });
    format!(
        "a network from {}, found one from {inputs} to {outputs}",
        expected.join(", ")
    )
}

impl Network {
    /// # Errors
    /// What is not understood, and where.
    fn new(model: &Model<'_>, bytes: usize, role: Role) -> Result<Self, String> {
        let graph = Graph::reduce(model, bytes)?;
        let (input, shapes) = role.shapes();
        if graph.shape(graph.input) != input {
            return Err(format!("expected an input of shape {input:?}"));
        }
        let mut outputs = Vec::new();
        for shape in shapes {
            let fits =
                |output: &&usize| graph.shape(**output) == *shape && !outputs.contains(*output);
            let mut fitting = graph.outputs.iter().filter(fits);
            let first = fitting.next().copied();
            outputs.push(first.ok_or_else(|| format!("expected an output of shape {shape:?}"))?);
        }
        // Presence is a logit and the tongue is not: the one behind a logistic function.
        if let (Role::Landmarks, [_, presence, tongue]) = (role, &mut outputs[..]) {
            let probabilities = [*presence, *tongue].map(|output| graph.is_probability(output));
            match probabilities {
                [false, true] => {}
                [true, false] => std::mem::swap(presence, tongue),
                _ => return Err("expected a logit and a probability beside the points".into()),
            }
        }
        Ok(Self { graph, outputs })
    }
}

impl Graph {
    /// Whether a map is in [0, 1]: the result of a logistic function, perhaps in another shape.
    fn is_probability(&self, mut map: usize) -> bool {
        for operation in self.operations.iter().rev() {
            if operation.output == map {
                match operation.kind {
                    Kind::Logistic => return true,
                    Kind::Reshape => map = operation.inputs[0],
                    _ => return false,
                }
            }
        }
        false
    }
}

#[cfg(test)]
pub(crate) mod tests;
