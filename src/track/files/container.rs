//! MediaPipe's `.task` files: zip archives whose members are stored as they are.
//!
//! Members are found by the central directory; what else an archive may have (compression,
//! encryption, 64-bit sizes, several disks, a comment) these files have not, and it is refused.

/// The members' names and contents, in the directory's order.
pub(super) fn members(bytes: &[u8]) -> Result<Vec<(&str, &[u8])>, String> {
    const END: usize = 22;
    /// Most members to expect: there are four.
    const MOST: u16 = 64;
    let end = (bytes.len().checked_sub(END)).and_then(|at| Record::new(bytes, at, b"PK\x05\x06"));
    let end = end.ok_or("it does not end like an archive: it is truncated or of another kind")?;
    let count = end.u16(10)?;
    let (size, start) = (end.u32(12)?, end.u32(16)?);
    if end.u32(4)? != 0 || end.u16(8)? != count || end.u16(20)? != 0 || count > MOST {
        return Err(format!(
            "expected one disk, at most {MOST} members and no comment"
        ));
    }
    if u64::from(start) + u64::from(size) + END as u64 != bytes.len() as u64 {
        return Err("its directory is not where its end says".into());
    }
    let mut at = start as usize;
    let mut members: Vec<(&str, &[u8])> = Vec::new();
    for _ in 0..count {
        let entry = Record::new(bytes, at, b"PK\x01\x02").ok_or("its directory is cut")?;
        let (flags, method) = (entry.u16(8)?, entry.u16(10)?);
        let (checksum, packed, size) = (entry.u32(16)?, entry.u32(20)?, entry.u32(24)?);
        let lengths = [entry.u16(28)?, entry.u16(30)?, entry.u16(32)?].map(usize::from);
        let name = entry.bytes(46, lengths[0])?;
        let name = std::str::from_utf8(name).map_err(|_| "a member's name is no text")?;
        at += 46 + lengths.iter().sum::<usize>();
        // Bit 0: encrypted; bit 3: sizes behind the data.
        if method != 0 || flags & 0b1001 != 0 || packed != size || size == u32::MAX {
            return Err(format!(
                "{name:?}: expected a member that is neither compressed nor encrypted, found method {method}, flags {flags:#x}, {size} bytes as {packed}"
            ));
        }
        if members.iter().any(|(other, _)| *other == name) {
            return Err(format!("it has two members {name:?}"));
        }
        let header = Record::new(bytes, entry.u32(42)? as usize, b"PK\x03\x04");
        let header = header.ok_or_else(|| format!("{name:?}: no header where it begins"))?;
        let skipped = usize::from(header.u16(26)?) + usize::from(header.u16(28)?);
        let content = header.bytes(30 + skipped, size as usize)?;
        if crc32fast::hash(content) != checksum {
            return Err(format!(
                "{name:?}: its checksum does not match: the file is damaged, get it again"
            ));
        }
        members.push((name, content));
    }
    Ok(members)
}

/// A record of the archive, from its signature on.
struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    fn new(bytes: &'a [u8], at: usize, signature: &[u8]) -> Option<Self> {
        let rest = bytes.get(at..)?;
        rest.starts_with(signature).then_some(Self(rest))
    }

    fn bytes(&self, at: usize, length: usize) -> Result<&'a [u8], String> {
        let rest = self.0.get(at..).and_then(|rest| rest.get(..length));
        rest.ok_or_else(|| "a member reaches beyond its end".into())
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        let bytes = self.bytes(at, 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&self, at: usize) -> Result<u32, String> {
        Ok(u32::from(self.u16(at)?) | u32::from(self.u16(at + 2)?) << 16)
    }
}
