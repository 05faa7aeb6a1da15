//! Named tensors as a safetensors file or an archive of numpy.

use arbitrary::Arbitrary;

/// Names that a reader looks for.
const NAMES: &[&str] = &[
    "v_template",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "lbs_weights",
    "weights",
    "parents",
    "kintree_table",
    "template",
    "shape_basis",
    "expression_basis",
    "pose_basis",
    "joint_regressor",
    "skinning_weights",
    "head_model.template",
    "head_model.expression_basis",
    "expression",
    "pose",
    "transform",
    "focal",
    "clamp_near",
    "planes",
    "shape",
    "query_style_tplane",
    "ema.query_style_tplane",
    "nerf_mlp.points_querier.points_feature.weight",
    "expr",
    "rotation",
    "neck_pose",
    "jaw_pose",
    "eyes_pose",
    "translation",
    "static_offset",
    "timestep_id",
];

const METADATA: &[(&str, &str)] = &[
    ("config", "{}"),
    ("config", "{\"points\": 2}"),
    ("head_model", "{\"version\": 1, \"scale\": 1.0}"),
    (
        "head_model",
        "{\"version\": 1, \"scale\": 1.0, \"parents\": [-1, 0], \"pose_joints\": [1]}",
    ),
    ("motion", "{\"version\": 1, \"fps\": 30.0}"),
    (
        "motion",
        "{\"version\": 1, \"fps\": 30.0, \"channels\": [\"a\", \"b\"]}",
    ),
    ("n_shape", "1"),
    ("n_expression", "2"),
    ("scale", "5.0"),
    ("gpavatar.avatar", "1"),
];

const TYPES: [(&str, &str, usize); 9] = [
    ("F32", "<f4", 4),
    ("F16", "<f2", 2),
    ("F64", "<f8", 8),
    ("U8", "|u1", 1),
    ("I32", "<i4", 4),
    ("I64", "<i8", 8),
    ("BOOL", "|b1", 1),
    ("U32", ">u4", 4),
    ("F32", ">f4", 4),
];

/// A file of tensors.
#[derive(Arbitrary, Debug)]
pub struct Tensors {
    metadata: Vec<u8>,
    tensors: Vec<Tensor>,
    /// Vertices, directions and joints, so that sizes often agree.
    sizes: [u8; 3],
}

#[derive(Arbitrary, Debug)]
struct Tensor {
    name: u8,
    dtype: u8,
    shape: Vec<u8>,
    bytes: Vec<u8>,
    short: bool,
}

impl Tensors {
    fn each(&self) -> impl Iterator<Item = (&'static str, usize, Vec<usize>, Vec<u8>)> {
        let size = |&size: &u8| match size {
            200.. => usize::from(self.sizes[usize::from(size) % 3]) % 40,
            100.. => 3 + usize::from(size & 1),
            size => usize::from(size) % 12,
        };
        self.tensors.iter().map(move |tensor| {
            let name = NAMES[usize::from(tensor.name) % NAMES.len()];
            let shape: Vec<usize> = tensor.shape.iter().take(5).map(size).collect();
            let dtype = usize::from(tensor.dtype) % TYPES.len();
            let count: usize = shape.iter().product::<usize>() * TYPES[dtype].2;
            let bytes = tensor
                .bytes
                .iter()
                .copied()
                .cycle()
                .take(count.min(1 << 16));
            let mut bytes: Vec<u8> = bytes.collect();
            bytes.resize(count.min(1 << 16), 0);
            if tensor.short {
                bytes.pop();
            }
            (name, dtype, shape, bytes)
        })
    }

    /// As a safetensors file.
    pub fn safetensors(&self) -> Vec<u8> {
        let (mut header, mut data) = (String::from("{\"__metadata__\":{"), Vec::new());
        let metadata = self
            .metadata
            .iter()
            .map(|&i| METADATA[usize::from(i) % METADATA.len()]);
        let metadata: Vec<String> = metadata
            .map(|(key, value)| format!("{key:?}:{value:?}"))
            .collect();
        header.push_str(&metadata.join(","));
        header.push('}');
        for (name, dtype, shape, bytes) in self.each() {
            let (start, end) = (data.len(), data.len() + bytes.len());
            let dtype = TYPES[dtype].0;
            header.push_str(&format!(
                ",{name:?}:{{\"dtype\":{dtype:?},\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
            ));
            data.extend(bytes);
        }
        header.push('}');
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            &data,
        ]
        .concat()
    }

    /// As an archive of numpy.
    pub fn numpy(&self) -> Vec<u8> {
        let files: Vec<(String, Vec<u8>)> = self
            .each()
            .map(|(name, dtype, shape, bytes)| {
                let shape: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
                let header = format!(
                    "{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}\n",
                    TYPES[dtype].1,
                    shape.concat()
                );
                let length = (header.len() as u16).to_le_bytes();
                let file = [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), &bytes].concat();
                (format!("{name}.npy"), file)
            })
            .collect();
        super::archive(
            files
                .iter()
                .map(|(name, file)| (name.as_str(), file.as_slice())),
        )
    }
}
