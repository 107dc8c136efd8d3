//! What a TIFF's tags say that the decoder does not: its palette, its kind of alpha, and whether all of it is there.
//!
//! It decodes no pixels. Invariant: it reads only what lies inside the given bytes.

use std::borrow::Cow;

use super::DecodeError;
use super::alpha::Alpha;
use super::ifd::Directory;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const MEANING: u16 = 262;
const SAMPLES: u16 = 277;
const COLOUR_MAP: u16 = 320;
const JPEG_TABLES: u16 = 347;
const EXTRA_SAMPLES: u16 = 338;
/// Where strips or tiles lie, and how long they are.
const PIECES: [(u16, u16); 2] = [(273, 279), (324, 325)];

/// The value of [`COMPRESSION`] for a JPEG in each strip or tile.
const JPEG: u64 = 7;
/// The value of [`MEANING`] for places in the colour map, and for grey.
const PALETTE: u64 = 3;
const GREY: u8 = 1;

const FORMAT: &str = "TIFF";

/// Whether the bytes begin as a TIFF with offsets of 64 bits does.
pub(super) fn is_big(bytes: &[u8]) -> bool {
    bytes.starts_with(b"II\x2B\0") || bytes.starts_with(b"MM\0\x2B")
}

/// The colours of an image that holds places in a palette.
pub(super) struct Palette(Vec<[u8; 3]>);

/// The file for the decoder, and the palette that its pixels are places of: the decoder knows none, and takes them for
/// grey.
///
/// # Errors
/// When a part of it lies behind its end, or the palette is of a kind that is not read.
pub(super) fn opened(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Option<Palette>), DecodeError> {
    let Some(directory) = Directory::first(bytes) else {
        return Err(DecodeError::Truncated { format: FORMAT });
    };
    let is_cut = PIECES.into_iter().any(|(places, lengths)| {
        let mut pieces = directory.values(places).zip(directory.values(lengths));
        pieces.any(|(at, length)| at.saturating_add(length) > bytes.len() as u64)
    });
    if is_cut || least_bytes(&directory) > bytes.len() as u64 {
        return Err(DecodeError::Truncated { format: FORMAT });
    }
    if directory.value(MEANING) != Some(PALETTE) {
        return Ok((Cow::Borrowed(bytes), None));
    }
    let refused = |reason: String| DecodeError::Malformed {
        format: FORMAT,
        reason,
    };
    let bits = directory.value(BITS).unwrap_or(1);
    if !matches!(bits, 1 | 8) || directory.value(SAMPLES).unwrap_or(1) != 1 {
        return Err(refused(format!("a palette of {bits} bits is not read")));
    }
    let shades: Vec<u8> = directory
        .values(COLOUR_MAP)
        .map(|shade| (shade >> 8) as u8)
        .collect();
    let count = 1 << bits;
    if shades.len() < count * 3 {
        return Err(refused("its palette is not there".to_owned()));
    }
    let colour = |place: usize| [0, 1, 2].map(|channel| shades[channel * count + place]);
    // Places of one bit come out as 0 and 255.
    let palette = (0..256)
        .map(|place| colour(place * (count - 1) / 255))
        .collect();
    let mut file = bytes.to_vec();
    if let Some(entry) = directory.entry(MEANING) {
        let value = &mut file[entry.at()..entry.at() + entry.bytes().len()];
        value.fill(0);
        let lowest = if bytes.starts_with(b"II") {
            0
        } else {
            value.len() - 1
        };
        value[lowest] = GREY;
    }
    Ok((Cow::Owned(file), Some(Palette(palette))))
}

/// The JPEGs that it is made of, if it is, each with the tables that all of them share.
pub(super) fn jpegs(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let directory = Directory::first(bytes);
    let directory = directory.filter(|directory| directory.value(COMPRESSION) == Some(JPEG));
    let tables = directory.and_then(|directory| directory.entry(JPEG_TABLES));
    // Without their end marker.
    let tables = tables.map_or(&[][..], |entry| entry.bytes());
    let tables = tables.strip_suffix(&[0xFF, 0xD9]).unwrap_or(tables);
    let pieces = directory.into_iter().flat_map(|directory| {
        let of_kind =
            move |(places, lengths)| directory.values(places).zip(directory.values(lengths));
        PIECES.into_iter().flat_map(of_kind)
    });
    pieces.map(move |(at, length)| {
        let piece = bytes
            .get(at as usize..(at + length) as usize)
            .unwrap_or_default();
        match tables {
            [] => piece.to_vec(),
            // Its own start marker is the tables'.
            _ => [tables, piece.get(2..).unwrap_or_default()].concat(),
        }
    })
}

/// What the colours mean beside the alpha.
pub(super) fn alpha(bytes: &[u8]) -> Alpha {
    let kind = Directory::first(bytes).and_then(|directory| directory.value(EXTRA_SAMPLES));
    match kind {
        Some(1) => Alpha::Premultiplied,
        _ => Alpha::Straight,
    }
}

/// The fewest bytes that its pixels take, where they are not compressed.
fn least_bytes(directory: &Directory<'_>) -> u64 {
    if directory.value(COMPRESSION).unwrap_or(1) != 1 {
        return 0;
    }
    let number = |tag| directory.value(tag).unwrap_or(1);
    let pixels = number(WIDTH).saturating_mul(number(HEIGHT));
    let bits = number(BITS).saturating_mul(number(SAMPLES));
    pixels.saturating_mul(bits) / 8
}

impl Palette {
    /// The colours of these places.
    pub(super) fn rgb(&self, places: &[u8]) -> Vec<u8> {
        let colours = places.iter().map(|&place| self.0[usize::from(place)]);
        colours.flatten().collect()
    }
}
