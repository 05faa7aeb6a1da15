//! The values of a pickle.

use safetensors::Dtype;

/// Index of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(pub u32);

#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement of more than 64 bits.
    LongInt(&'a [u8]),
    Float(f64),
    /// `bytes`, or a `str` of Python 2.
    Bytes(&'a [u8]),
    Text(&'a str),
    /// The same, decoded from the escapes of protocol 0.
    OwnBytes(Box<[u8]>),
    OwnText(Box<str>),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Box<Class<'a>>),
    Object(Box<Object<'a>>),
    /// A reference to data outside of the pickle.
    Persistent(Id),
}

/// A call or an instance that a pickle asks for.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub class: Class<'a>,
    pub arguments: Id,
    pub state: Option<Id>,
}

/// A class or function that a pickle refers to by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::import) enum Class<'a> {
    ChumpyArray,
    ChumpySelect,
    /// `bytes` or `bytearray`.
    Bytes,
    Dict,
    /// `codecs.encode`: Python 3's way to write bytes for Python 2.
    Encode,
    NumpyDtype,
    NumpyFromBuffer,
    NumpyReconstruct,
    NumpyScalar,
    /// Python 2's way to write instances of its classes.
    Reconstructor,
    ScipyColumns,
    ScipyRows,
    /// A set, or another class that is made of a sequence.
    Sequence,
    TorchDtype(Dtype),
    /// A storage inside of a plain pickle.
    TorchLoadFromBytes,
    TorchParameter,
    /// A storage of elements of this type, or of bytes.
    TorchStorage(Option<Dtype>),
    TorchTensor,
    TorchTensorOfDtype,
    TorchTensorWithAttributes,
    /// Anything else.
    Other {
        module: &'a str,
        name: &'a str,
    },
}

impl<'a> Class<'a> {
    /// The allow-list: classes that have a meaning here, under their names in all versions of Python
    /// and the libraries.
    pub fn named(module: &'a str, name: &'a str) -> Self {
        let other = Self::Other { module, name };
        match (module, name) {
            ("__builtin__" | "builtins", "bytes" | "bytearray") => Self::Bytes,
            ("__builtin__" | "builtins", "frozenset" | "set") => Self::Sequence,
            ("_codecs", "encode") => Self::Encode,
            ("chumpy" | "chumpy.ch", "Ch") => Self::ChumpyArray,
            ("chumpy.reordering", "Select") => Self::ChumpySelect,
            ("collections", "OrderedDict") => Self::Dict,
            ("copy_reg" | "copyreg", "_reconstructor") => Self::Reconstructor,
            ("numpy", "dtype") => Self::NumpyDtype,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Self::NumpyReconstruct
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::NumpyScalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::NumpyFromBuffer,
            ("scipy.sparse.csc" | "scipy.sparse._csc", "csc_matrix" | "csc_array") => {
                Self::ScipyColumns
            }
            ("scipy.sparse.csr" | "scipy.sparse._csr", "csr_matrix" | "csr_array") => {
                Self::ScipyRows
            }
            ("torch", "Size") => Self::Sequence,
            ("torch", name) => Self::of_torch(name).unwrap_or(other),
            ("torch._tensor", "_rebuild_from_type_v2") => Self::TorchTensorWithAttributes,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::TorchParameter
            }
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::TorchTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TorchTensorOfDtype,
            ("torch.storage", "UntypedStorage" | "_UntypedStorage") => Self::TorchStorage(None),
            ("torch.storage", "_load_from_bytes") => Self::TorchLoadFromBytes,
            _ => other,
        }
    }

    /// The element types of PyTorch and the storages that are named after them.
    fn of_torch(name: &str) -> Option<Self> {
        let dtype = match name {
            "BFloat16Storage" | "bfloat16" => Dtype::BF16,
            "BoolStorage" | "bool" => Dtype::BOOL,
            "ByteStorage" | "uint8" => Dtype::U8,
            "CharStorage" | "int8" => Dtype::I8,
            "DoubleStorage" | "float64" => Dtype::F64,
            "FloatStorage" | "float32" => Dtype::F32,
            "HalfStorage" | "float16" => Dtype::F16,
            "IntStorage" | "int32" => Dtype::I32,
            "LongStorage" | "int64" => Dtype::I64,
            "ShortStorage" | "int16" => Dtype::I16,
            "uint16" => Dtype::U16,
            "uint32" => Dtype::U32,
            "uint64" => Dtype::U64,
            _ => return None,
        };
        Some(match name.ends_with("Storage") {
            true => Self::TorchStorage(Some(dtype)),
            false => Self::TorchDtype(dtype),
        })
    }
}

impl std::fmt::Display for Class<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Other { module, name } => {
                write!(f, "{}.{}", beginning(module), beginning(name))
            }
            known => write!(f, "{known:?}"),
        }
    }
}

/// The first letters of a text that may be of any length.
pub(in crate::import) fn beginning(text: &str) -> &str {
    const MOST: usize = 80;
    let end = text.char_indices().nth(MOST);
    end.map_or(text, |(end, _)| &text[..end])
}
