//! A BMP's data beside its size: the decoder fills in what run-length codes leave out.
//!
//! It decodes no pixels. Invariant: it reads only what lies inside the given bytes.

/// What the header says, as far as it is there.
struct Header {
    width: u64,
    height: u64,
    bits: u64,
    compression: u16,
    /// Where the pixels begin.
    data: usize,
}

/// Run-length codes of places of 8 and of 4 bits.
const RUNS: [u16; 2] = [1, 2];
/// Plain pixels, or with masks for the colours.
const PLAIN: [u16; 3] = [0, 3, 6];

impl Header {
    fn read(file: &[u8]) -> Option<Self> {
        let two = |at: usize| Some(u16::from_le_bytes([*file.get(at)?, *file.get(at + 1)?]));
        let four = |at: usize| Some(u32::from(two(at + 2)?) << 16 | u32::from(two(at)?));
        let data = four(10)? as usize;
        // The oldest header is of 12 bytes and knows no compression.
        let (width, height, bits, compression) = match four(14)? {
            12 => (two(18)?.into(), two(20)?.into(), two(24)?, 0),
            // A height below zero: rows from the top.
            _ => (
                four(18)?,
                (four(22)? as i32).unsigned_abs(),
                two(28)?,
                two(30)?,
            ),
        };
        Some(Self {
            width: width.into(),
            height: height.into(),
            bits: bits.into(),
            compression,
            data,
        })
    }
}

/// Whether the bytes can hold the pixels at all.
pub(super) fn can_hold(file: &[u8]) -> bool {
    Header::read(file).is_none_or(|header| {
        let bits = header
            .width
            .saturating_mul(header.height)
            .saturating_mul(header.bits);
        !PLAIN.contains(&header.compression) || bits / 8 <= file.len() as u64
    })
}

/// Whether run-length codes go on to the last row, as Pillow demands.
pub(super) fn is_whole(file: &[u8]) -> bool {
    let Some(header) = Header::read(file) else {
        return false;
    };
    let wanted = header.width.saturating_mul(header.height);
    let mut codes = file.get(header.data..).unwrap_or_default();
    let mut done = 0_u64;
    while RUNS.contains(&header.compression) && header.width > 0 && done < wanted {
        let &[first, second, ref rest @ ..] = codes else {
            return false;
        };
        codes = rest;
        let left_in_row = header.width - done % header.width;
        match (first, second) {
            (0, 0) if done.is_multiple_of(header.width) => {}
            (0, 0) => done += left_in_row,
            (0, 1) => return false,
            (0, 2) => {
                let &[right, up, ref rest @ ..] = codes else {
                    return false;
                };
                codes = rest;
                done += u64::from(right) + u64::from(up) * header.width;
            }
            (0, count) => {
                let bytes = (u64::from(count) * header.bits).div_ceil(8);
                // Padded to an even number.
                codes = codes
                    .get(bytes.next_multiple_of(2) as usize..)
                    .unwrap_or_default();
                done += u64::from(count);
            }
            (count, _) => done += u64::from(count).min(left_in_row),
        }
    }
    true
}
