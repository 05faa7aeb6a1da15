//! PyTorch's archives, and the tensors of its pickles.

use std::borrow::Cow;

use safetensors::Dtype;

use super::archive::{Archive, Entry};
use super::array::{Array, MAX_RANK, StridedLayout};
use super::budget::Budget;
use super::pickle::{Class, Node, Pickle};
use crate::sniff::{self, Kind};

/// Largest number of wrappers around a tensor, such as parameters.
const MAX_WRAPPERS: usize = 8;

const LEGACY_REFUSAL: &str = "it is in the format of PyTorch before version 1.6. Save it \
     again with any later version: python -c \"import torch; torch.save(torch.load('OLD', \
     map_location='cpu'), 'NEW')\"";

/// Largest length of a storage's key. PyTorch's are numbers.
const MAX_KEY: usize = 40;

/// The integer at the beginning of files of PyTorch before version 1.6.
const LEGACY_MAGIC: &[u8] = &[0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19];

/// A file that `torch.save` wrote.
#[derive(Debug)]
pub(super) struct TorchArchive {
    archive: Archive,
    /// Directory of all entries, with the slash.
    root: String,
    big_endian: bool,
}

impl TorchArchive {
    /// Reads the directory of an archive.
    ///
    /// # Errors
    /// If it is not an archive of PyTorch. For a file of PyTorch before version 1.6 the message says
    /// what to do.
    pub fn within(bytes: &[u8], budget: &Budget) -> Result<Self, String> {
        match sniff::kind(bytes) {
            Kind::TorchArchive | Kind::Zip => {}
            Kind::TorchLegacy => return Err(LEGACY_REFUSAL.into()),
            _ => return Err(sniff::reason(bytes)),
        }
        let archive = Archive::within(bytes, budget)?;
        let root = (root(&archive).map(str::to_owned))
            .ok_or("expected an entry data.pkl in a directory, found none")?;
        let byte_order = match archive.entry(&format!("{root}byteorder")) {
            // Older versions had no such entry and ran on little-endian machines.
            Err(_) => b"little".as_slice().into(),
            Ok(entry) => entry.content(bytes)?,
        };
        let big_endian = match &*byte_order {
            b"little" => false,
            b"big" => true,
            other => {
                let found = String::from_utf8_lossy(&other[..other.len().min(20)]);
                return Err(format!("expected byteorder little or big, found {found:?}"));
            }
        };
        Ok(Self {
            archive,
            root,
            big_endian,
        })
    }

    /// The pickle of the saved object.
    pub fn pickle<'a>(&self, bytes: &'a [u8]) -> Result<Pickle<'a>, String> {
        let entry = self.archive.entry(&format!("{}data.pkl", self.root))?;
        Pickle::within(entry.stored(bytes)?, self.archive.budget())
    }

    /// The entry with the elements of a storage.
    pub fn storage(&self, key: &str) -> Result<&Entry, String> {
        self.archive.entry(&format!("{}data/{key}", self.root))
    }

    /// True if numbers are stored with their highest byte first.
    pub fn big_endian(&self) -> bool {
        self.big_endian
    }
}

/// The directory with the pickle, with the slash.
fn root(archive: &Archive) -> Option<&str> {
    let mut roots = (archive.names()).filter_map(|name| name.strip_suffix("data.pkl"));
    roots.find(|root| root.ends_with('/') && root.matches('/').count() == 1)
}

/// A tensor whose elements have not been read.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    /// The order of its elements in the storage.
    pub layout: StridedLayout,
    pub storage: Storage<'a>,
}

/// Elements that tensors share.
#[derive(Debug)]
pub(super) enum Storage<'a> {
    /// In the archive, under this key.
    Archived(String),
    /// In the pickle itself.
    Inline(Cow<'a, [u8]>),
}

/// True for values that are tensors, including those that cannot be read.
pub(super) fn is_tensor(node: Node) -> bool {
    matches!(
        node.object(),
        Some((
            Class::TorchTensor
                | Class::TorchTensorOfDtype
                | Class::TorchTensorWithAttributes
                | Class::TorchParameter,
            ..
        ))
    )
}

/// Reads a tensor, taking it out of its wrappers. `big_endian` is the archive's byte order.
pub(super) fn tensor<'a>(node: Node<'_, 'a>, big_endian: bool) -> Result<Tensor<'a>, String> {
    let (mut class, mut arguments, _) = node.object().ok_or_else(|| not_a_tensor(node))?;
    for _ in 0..MAX_WRAPPERS {
        let mut items = arguments.elements().ok_or("a call without arguments")?;
        match class {
            // (data, requires_grad, hooks, …)
            Class::TorchParameter => {
                let data = items.next().ok_or("a parameter without data")?;
                (class, arguments, _) = data.object().ok_or_else(|| not_a_tensor(data))?;
            }
            // (function, class, arguments, attributes)
            Class::TorchTensorWithAttributes => {
                let (Some(function), Some(inner)) = (items.next(), items.nth(1)) else {
                    return Err("a tensor with attributes but without data".into());
                };
                class = function.class().ok_or("a tensor made by no function")?;
                arguments = inner;
            }
            Class::TorchTensor | Class::TorchTensorOfDtype => {
                return strided(class, items, big_endian);
            }
            _ => return Err(not_a_tensor(node)),
        }
    }
    Err("a tensor within too many wrappers".into())
}

fn not_a_tensor(node: Node) -> String {
    format!("expected a dense tensor, found {}", node.describe())
}

/// (storage, offset, size, stride, requires_grad, hooks, [dtype], …)
fn strided<'p, 'a: 'p>(
    class: Class,
    mut items: impl Iterator<Item = Node<'p, 'a>>,
    big_endian: bool,
) -> Result<Tensor<'a>, String> {
    let (Some(storage), Some(offset), Some(shape), Some(strides)) =
        (items.next(), items.next(), items.next(), items.next())
    else {
        return Err("a tensor without storage, offset, size and stride".into());
    };
    let sizes = |node: Node| {
        let sizes = node.elements().filter(|sizes| sizes.len() <= MAX_RANK)?;
        sizes.map(Node::size).collect::<Option<Vec<_>>>()
    };
    let (Some(offset), Some(shape), Some(strides)) = (offset.size(), sizes(shape), sizes(strides))
    else {
        return Err("expected integers from 0 as offset, size and stride of a tensor".into());
    };
    let stored = match storage.persistent() {
        Some(reference) => archived(reference, big_endian)?,
        None => inline(storage)?,
    };
    let dtype = match (class, stored.dtype) {
        (Class::TorchTensorOfDtype, _) => match items.nth(2).and_then(Node::class) {
            Some(Class::TorchDtype(dtype)) => dtype,
            _ => return Err("a tensor of elements of an unknown type".into()),
        },
        (_, Some(dtype)) => dtype,
        (_, None) => return Err("expected the element type of a tensor, found none".into()),
    };
    Ok(Tensor {
        layout: StridedLayout {
            dtype,
            big_endian: stored.big_endian,
            shape,
            strides,
            offset,
        },
        storage: stored.storage,
    })
}

struct Stored<'a> {
    dtype: Option<Dtype>,
    big_endian: bool,
    storage: Storage<'a>,
}

/// ("storage", class, key, device, elements, …)
fn archived<'a>(reference: Node<'_, 'a>, big_endian: bool) -> Result<Stored<'a>, String> {
    let items = reference.elements();
    let mut items = items.ok_or("expected a storage as a tuple")?;
    let tag = items.next().and_then(Node::text);
    let (Some("storage"), Some(class), Some(key)) = (tag, items.next(), items.next()) else {
        return Err("expected a storage with class and key".into());
    };
    let Some(Class::TorchStorage(dtype)) = class.class() else {
        let found = class.describe();
        return Err(format!("expected a storage of numbers, found {found}"));
    };
    let key = key.text().filter(|key| key.len() <= MAX_KEY);
    let key = key.ok_or("expected a short text as the key of a storage")?;
    Ok(Stored {
        dtype,
        big_endian,
        storage: Storage::Archived(key.into()),
    })
}

/// A storage that was pickled, not saved: bytes in PyTorch's format before version 1.6.
///
/// The format is a pickle each of a magic number, a protocol version, properties of the machine, the
/// storage and a list of its one key, then the number of elements and the elements.
fn inline<'a>(node: Node<'_, 'a>) -> Result<Stored<'a>, String> {
    let bytes = match node.object() {
        Some((Class::TorchLoadFromBytes, arguments, _)) => {
            let bytes = arguments.array().map(|[bytes]| bytes.taken_bytes());
            bytes.transpose()?.flatten()
        }
        _ => return Err(format!("expected a storage, found {}", node.describe())),
    };
    let bytes = bytes.ok_or("a storage that was not pickled as bytes")?;
    let mut rest = &*bytes;
    let budget = node.budget();
    let mut next = || -> Result<Pickle, String> {
        let pickle = Pickle::within(rest, budget)?;
        budget.take(pickle.len())?;
        rest = &rest[pickle.len()..];
        Ok(pickle)
    };
    let (magic, _protocol, machine, storage, _keys) = (next()?, next()?, next()?, next()?, next()?);
    if !magic.root().is_long_int(LEGACY_MAGIC) {
        return Err("a pickled storage without PyTorch's magic number".into());
    }
    let little_endian = (machine.root().get("little_endian"))
        .and_then(Node::int)
        .ok_or("a pickled storage that does not say how its bytes are ordered")?;
    let big_endian = little_endian == 0;
    let reference = (storage.root().persistent()).ok_or("expected a pickled storage")?;
    let Stored { dtype, .. } = archived(reference, big_endian)?;
    let elements = (rest.get(8..)).ok_or("a pickled storage without a count of elements")?;
    let start = bytes.len() - elements.len();
    let storage = Storage::Inline(match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start..]),
        Cow::Owned(mut bytes) => Cow::Owned(bytes.split_off(start)),
    });
    Ok(Stored {
        dtype,
        big_endian,
        storage,
    })
}

/// Reads a tensor's elements.
pub(super) fn array<'a>(
    tensor: Tensor<'a>,
    archive: Option<(&TorchArchive, &'a [u8])>,
) -> Result<Array<'a>, String> {
    let bytes = match (tensor.storage, archive) {
        (Storage::Inline(bytes), _) => bytes,
        (Storage::Archived(key), Some((archive, bytes))) => {
            archive.storage(&key)?.stored(bytes)?.into()
        }
        _ => return Err("a tensor whose elements are in another file".into()),
    };
    Array::new(tensor.layout, bytes)
}
