//! A JPEG's segments, as far as decoding needs them: where the image ends, how large it is, what its EXIF and XMP say.
//!
//! It decodes nothing. Invariant: it reads only what lies inside the given bytes.

use std::borrow::Cow;

use super::{DecodeError, JPEG};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;

/// Whether the first image of these bytes has its end marker: one that is reached from its start, segment by segment
/// and scan by scan. Another image's, behind this one or as a thumbnail in its EXIF, does not count.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    Segments::new(bytes)
        .last()
        .is_some_and(|last| last.marker == EOI)
}

/// Width and height as the frame says, not turned.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let &[_, high, low, wide, narrow, ..] = frame(bytes)?.payload else {
        return None;
    };
    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
    Some((side(wide, narrow), side(high, low)))
}

/// How many channels a JPEG has; `None` for what is no JPEG or has no frame.
pub fn channels(bytes: &[u8]) -> Option<u8> {
    let is_jpeg = bytes.starts_with(&[0xFF, SOI]);
    frame(bytes).filter(|_| is_jpeg)?.payload.get(5).copied()
}

/// Whether the coded data can hold so many blocks of 8 x 8 samples: each takes a bit at least, with Huffman codes.
pub(super) fn check_data(
    bytes: &[u8],
    blocks: u64,
    (width, height): (u32, u32),
) -> Result<(), DecodeError> {
    let is_arithmetic = frame(bytes).is_some_and(|frame| frame.marker > 0xC8);
    if is_arithmetic || blocks <= bytes.len() as u64 * 8 {
        Ok(())
    } else {
        Err(DecodeError::TooLittle {
            format: JPEG,
            width,
            height,
            bytes: bytes.len(),
        })
    }
}

/// Whether values are coded one by one, without loss and without blocks.
pub(super) fn is_lossless(bytes: &[u8]) -> bool {
    frame(bytes).is_some_and(|frame| matches!(frame.marker, 0xC3 | 0xC7 | 0xCB | 0xCF))
}

/// The frame header.
fn frame(bytes: &[u8]) -> Option<Segment<'_>> {
    // Frames of all kinds; C4, C8 and CC are none.
    header(bytes).find(
        |segment| matches!(segment.marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF),
    )
}

/// The payloads of all EXIF segments, joined: more than 64 KB are cut into several.
pub(super) fn exif(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let parts = app1(bytes).filter_map(|payload| payload.strip_prefix(b"Exif\0\0"));
    parts.map(Cow::Borrowed).reduce(|mut all, part| {
        all.to_mut().extend_from_slice(&part);
        all
    })
}

/// The XMP packet, the last where there are several.
pub(super) fn xmp(bytes: &[u8]) -> Option<&[u8]> {
    let parts = app1(bytes);
    parts
        .filter_map(|payload| payload.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0"))
        .last()
}

fn app1(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let segments = header(bytes).filter(|segment| segment.marker == 0xE1);
    segments.map(|segment| segment.payload)
}

/// All segments of the image, its scans' headers among them.
#[cfg(not(feature = "turbojpeg"))]
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    Segments::new(bytes)
}

/// What follows the payload of a segment.
#[cfg(not(feature = "turbojpeg"))]
pub(super) fn after<'a>(bytes: &'a [u8], payload: &'a [u8]) -> &'a [u8] {
    let end = payload.as_ptr_range().end as usize - bytes.as_ptr() as usize;
    bytes.get(end..).unwrap_or_default()
}

/// Whether a sequential JPEG has a scan for each colour.
#[cfg(not(feature = "turbojpeg"))]
pub(super) fn is_sequential_in_scans(bytes: &[u8]) -> bool {
    let scan = Segments::new(bytes).find(|segment| segment.marker == SOS);
    let of_frame = frame(bytes).filter(|frame| matches!(frame.marker, 0xC0 | 0xC1));
    let of_frame = of_frame.and_then(|frame| frame.payload.get(5));
    let in_scan = scan.and_then(|scan| scan.payload.first());
    of_frame.is_some() && in_scan < of_frame
}

/// What comes before the first scan.
fn header(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    Segments::new(bytes).take_while(|segment| segment.marker != SOS)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    /// As far as the bytes go; nothing for markers without a length.
    pub(super) payload: &'a [u8],
}

/// The segments of one image from its start to its end marker, or to where another begins or the bytes end. Stray
/// bytes before a marker are passed over, as decoders do; so are coded data after a scan's header.
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

    /// The next marker, from `at` on; then `at` is behind it.
    fn marker(&mut self) -> Option<u8> {
        loop {
            self.at += self
                .bytes
                .get(self.at..)?
                .iter()
                .position(|&byte| byte == 0xFF)?;
            match *self.bytes.get(self.at + 1)? {
                // Fill bytes.
                0xFF => self.at += 1,
                // A value of 255 in coded data, a restart, and a marker without a meaning.
                0x00 | 0x01 | 0xD0..=0xD7 => self.at += 2,
                marker => {
                    self.at += 2;
                    return Some(marker);
                }
            }
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        if self.done {
            return None;
        }
        let marker = self.marker()?;
        if matches!(marker, SOI | EOI) {
            self.done = true;
            let payload = &[];
            return Some(Segment { marker, payload });
        }
        let start = self.at + 2;
        let length = self.bytes.get(self.at..start)?;
        // At least the length itself, whatever it says.
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        self.at += length;
        let end = self.at.min(self.bytes.len());
        let payload = self.bytes.get(start..end).unwrap_or_default();
        Some(Segment { marker, payload })
    }
}
