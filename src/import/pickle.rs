//! Python pickles, read as data.
//!
//! A pickle is a program for a stack machine that builds values and may call any function of any
//! Python module. Here nothing is ever called. Only opcodes that build values are allowed, and what
//! the program asks to be called or instantiated becomes a record of a name and arguments. The
//! names that mean something to this crate are listed in [`Class::named`]; records of all others
//! are carried along and never looked into.
//!
//! Values live in one arena and refer to each other by index. A pickle may nest them as deeply as
//! it likes, share them and put one inside itself, without recursion or copies here. Each opcode
//! takes a bounded amount of memory, so a pickle takes a small multiple of its size.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::Dtype;

/// More values than real files have; a bound on what a file of nothing but opcodes can take.
const MAX_VALUES: usize = 1 << 23;

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    length: usize,
}

/// Index of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id(u32);

#[derive(Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement of more than 64 bits.
    LongInt(&'a [u8]),
    Float(f64),
    /// `bytes`, or a `str` of Python 2.
    Bytes(&'a [u8]),
    Text(&'a str),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Class<'a>),
    Object(Box<Object<'a>>),
    /// What stands for data outside of the pickle.
    Persistent(Id),
}

/// What a pickle asked to be called or instantiated.
#[derive(Debug)]
struct Object<'a> {
    class: Class<'a>,
    arguments: Id,
    state: Option<Id>,
}

/// A class or function that a pickle refers to by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class<'a> {
    ChumpyArray,
    ChumpySelect,
    /// `bytes` or `bytearray`.
    Bytes,
    Dict,
    /// `codecs.encode`: how Python 3 writes bytes for Python 2.
    Encode,
    NumpyDtype,
    NumpyFromBuffer,
    NumpyReconstruct,
    NumpyScalar,
    /// How Python 2 writes instances of its classes.
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
    /// The allow-list: what has a meaning here, under every name that the versions of Python and
    /// the libraries gave it.
    fn named(module: &'a str, name: &'a str) -> Self {
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
        let (dtype, is_storage) = match name {
            "BFloat16Storage" => (Dtype::BF16, true),
            "BoolStorage" => (Dtype::BOOL, true),
            "ByteStorage" => (Dtype::U8, true),
            "CharStorage" => (Dtype::I8, true),
            "DoubleStorage" => (Dtype::F64, true),
            "FloatStorage" => (Dtype::F32, true),
            "HalfStorage" => (Dtype::F16, true),
            "IntStorage" => (Dtype::I32, true),
            "LongStorage" => (Dtype::I64, true),
            "ShortStorage" => (Dtype::I16, true),
            "bfloat16" => (Dtype::BF16, false),
            "bool" => (Dtype::BOOL, false),
            "float16" => (Dtype::F16, false),
            "float32" => (Dtype::F32, false),
            "float64" => (Dtype::F64, false),
            "int16" => (Dtype::I16, false),
            "int32" => (Dtype::I32, false),
            "int64" => (Dtype::I64, false),
            "int8" => (Dtype::I8, false),
            "uint16" => (Dtype::U16, false),
            "uint32" => (Dtype::U32, false),
            "uint64" => (Dtype::U64, false),
            "uint8" => (Dtype::U8, false),
            _ => return None,
        };
        Some(match is_storage {
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

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`.
    ///
    /// # Errors
    /// What is wrong and where: an opcode or a protocol that is not allowed, data that ends early,
    /// a stack that does not hold what an opcode takes, or more values than any real file has.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine::new(bytes);
        loop {
            let at = machine.at();
            match machine.step() {
                Ok(Some(root)) => {
                    return Ok(Self {
                        length: machine.at(),
                        values: machine.values,
                        root,
                    });
                }
                Ok(None) => {}
                Err(reason) => return Err(format!("at byte {at} of the pickle: {reason}")),
            }
        }
    }

    /// How many bytes the pickle takes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// The value that was pickled.
    pub fn root(&self) -> Node<'_, 'a> {
        self.node(self.root)
    }

    fn node(&self, id: Id) -> Node<'_, 'a> {
        Node { pickle: self, id }
    }
}

/// A value of a pickle. `'p` is the pickle's life, `'a` that of the bytes it was read from.
#[derive(Clone, Copy)]
pub(super) struct Node<'p, 'a> {
    pickle: &'p Pickle<'a>,
    id: Id,
}

impl<'p, 'a> Node<'p, 'a> {
    fn value(self) -> &'p Value<'a> {
        // Ids are made where values are, and no value is ever removed.
        &self.pickle.values[self.id.0 as usize]
    }

    /// Equal for two nodes of a pickle if they are the same object.
    pub fn identity(self) -> u32 {
        self.id.0
    }

    /// A string, of Python 2 or 3.
    pub fn text(self) -> Option<&'a str> {
        match self.value() {
            Value::Text(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// An integer or truth value of at most 64 bits.
    pub fn int(self) -> Option<i64> {
        match self.value() {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some((*value).into()),
            _ => None,
        }
    }

    /// An integer that is not negative.
    pub fn size(self) -> Option<usize> {
        self.int()?.try_into().ok()
    }

    /// A number or truth value.
    pub fn float(self) -> Option<f64> {
        match self.value() {
            Value::Float(value) => Some(*value),
            _ => self.int().map(|value| value as f64),
        }
    }

    /// Raw bytes, however they were written.
    pub fn bytes(self) -> Option<Cow<'a, [u8]>> {
        match self.value() {
            Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Value::Object(object) => {
                let mut arguments = self.pickle.node(object.arguments).elements()?;
                let first = arguments.next();
                match object.class {
                    Class::Bytes if first.is_none() => Some(Cow::Borrowed(&[])),
                    // `bytearray(bytes)`, or the same as text in the encoding that follows.
                    Class::Bytes | Class::Encode => match (first?.value(), arguments.next()) {
                        (Value::Bytes(bytes), None) => Some(Cow::Borrowed(bytes)),
                        (Value::Text(text), Some(encoding)) => {
                            let latin_1 = ["latin1", "latin-1"].contains(&encoding.text()?);
                            let bytes = text.chars().map(|c| u8::try_from(c).ok());
                            bytes
                                .collect::<Option<Vec<u8>>>()
                                .filter(|_| latin_1)
                                .map(Cow::Owned)
                        }
                        _ => None,
                    },
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Whether this is an integer of more than 64 bits, with these bytes in two's complement, the
    /// lowest first.
    pub fn is_long_int(self, bytes: &[u8]) -> bool {
        matches!(self.value(), Value::LongInt(found) if *found == bytes)
    }

    /// The elements of a tuple, list or set.
    pub fn elements(self) -> Option<impl ExactSizeIterator<Item = Self>> {
        match self.value() {
            Value::Sequence(ids) => Some(ids.iter().map(move |&id| self.pickle.node(id))),
            _ => None,
        }
    }

    /// The elements of a tuple, list or set of `N`.
    pub fn array<const N: usize>(self) -> Option<[Self; N]> {
        match self.value() {
            Value::Sequence(ids) => {
                let ids: &[Id; N] = ids.as_slice().try_into().ok()?;
                Some(ids.map(|id| self.pickle.node(id)))
            }
            _ => None,
        }
    }

    /// The entries of a dictionary in order.
    pub fn entries(self) -> Option<impl DoubleEndedIterator<Item = (Self, Self)>> {
        match self.value() {
            Value::Dict(ids) => {
                let nodes = move |&(key, value)| (self.pickle.node(key), self.pickle.node(value));
                Some(ids.iter().map(nodes))
            }
            _ => None,
        }
    }

    /// What a dictionary has under `key`.
    pub fn get(self, key: &str) -> Option<Self> {
        // A key that comes twice was overwritten.
        let found = self.entries()?.rev().find(|(k, _)| k.text() == Some(key));
        found.map(|(_, value)| value)
    }

    /// A class by itself.
    pub fn class(self) -> Option<Class<'a>> {
        match self.value() {
            Value::Class(class) => Some(*class),
            _ => None,
        }
    }

    /// What was to be called, with what arguments, and the state set afterwards.
    pub fn object(self) -> Option<(Class<'a>, Self, Option<Self>)> {
        match self.value() {
            Value::Object(object) => Some((
                object.class,
                self.pickle.node(object.arguments),
                object.state.map(|id| self.pickle.node(id)),
            )),
            _ => None,
        }
    }

    /// What stands for data outside of the pickle.
    pub fn persistent(self) -> Option<Self> {
        match self.value() {
            Value::Persistent(id) => Some(self.pickle.node(*id)),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub fn describe(self) -> String {
        match self.value() {
            Value::None => "None".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::LongInt(bytes) => format!("an integer of {} bytes", bytes.len()),
            Value::Float(value) => value.to_string(),
            Value::Bytes(bytes) => match self.text() {
                Some(text) => format!("{:?}", beginning(text)),
                None => format!("{} bytes", bytes.len()),
            },
            Value::Text(text) => format!("{:?}", beginning(text)),
            Value::Sequence(ids) => format!("a sequence of {}", ids.len()),
            Value::Dict(ids) => format!("a dictionary of {}", ids.len()),
            Value::Class(class) => format!("the class {class}"),
            Value::Object(object) => format!("an object of {}", object.class),
            Value::Persistent(_) => "a reference to data outside of the pickle".into(),
        }
    }
}

/// The first letters of a text that may be of any length.
pub(super) fn beginning(text: &str) -> &str {
    const MOST: usize = 80;
    let end = text.char_indices().nth(MOST);
    end.map_or(text, |(end, _)| &text[..end])
}

/// The stack machine.
struct Machine<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            rest: bytes,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// How many bytes were read.
    fn at(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    /// Executes an opcode; gives the result of the whole pickle if that was the last one.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let [opcode] = self.take_array()?;
        match opcode {
            // PROTO
            0x80 => match self.take_array()? {
                [0..=5] => {}
                [version] => return Err(format!("expected protocol 0 to 5, found {version}")),
            },
            // FRAME: its length only helps to read ahead
            0x95 => drop(self.take_array::<8>()?),
            // STOP
            b'.' => return self.pop().map(Some),

            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            // BININT, BININT1, BININT2
            b'J' => {
                let value = i32::from_le_bytes(self.take_array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let [value] = self.take_array()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take_array()?);
                self.push(Value::Int(value.into()))?;
            }
            // LONG1, LONG4
            0x8A => self.push_with(Self::length_u8, long_int)?,
            0x8B => self.push_with(Self::length_u32, long_int)?,
            // BINFLOAT, the one big-endian number
            b'G' => {
                let value = f64::from_be_bytes(self.take_array()?);
                self.push(Value::Float(value))?;
            }

            // SHORT_BINSTRING, BINSTRING, SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'U' | b'C' => self.push_with(Self::length_u8, bytes_value)?,
            b'T' | b'B' => self.push_with(Self::length_u32, bytes_value)?,
            0x8E | 0x96 => self.push_with(Self::length_u64, bytes_value)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8C => self.push_with(Self::length_u8, text_value)?,
            b'X' => self.push_with(Self::length_u32, text_value)?,
            0x8D => self.push_with(Self::length_u64, text_value)?,

            // EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET
            b')' | b']' | 0x8F => self.push(Value::Sequence(Vec::new()))?,
            // TUPLE, LIST, FROZENSET
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Value::Sequence(items))?;
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.height_for(count)?;
                let items = self.stack.split_off(start);
                self.push(Value::Sequence(items))?;
            }
            // APPEND, APPENDS, ADDITEMS
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.insert(items)?;
            }
            b's' => {
                let start = self.height_for(2)?;
                let items = self.stack.split_off(start);
                self.insert(items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(items)?;
            }

            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.take_line()?, self.take_line()?);
                self.push(Value::Class(Class::named(module, name)))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) =
                    (self.value(module), self.value(name))
                else {
                    return Err("a class whose name is no text".into());
                };
                let class = Class::named(module, name);
                self.push(Value::Class(class))?;
            }
            // REDUCE, NEWOBJ, NEWOBJ_EX
            b'R' | 0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.construct(class, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments) = (self.pop()?, self.pop()?);
                let class = self.pop()?;
                self.construct(class, arguments)?;
            }
            // BUILD
            b'b' => {
                let state = self.pop()?;
                // Other values are Python's own, with attributes of no interest.
                if let Value::Object(object) = self.top()? {
                    object.state = Some(state);
                }
            }
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }

            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let id = self.peek()?;
                self.stack.push(id);
            }
            // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
            b'h' | b'j' => {
                let index = self.memo_index(opcode == b'h')?;
                let id = (self.memo.get(&index))
                    .ok_or_else(|| format!("entry {index} of the memo, which is empty"))?;
                self.stack.push(*id);
            }
            b'q' | b'r' => {
                let index = self.memo_index(opcode == b'q')?;
                let id = self.peek()?;
                self.memo.insert(index, id);
            }
            0x94 => {
                let id = self.peek()?;
                // There are not more entries than values that were pushed, of which there are few.
                self.memo.insert(self.memo.len() as u32, id);
            }
            other => {
                return Err(format!(
                    "opcode 0x{other:02x}, which is not one of those that only build values in \
                     protocols 2 to 5"
                ));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| {
            let rest = self.rest.len();
            format!("expected {count} more bytes, found {rest}")
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|taken| {
            let mut array = [0; N];
            array.copy_from_slice(taken);
            array
        })
    }

    /// Text up to the end of the line.
    fn take_line(&mut self) -> Result<&'a str, String> {
        let end = (self.rest.iter().position(|&byte| byte == b'\n'))
            .ok_or("expected a line, found no end of it")?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|error| error.to_string())
    }

    fn length_u8(&mut self) -> Result<usize, String> {
        self.take_array().map(|[length]| length.into())
    }

    fn length_u32(&mut self) -> Result<usize, String> {
        // Lengths that do not fit are longer than the rest, too.
        let length = u32::from_le_bytes(self.take_array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn length_u64(&mut self) -> Result<usize, String> {
        let length = u64::from_le_bytes(self.take_array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn memo_index(&mut self, short: bool) -> Result<u32, String> {
        match short {
            true => self.take_array().map(|[index]| index.into()),
            false => self.take_array().map(u32::from_le_bytes),
        }
    }

    /// Reads a length and as many bytes, and pushes what they mean.
    fn push_with(
        &mut self,
        length: fn(&mut Self) -> Result<usize, String>,
        value: fn(&'a [u8]) -> Result<Value<'a>, String>,
    ) -> Result<(), String> {
        let length = length(self)?;
        let value = value(self.take(length)?)?;
        self.push(value)
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    /// Where the uppermost `count` items begin, all above the last mark.
    fn height_for(&self, count: usize) -> Result<usize, String> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        let height = self.stack.len().checked_sub(count);
        height
            .filter(|&height| height >= bottom)
            .ok_or_else(|| "a stack that holds too little".into())
    }

    fn peek(&self) -> Result<Id, String> {
        let height = self.height_for(1)?;
        Ok(self.stack[height])
    }

    fn pop(&mut self) -> Result<Id, String> {
        let id = self.peek()?;
        self.stack.pop();
        Ok(id)
    }

    /// The items above the last mark, which goes.
    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("a mark that was never set")?;
        Ok(self.stack.split_off(mark))
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// The value on top of the stack.
    fn top(&mut self) -> Result<&mut Value<'a>, String> {
        let id = self.peek()?;
        Ok(&mut self.values[id.0 as usize])
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.top()? {
            Value::Sequence(ids) => ids.extend(items),
            // What a class of unknown meaning holds is of no interest.
            Value::Object(_) => {}
            _ => return Err("expected a list to append to".into()),
        }
        Ok(())
    }

    /// Inserts keys and values, which alternate.
    fn insert(&mut self, items: Vec<Id>) -> Result<(), String> {
        let (pairs, rest) = items.as_chunks();
        if !rest.is_empty() {
            return Err("a dictionary whose last key has no value".into());
        }
        match self.top()? {
            Value::Dict(ids) => ids.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Value::Object(_) => {}
            _ => return Err("expected a dictionary to insert into".into()),
        }
        Ok(())
    }

    /// Pushes what calling `callable` would give, if that is a plain value, or a record of the
    /// call. Arguments are never copied: a call is a byte long, and they are as long as they like.
    fn construct(&mut self, callable: Id, arguments: Id) -> Result<(), String> {
        let Value::Sequence(items) = self.value(arguments) else {
            return Err("arguments that are no tuple".into());
        };
        let class = match self.value(callable) {
            Value::Class(class) => *class,
            // The result of a call, called.
            Value::Object(object) => object.class,
            _ => return Err("expected a class or function to call".into()),
        };
        match (class, items.as_slice()) {
            (Class::Dict, []) => self.push(Value::Dict(Vec::new())),
            (Class::Sequence, []) => self.push(Value::Sequence(Vec::new())),
            (Class::Sequence, &[items]) if matches!(self.value(items), Value::Sequence(_)) => {
                self.stack.push(items);
                Ok(())
            }
            (Class::Reconstructor, &[class, ..]) => match self.value(class) {
                Value::Class(class) => self.push_object(*class, arguments),
                _ => Err("expected a class to instantiate".into()),
            },
            _ => self.push_object(class, arguments),
        }
    }

    fn push_object(&mut self, class: Class<'a>, arguments: Id) -> Result<(), String> {
        self.push(Value::Object(Box::new(Object {
            class,
            arguments,
            state: None,
        })))
    }
}

fn bytes_value(bytes: &[u8]) -> Result<Value<'_>, String> {
    Ok(Value::Bytes(bytes))
}

fn text_value(bytes: &[u8]) -> Result<Value<'_>, String> {
    std::str::from_utf8(bytes)
        .map(Value::Text)
        .map_err(|error| error.to_string())
}

fn long_int(bytes: &[u8]) -> Result<Value<'_>, String> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut extended = [if negative { 0xFF } else { 0 }; 8];
    Ok(match extended.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(extended))
        }
        None => Value::LongInt(bytes),
    })
}

#[cfg(test)]
mod tests;
