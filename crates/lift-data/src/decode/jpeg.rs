//! A JPEG's segments, as far as decoding needs them: is the end there, which way is up, and how are
//! colours told apart.
//!
//! It decodes nothing. Invariant: it reads only what lies inside the given bytes.

use image::metadata::Orientation as Turn;

/// Whether a JPEG's end marker follows its first scan. The decoders fill a cut-off image with grey and
/// say little or nothing; in coded data `FF` never precedes `D9`, so the marker's absence is the cut.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    // The header is skipped: an EXIF thumbnail in it has an end marker of its own.
    for segment in Segments::new(bytes) {
        match segment {
            Segment::Scan { start } => {
                // From the end, where it is.
                return bytes[start..]
                    .windows(2)
                    .rev()
                    .any(|pair| pair == [0xFF, 0xD9]);
            }
            Segment::Cut => return false,
            Segment::Header { .. } => {}
            // Whatever it is, the decoder's own message says it better, if it minds at all.
            Segment::Unknown => return true,
        }
    }
    false
}

/// Whether a sequential JPEG has a scan for each colour. zune-jpeg takes the first for all of the image
/// and says nothing.
pub(super) fn is_sequential_in_scans(bytes: &[u8]) -> bool {
    let mut components = None;
    for segment in Segments::new(bytes) {
        match segment {
            // Baseline and extended sequential, Huffman-coded; the payload's sixth byte counts colours.
            Segment::Header {
                marker: 0xC0 | 0xC1,
                payload,
            } => components = payload.get(5).copied(),
            Segment::Header { .. } => {}
            Segment::Scan { start } => {
                let in_scan = bytes.get(start + 4).copied();
                return components.is_some() && in_scan < components;
            }
            Segment::Cut | Segment::Unknown => return false,
        }
    }
    false
}

/// Width and height as the frame says, not turned.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let &[_, high, low, wide, narrow, ..] = frame(bytes)? else {
        return None;
    };
    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
    Some((side(wide, narrow), side(high, low)))
}

/// How many channels a JPEG has; `None` for what is no JPEG or has no frame.
pub(crate) fn channels(bytes: &[u8]) -> Option<u8> {
    let is_jpeg = bytes.starts_with(&[0xFF, 0xD8]);
    frame(bytes).filter(|_| is_jpeg)?.get(5).copied()
}

/// The frame header's payload, as far as it is there.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    Segments::new(bytes).find_map(|segment| match segment {
        // Frames of all kinds; C4, C8 and CC are none.
        Segment::Header {
            marker: 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF,
            payload,
        } => Some(payload),
        _ => None,
    })
}

/// The payload of the first EXIF segment, a TIFF structure.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    Segments::new(bytes).find_map(|segment| match segment {
        Segment::Header {
            marker: 0xE1,
            payload,
        } => payload.strip_prefix(b"Exif\0\0"),
        _ => None,
    })
}

/// Whether turning an image so makes its rows columns.
pub(super) fn swaps_sides(turn: Turn) -> bool {
    match turn {
        Turn::Rotate90 | Turn::Rotate270 | Turn::Rotate90FlipH | Turn::Rotate270FlipH => true,
        Turn::NoTransforms | Turn::Rotate180 | Turn::FlipHorizontal | Turn::FlipVertical => false,
    }
}

enum Segment<'a> {
    /// A segment with a length, before the first scan; its payload as far as the bytes go.
    Header { marker: u8, payload: &'a [u8] },
    /// The first scan; nothing follows it here.
    Scan { start: usize },
    /// The bytes end inside a segment.
    Cut,
    /// No segment.
    Unknown,
}

/// The segments from the start of a JPEG to its first scan.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    done: bool,
}

impl<'a> Segments<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 2,
            done: false,
        }
    }

    fn end(&mut self, last: Segment<'a>) -> Option<Segment<'a>> {
        self.done = true;
        Some(last)
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        while !self.done {
            let &[0xFF, marker] = self.bytes.get(self.at..self.at + 2)? else {
                return self.end(Segment::Unknown);
            };
            let start = self.at;
            match (marker, self.bytes.get(start + 2..start + 4)) {
                (0xDA, _) => return self.end(Segment::Scan { start }),
                // Fill bytes, and markers without a length.
                (0xFF, _) => self.at += 1,
                (0x01 | 0xD0..=0xD8, _) => self.at += 2,
                (_, None) => return self.end(Segment::Cut),
                (_, Some(length)) => {
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    self.at += 2 + length;
                    let end = self.at.min(self.bytes.len());
                    let payload = self.bytes.get(start + 4..end).unwrap_or_default();
                    return Some(Segment::Header { marker, payload });
                }
            }
        }
        None
    }
}
