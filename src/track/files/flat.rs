//! The part of FlatBuffers that TensorFlow Lite's files need, on untrusted bytes.
//!
//! A table at `p`: an i32, its vtable lies at `p` minus that. The vtable: its own size, the table's
//! size, then a place for each field relative to `p`, 0 where the field has its default; all u16.
//! Vectors, strings and tables lie at a u32 offset from the field that names them. All is little
//! endian and at any alignment. Every place is checked before it is read, and nothing is followed
//! more than a fixed number of times, so that no loop of offsets can hold the reader up.

/// Most elements of a vector of tables or of indices: no network here has 1,000.
const MOST: usize = 4096;

#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Its vtable, without the two sizes.
    fields: &'a [u8],
}

/// Reads the number at `at`.
macro_rules! number {
    ($type:ty, $bytes:expr, $at:expr) => {{
        let at: usize = $at;
        let rest = $bytes.get(at..).unwrap_or_default();
        (rest.first_chunk().copied())
            .map(<$type>::from_le_bytes)
            .ok_or_else(|| format!("it ends before the number at byte {at}"))
    }};
}

/// `at` plus the offset that is stored there.
fn follow(bytes: &[u8], at: usize) -> Result<usize, String> {
    let offset = number!(u32, bytes, at)?;
    (at.checked_add(offset as usize))
        .filter(|target| *target < bytes.len())
        .ok_or_else(|| format!("the offset {offset} at byte {at} leads beyond its end"))
}

impl<'a> Table<'a> {
    /// The root table of a file.
    pub fn root(bytes: &'a [u8]) -> Result<Self, String> {
        Self::new(bytes, follow(bytes, 0)?)
    }

    fn new(bytes: &'a [u8], at: usize) -> Result<Self, String> {
        let back = number!(i32, bytes, at)?;
        let invalid = || format!("the table at byte {at} has no valid list of fields");
        let vtable = usize::try_from(at as i64 - i64::from(back)).map_err(|_| invalid())?;
        let size = usize::from(number!(u16, bytes, vtable)?);
        let fields = bytes.get(vtable..).and_then(|rest| rest.get(4..size));
        let fields = fields.ok_or_else(invalid)?;
        Ok(Self { bytes, at, fields })
    }

    /// Where a field lies, or `None` where it has its default.
    fn field(&self, index: usize) -> Option<usize> {
        match number!(u16, self.fields, 2 * index) {
            Ok(0) | Err(_) => None,
            Ok(offset) => Some(self.at + usize::from(offset)),
        }
    }

    pub fn u32(&self, index: usize) -> Result<u32, String> {
        (self.field(index)).map_or(Ok(0), |at| number!(u32, self.bytes, at))
    }

    pub fn i32(&self, index: usize, default: i32) -> Result<i32, String> {
        (self.field(index)).map_or(Ok(default), |at| number!(i32, self.bytes, at))
    }

    pub fn i8(&self, index: usize) -> Result<i8, String> {
        (self.field(index)).map_or(Ok(0), |at| number!(i8, self.bytes, at))
    }

    pub fn table(&self, index: usize) -> Result<Option<Self>, String> {
        let table = |at| Self::new(self.bytes, follow(self.bytes, at)?);
        self.field(index).map(table).transpose()
    }

    /// The bytes of a vector of elements of `size` bytes each, and where they begin.
    fn elements(&self, index: usize, size: usize) -> Result<(usize, &'a [u8]), String> {
        let Some(at) = self.field(index) else {
            return Ok((0, &[]));
        };
        let at = follow(self.bytes, at)?;
        let count = number!(u32, self.bytes, at)? as usize;
        let start = at + 4;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let elements = count.checked_mul(size).and_then(|bytes| rest.get(..bytes));
        let beyond = || format!("the list of {count} at byte {at} reaches beyond its end");
        Ok((start, elements.ok_or_else(beyond)?))
    }

    pub fn bytes(&self, index: usize) -> Result<&'a [u8], String> {
        Ok(self.elements(index, 1)?.1)
    }

    /// The same where at most `most` are expected.
    pub fn i32s(&self, index: usize, most: usize) -> Result<Vec<i32>, String> {
        let (at, bytes) = self.elements(index, 4)?;
        let (elements, _) = bytes.as_chunks();
        few(at, elements.len(), most.min(MOST))?;
        Ok(elements
            .iter()
            .map(|bytes| i32::from_le_bytes(*bytes))
            .collect())
    }

    pub fn tables(&self, index: usize) -> Result<Vec<Self>, String> {
        let (start, bytes) = self.elements(index, 4)?;
        let count = bytes.len() / 4;
        few(start, count, MOST)?;
        let table = |k| Self::new(self.bytes, follow(self.bytes, start + 4 * k)?);
        (0..count).map(table).collect()
    }
}

fn few(at: usize, count: usize, most: usize) -> Result<(), String> {
    match count <= most {
        true => Ok(()),
        false => Err(format!(
            "the list at byte {at} has {count} elements, more than {most}"
        )),
    }
}
