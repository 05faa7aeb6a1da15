//! Hashes that name and check files.

/// FNV-1a of some texts, each followed by a zero byte. It names and checks files, so it has to be the
/// same in every build; the standard library's hash is not.
pub(crate) fn fnv(texts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for text in texts {
        for &byte in text.as_ref().iter().chain(&[0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash
}
