use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::*;
use crate::TensorFile;
use crate::error::refused;
use crate::reference::track_parity::table;
use crate::track::graph::{Activation, Conv, Operation};
use crate::track::plan::Plan;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("weights/track")
        .join(name)
}

/// A file that set-up brings.
#[track_caller]
fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; get it with: bash weights/track/get.sh",
            path.display()
        )
    })
}

pub(crate) fn task() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| bytes("face_landmarker.task"))
}

pub(crate) fn selfie() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| bytes(SEGMENTATION.0))
}

pub(crate) fn files() -> &'static NetFiles {
    static FILES: OnceLock<NetFiles> = OnceLock::new();
    FILES.get_or_init(|| NetFiles::from_bytes(task(), Some(selfie())).unwrap())
}

/// A file of golden data.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/track")
        .join(name)
}

#[test]
fn known_files_are_known() {
    assert_eq!(files().unknown(), [""; 0]);
    assert_eq!(files().geometry().len(), 19_376);
    assert!(
        NetFiles::from_bytes(task(), None)
            .unwrap()
            .segmentation
            .is_none()
    );
}

/// An operation as the published lists have it.
fn listed(graph: &Graph, operation: &Operation) -> serde_json::Value {
    let mut about = serde_json::json!({
        "op": operation.number,
        "in": operation.inputs,
        "out": operation.output,
        "shape": graph.shape(operation.output),
    });
    let mut set = |name: &str, value: serde_json::Value| about[name] = value;
    let mut geometry = |conv: &Conv| {
        set("weight", conv.weight.into());
        set("bias", conv.bias.into());
        set("stride", conv.stride.into());
        set("taps", conv.kernel.to_vec().into());
        set("pad", conv.pad.to_vec().into());
    };
    let kind = match &operation.kind {
        Kind::Conv(conv) => (geometry(conv), "conv").1,
        Kind::Depthwise(conv) => (geometry(conv), "depthwise").1,
        Kind::TransposedConv(conv) => (geometry(conv), "transposed_conv").1,
        Kind::Add => "add",
        Kind::Mul => "mul",
        Kind::MaxPool => "max_pool",
        Kind::AveragePool => "average_pool",
        Kind::PadChannels => "pad_channels",
        Kind::Logistic => "logistic",
        Kind::Reshape => "reshape",
        Kind::Concatenation { .. } => "concatenation",
        Kind::Resize => "resize_bilinear",
    };
    set("kind", kind.into());
    let activation = match operation.activation {
        Activation::None => "none",
        Activation::Relu => "relu",
        Activation::HardSwish => "hard_swish",
        Activation::Logistic => "logistic",
        Activation::Prelu(slope) => {
            set("slope", slope.into());
            "prelu"
        }
    };
    set("act", activation.into());
    about
}

#[test]
fn networks_reduce_to_the_published_lists() {
    let files = files();
    for (name, network) in [
        ("detector.json", Some(&files.detector)),
        ("landmarks.json", Some(&files.landmarks)),
        ("segmentation.json", files.segmentation.as_ref()),
    ] {
        let graph = &network.unwrap().graph;
        let text = std::fs::read_to_string(golden(name)).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        let operations = expected["ops"].as_array().unwrap();
        assert_eq!(graph.operations.len(), operations.len(), "{name}");
        for (operation, expected) in graph.operations.iter().zip(operations) {
            let mut expected = expected.clone();
            let object = expected.as_object_mut().unwrap();
            // Said by the kind, the input's and the output's shapes.
            let kernel = object.remove("kernel");
            for name in [
                "padding",
                "after",
                "axis",
                "align_corners",
                "half_pixel_centers",
            ] {
                object.remove(name);
            }
            if !object.contains_key("act") {
                object.insert("act".into(), "none".into());
            }
            let kind = object["kind"].as_str().unwrap().to_string();
            match &kind[..] {
                "max_pool" | "average_pool" => _ = object.remove("stride"),
                "conv" | "depthwise" | "transposed_conv" => {
                    let kernel: Vec<usize> = serde_json::from_value(kernel.unwrap()).unwrap();
                    object.insert("taps".into(), kernel[1..3].to_vec().into());
                    object.entry("pad").or_insert(vec![0; 4].into());
                    let weights = graph.constant(object["weight"].as_u64().unwrap() as usize);
                    assert_eq!(
                        weights.len(),
                        kernel.iter().product::<usize>(),
                        "{name} {kind}"
                    );
                }
                _ => {}
            }
            let shape: Vec<usize> = serde_json::from_value(expected["shape"].take()).unwrap();
            expected["shape"] = map_shape(&shape).unwrap().to_vec().into();
            assert_eq!(listed(graph, operation), expected, "{name}");
        }
        let parameters: usize = graph.constants.values().map(Vec::len).sum();
        assert_eq!(expected["parameters"], parameters, "{name}");
    }
}

#[test]
fn the_twins_agree_with_the_interpreter() {
    for name in ["detector", "landmarks", "segmentation", "blendshapes"] {
        let case = TensorFile::open(golden(&format!("{name}.safetensors"))).unwrap();
        let table = pollster::block_on(table(files(), &case, None)).unwrap();
        println!("{table}");
        assert_eq!(table.failures(), 0, "{table}");
    }
}

#[test]
fn truncated_tasks_are_refused() {
    let whole = task();
    for end in 0..whole.len() {
        refused!(NetFiles::from_bytes(&whole[..end], None), Format);
    }
}

/// Reads a network with each of these bytes changed: a typed error, or one that is complete.
fn flip(name: &str, places: impl Iterator<Item = usize>) {
    let members = container::members(task()).unwrap();
    let (_, member) = members
        .into_iter()
        .find(|(other, _)| *other == name)
        .unwrap();
    let mut file = member.to_vec();
    for at in places {
        for bits in [0xff, 0x01, 0x80] {
            file[at] ^= bits;
            if let Ok(model) = Model::parse(&file) {
                match role(&model) {
                    Some(Role::Scores) => _ = Mixer::read(&model),
                    Some(role) => {
                        let network = Network::new(&model, file.len(), role);
                        let planned = network.map(|network| Plan::new(&network.graph, true));
                        if let Ok(Ok(plan)) = planned {
                            assert!(!plan.results.is_empty());
                        }
                    }
                    None => {}
                }
            }
            file[at] ^= bits;
        }
    }
}

#[test]
fn flipped_bytes_of_a_network_are_no_panic() {
    for (name, _) in &MEMBERS[..3] {
        flip(name, (0..4096).step_by(37));
    }
}

#[test]
#[ignore = "minutes"]
fn all_flipped_bytes_of_the_networks_are_no_panic() {
    for (name, _) in &MEMBERS[..3] {
        let members = container::members(task()).unwrap();
        let size = members
            .iter()
            .find(|(other, _)| other == name)
            .unwrap()
            .1
            .len();
        // Tables stand at both ends, numbers between them.
        flip(name, (0..4096).chain(size - 65_536..size));
    }
}

#[test]
fn other_containers_are_refused() {
    let message = refused!(NetFiles::from_bytes(b"", None), Format);
    assert!(
        message.contains("truncated or of another kind"),
        "{message}"
    );
    let message = refused!(NetFiles::from_bytes(selfie(), None), Format);
    assert!(
        message.contains("truncated or of another kind"),
        "{message}"
    );
    // The file's own CRC does not match any more.
    let mut damaged = task().to_vec();
    damaged[1000] ^= 1;
    let message = refused!(NetFiles::from_bytes(&damaged, None), Format);
    assert!(message.contains("checksum does not match"), "{message}");
}

#[test]
fn a_network_for_something_else_is_refused_with_its_shapes() {
    let (_, detector) = container::members(task()).unwrap()[0];
    let message = refused!(NetFiles::from_bytes(task(), Some(detector)), Tensors);
    assert!(message.contains("[[1, 128, 128, 3]]"), "{message}");
}
