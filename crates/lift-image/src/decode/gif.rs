//! A GIF's canvas and its first frame.
//!
//! It decodes no pixels. Invariant: it reads only what lies inside the given bytes.

use std::borrow::Cow;

use super::DecodeError;

/// The most pixels that a byte of coded data can become: 4096 codes of 12 bits, each at most one longer than another.
pub(super) const MOST_OF_A_BYTE: u64 = 4096;

const FORMAT: &str = "GIF";

/// The file with a canvas that holds its first frame, as Pillow and browsers show it: some say 0x0.
///
/// # Errors
/// When there is no frame, or the first one's data ends early.
pub(super) fn with_canvas(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let cut = || DecodeError::Truncated { format: FORMAT };
    let screen = bytes.get(6..13).ok_or_else(cut)?;
    let mut at = 13 + colours(screen[4]);
    let frame = loop {
        match bytes.get(at).ok_or_else(cut)? {
            0x2C => break bytes.get(at + 1..at + 10).ok_or_else(cut)?,
            0x21 => at = behind_blocks(bytes, at + 2).ok_or_else(cut)?,
            0x3B => {
                return Err(DecodeError::Malformed {
                    format: FORMAT,
                    reason: "it has no frame".to_owned(),
                });
            }
            // Stray bytes, which decoders pass over.
            _ => at += 1,
        }
    };
    // Behind its colours and the size of its first code.
    behind_blocks(bytes, at + 10 + colours(frame[8]) + 1).ok_or_else(cut)?;
    let two = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let side = |at: usize| {
        let end = u32::from(two(frame, at)) + u32::from(two(frame, at + 4));
        let end = u16::try_from(end).map_err(|_| DecodeError::Malformed {
            format: FORMAT,
            reason: "the first frame lies outside of any canvas".to_owned(),
        });
        Ok(end?.max(two(screen, at)))
    };
    let (width, height) = (side(0)?, side(2)?);
    if (width, height) == (two(screen, 0), two(screen, 2)) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut file = bytes.to_vec();
    file[6..8].copy_from_slice(&width.to_le_bytes());
    file[8..10].copy_from_slice(&height.to_le_bytes());
    Ok(Cow::Owned(file))
}

/// Bytes of the table of colours that a byte of flags tells of.
fn colours(flags: u8) -> usize {
    match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    }
}

/// Where the blocks of data that start at `at` have ended.
fn behind_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return Some(at + 1),
            length => at += 1 + length,
        }
    }
}
