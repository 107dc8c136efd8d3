//! The chunks of a WebP file.
//!
//! It decodes nothing. Invariant: it reads only what lies inside the given bytes.

/// The content of the first chunk of this name.
pub(super) fn chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes.get(12..)?;
    loop {
        let length = rest.get(4..8)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let content = rest.get(8..8usize.checked_add(length)?)?;
        if rest.starts_with(name) {
            return Some(content);
        }
        // Chunks start at even places.
        rest = rest.get(8 + length + length % 2..)?;
    }
}

/// Whether all that the file says it holds is there.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let length = bytes.get(4..8).map(|length| {
        u64::from(u32::from_le_bytes([
            length[0], length[1], length[2], length[3],
        ]))
    });
    length.is_some_and(|length| length + 8 <= bytes.len() as u64)
}
