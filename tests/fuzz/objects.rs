//! Python objects of any shape, pickled.

use arbitrary::Arbitrary;

/// Keys and names that a reader looks for.
const NAMES: &[&str] = &[
    "v_template",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "kintree_table",
    "parents",
    "weights",
    "lbs_weights",
    "flame_model",
    "emoca_expression",
    "emoca_pose",
    "transform_matrix",
    "expcode",
    "posecode",
    "eyecode",
    "shapecode",
    "expr",
    "rotation",
    "neck_pose",
    "jaw_pose",
    "eyes_pose",
    "translation",
    "shape",
    "exp",
    "jaw",
    "pose",
    "cam",
    "feature_image",
    "feature_shape",
    "frame_trans",
    "frame_key",
    "state_dict",
    "ema",
    "query_style_tplane",
    "module.query_style_tplane",
    "nerf_mlp.points_querier.points_feature.weight",
    "up_renderer.stylegan_decoder.to_rgbs.0.bias",
    "clip_0",
    "clip_1",
    "portrait.jpg",
    "data",
    "",
];

/// A value of a pickle.
#[derive(Arbitrary, Debug)]
pub enum Object {
    None,
    Bool(bool),
    Int(i32),
    Float(f32),
    Name(u8),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Object>),
    Tuple(Vec<Object>),
    Dict(Vec<(Object, Object)>),
    /// A dictionary whose keys are names.
    Named(Vec<(u8, Object)>),
    /// A value that others may refer to.
    Kept(Box<Object>),
    /// One of the values that were kept before.
    Again(u8),
    /// A list with one value many times.
    Repeated(u8, Box<Object>),
    Tensor(Numbers),
    Parameter(Box<Object>),
    Array(Numbers),
    Scalar(u8, [u8; 8]),
    Sparse(bool, [u8; 2], Box<[Object; 3]>),
    Wrapped(Box<Object>),
    Selected(Box<[Object; 2]>),
    Instance(Box<Object>),
    Head(Head),
    Frames(Vec<Frame>),
    Pictures([u8; 3], Numbers),
}

/// Elements of a tensor or an array.
#[derive(Arbitrary, Debug)]
pub struct Numbers {
    dtype: u8,
    storage: u8,
    offset: u8,
    shape: Vec<u8>,
    strides: Option<Vec<u8>>,
    flag: bool,
    bytes: Vec<u8>,
}

/// The arrays of a head model, which fit together unless one is replaced.
#[derive(Arbitrary, Debug)]
pub struct Head {
    vertices: u8,
    joints: u8,
    directions: u8,
    bytes: Vec<u8>,
    other: Option<(u8, Box<Object>)>,
}

/// A frame of a tracked video.
#[derive(Arbitrary, Debug)]
pub struct Frame {
    number: u16,
    newer: bool,
    values: [u8; 3],
    other: Option<(u8, Box<Object>)>,
}

/// An unfinished pickle.
struct Pickle {
    bytes: Vec<u8>,
    kept: u8,
}

impl Object {
    /// The pickle of this object.
    pub fn pickled(&self) -> Vec<u8> {
        let mut pickle = Pickle {
            bytes: b"\x80\x02".to_vec(),
            kept: 0,
        };
        pickle.object(self);
        pickle.bytes.push(b'.');
        pickle.bytes
    }
}

impl Pickle {
    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.raw(b"X");
        self.raw(&(text.len() as u32).to_le_bytes());
        self.raw(text.as_bytes());
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.raw(b"B");
        self.raw(&(bytes.len() as u32).to_le_bytes());
        self.raw(bytes);
    }

    fn int(&mut self, value: i32) {
        self.raw(b"J");
        self.raw(&value.to_le_bytes());
    }

    fn sizes(&mut self, sizes: &[u8]) {
        self.raw(b"(");
        for &size in sizes {
            self.raw(&[b'K', size]);
        }
        self.raw(b"t");
    }

    fn name(&mut self, index: u8) {
        self.text(NAMES[usize::from(index) % NAMES.len()]);
    }

    fn class(&mut self, module: &str, name: &str) {
        self.raw(format!("c{module}\n{name}\n").as_bytes());
    }

    fn object(&mut self, object: &Object) {
        match object {
            Object::None => self.raw(b"N"),
            Object::Bool(value) => self.raw(&[if *value { 0x88 } else { 0x89 }]),
            Object::Int(value) => self.int(*value),
            Object::Float(value) => {
                self.raw(b"G");
                self.raw(&f64::from(*value).to_be_bytes());
            }
            Object::Name(index) => self.name(*index),
            Object::Text(text) => self.text(text),
            Object::Bytes(bytes) => self.blob(bytes),
            Object::List(items) => self.sequence(items, b"]", b"e"),
            Object::Tuple(items) => self.sequence(items, b"", b"t"),
            Object::Dict(entries) => {
                self.raw(b"}(");
                for (key, value) in entries {
                    self.object(key);
                    self.object(value);
                }
                self.raw(b"u");
            }
            Object::Named(entries) => {
                self.raw(b"}(");
                for (key, value) in entries {
                    self.name(*key);
                    self.object(value);
                }
                self.raw(b"u");
            }
            Object::Kept(value) => {
                let place = self.kept;
                self.kept = self.kept.wrapping_add(1);
                // A list is kept before it is filled, so that it may contain itself.
                if let Object::List(items) = &**value {
                    self.raw(&[b']', b'q', place, b'(']);
                    items.iter().for_each(|item| self.object(item));
                    self.raw(b"e");
                } else {
                    self.object(value);
                    self.raw(&[b'q', place]);
                }
            }
            Object::Again(place) => match self.kept {
                0 => self.raw(b"N"),
                kept => self.raw(&[b'h', place % kept]),
            },
            Object::Repeated(times, value) => {
                self.raw(b"](");
                self.object(value);
                (1..*times).for_each(|_| self.raw(b"2"));
                self.raw(b"e");
            }
            Object::Tensor(numbers) => self.tensor(numbers),
            Object::Parameter(value) => {
                self.class("torch._utils", "_rebuild_parameter");
                self.raw(b"(");
                self.object(value);
                self.raw(b"\x89)tR");
            }
            Object::Array(numbers) => self.array(numbers),
            Object::Scalar(dtype, bytes) => {
                self.class("numpy.core.multiarray", "scalar");
                self.dtype(*dtype, false);
                self.blob(&bytes[..usize::from(dtype % 9).min(8)]);
                self.raw(b"\x86R");
            }
            Object::Sparse(rows, shape, parts) => {
                let name = if *rows { "csr" } else { "csc" };
                self.class(&format!("scipy.sparse._{name}"), &format!("{name}_matrix"));
                self.raw(b")\x81}(");
                self.text("_shape");
                self.sizes(shape);
                for (name, part) in ["data", "indices", "indptr"].iter().zip(&**parts) {
                    self.text(name);
                    self.object(part);
                }
                self.raw(b"ub");
            }
            Object::Wrapped(value) => self.instance("chumpy.ch", "Ch", &[("x", value)]),
            Object::Selected(parts) => {
                let [array, indices] = &**parts;
                let parts = [("a", array), ("idxs", indices)];
                self.instance("chumpy.reordering", "Select", &parts);
            }
            Object::Instance(value) => self.instance("module", "Name", &[("x", value)]),
            Object::Head(head) => self.head(head),
            Object::Frames(frames) => {
                self.raw(b"}(");
                frames.iter().for_each(|frame| self.frame(frame));
                self.raw(b"u");
            }
            Object::Pictures([count, height, width], numbers) => {
                let [count, height, width] = [count % 3, height % 9, width % 9];
                self.raw(b"}(");
                self.text("feature_image");
                self.numbers(numbers, &[count, 3, height, width]);
                self.text("feature_shape");
                self.numbers(numbers, &[100]);
                self.text("frame_trans");
                self.numbers(numbers, &[count, 3, 4]);
                self.text("frame_key");
                self.raw(b"]u");
            }
        }
    }

    fn sequence(&mut self, items: &[Object], start: &[u8], end: &[u8]) {
        self.raw(start);
        self.raw(b"(");
        items.iter().for_each(|item| self.object(item));
        self.raw(end);
    }

    fn instance(&mut self, module: &str, name: &str, attributes: &[(&str, &Object)]) {
        self.class(module, name);
        self.raw(b")\x81}(");
        for (name, value) in attributes {
            self.text(name);
            self.object(value);
        }
        self.raw(b"ub");
    }

    fn tensor(&mut self, numbers: &Numbers) {
        const STORAGES: [&str; 9] = [
            "FloatStorage",
            "HalfStorage",
            "DoubleStorage",
            "ByteStorage",
            "LongStorage",
            "BFloat16Storage",
            "BoolStorage",
            "IntStorage",
            "OddStorage",
        ];
        self.class("torch._utils", "_rebuild_tensor_v2");
        self.raw(b"((");
        self.text("storage");
        self.class(
            "torch",
            STORAGES[usize::from(numbers.dtype) % STORAGES.len()],
        );
        self.text(&(numbers.storage % 5).to_string());
        self.text("cpu");
        self.raw(b"K\x40tQ");
        self.raw(&[b'K', numbers.offset]);
        self.sizes(&numbers.shape);
        match &numbers.strides {
            Some(strides) => self.sizes(strides),
            None => self.sizes(&dense(&numbers.shape)),
        }
        self.raw(b"\x89NtR");
    }

    fn dtype(&mut self, dtype: u8, big_endian: bool) {
        const TYPES: [&str; 9] = ["f4", "f8", "f2", "u1", "i4", "i8", "b1", "u8", "c8"];
        self.class("numpy", "dtype");
        self.text(TYPES[usize::from(dtype) % TYPES.len()]);
        self.raw(b"K\0K\x01\x87R(K\x03");
        self.text(if big_endian { ">" } else { "<" });
        self.raw(b"tb");
    }

    fn array(&mut self, numbers: &Numbers) {
        self.class("numpy.core.multiarray", "_reconstruct");
        self.class("numpy", "ndarray");
        self.raw(b"K\0\x85C\x01b\x87R(K\x01");
        self.sizes(&numbers.shape);
        self.dtype(numbers.dtype, numbers.flag);
        self.raw(&[if numbers.offset & 1 == 1 { 0x88 } else { 0x89 }]);
        self.blob(&numbers.bytes);
        self.raw(b"tb");
    }

    /// An array of 32-bit floats of this shape, with bytes that repeat.
    fn numbers(&mut self, like: &Numbers, shape: &[u8]) {
        self.filled(&like.bytes, shape, like.flag);
    }

    fn filled(&mut self, bytes: &[u8], shape: &[u8], double: bool) {
        let count: usize = shape.iter().map(|&size| usize::from(size)).product();
        let value = |i: usize| {
            let byte = bytes.get(i % bytes.len().max(1)).copied().unwrap_or(0);
            f32::from(byte) / 255.0
        };
        let values = (0..count).map(value);
        let data: Vec<u8> = match double {
            true => values.flat_map(|x| f64::from(x).to_le_bytes()).collect(),
            false => values.flat_map(f32::to_le_bytes).collect(),
        };
        self.array(&Numbers {
            dtype: u8::from(double),
            storage: 0,
            offset: 0,
            shape: shape.to_vec(),
            strides: None,
            flag: false,
            bytes: data,
        });
    }

    fn head(&mut self, head: &Head) {
        let (vertices, joints) = (head.vertices % 6, head.joints % 6);
        let directions = match head.directions % 4 {
            0 => 150,
            1 => 3,
            other => other,
        };
        let corrective = 9 * joints.saturating_sub(1);
        self.raw(b"}(");
        for (name, shape) in [
            ("v_template", &[vertices, 3][..]),
            ("shapedirs", &[vertices, 3, directions]),
            ("posedirs", &[vertices, 3, corrective]),
            ("J_regressor", &[joints, vertices]),
            ("weights", &[vertices, joints]),
        ] {
            self.text(name);
            self.filled(&head.bytes, shape, false);
        }
        self.text("parents");
        self.raw(b"](");
        for joint in 0..joints {
            self.int(i32::from(joint) - 1);
        }
        self.raw(b"e");
        if let Some((name, other)) = &head.other {
            self.name(*name);
            self.object(other);
        }
        self.raw(b"u");
    }

    fn frame(&mut self, frame: &Frame) {
        self.text(&format!("clip_{}", frame.number));
        self.raw(b"}(");
        let [expression, pose, camera] = frame.values;
        let (names, sizes) = match frame.newer {
            true => (["expcode", "posecode", "transform_matrix"], [100, 6, 12]),
            false => (
                ["emoca_expression", "emoca_pose", "transform_matrix"],
                [50, 6, 12],
            ),
        };
        for ((name, size), value) in names.iter().zip(sizes).zip([expression, pose, camera]) {
            self.text(name);
            match *name {
                "transform_matrix" => self.filled(&[value, 7, 1], &[3 + (value & 1), 4], false),
                _ => self.filled(&[value, 3, 9], &[size], value & 1 == 1),
            }
        }
        if let Some((name, other)) = &frame.other {
            self.name(*name);
            self.object(other);
        }
        self.raw(b"u");
    }
}

/// Strides of a row-major tensor, as far as a byte goes.
fn dense(shape: &[u8]) -> Vec<u8> {
    let mut stride = 1u8;
    let mut strides: Vec<u8> = (shape.iter().rev())
        .map(|&size| {
            let this = stride;
            stride = stride.saturating_mul(size);
            this
        })
        .collect();
    strides.reverse();
    strides
}
