//! Which way up an image is: the orientation in EXIF, or in XMP where EXIF has none, for all formats that carry them.
//!
//! It turns nothing. What counts is what Pillow's `ImageOps.exif_transpose` takes: any kind of number, the first of
//! several values, a doubled header; not bytes or text. Invariant: compressed metadata is unpacked to
//! [`png::MOST_BYTES`] at most.

use std::borrow::Cow;

use image::ImageFormat;
use image::metadata::Orientation as Turn;

use super::ifd::Directory;
use super::{jpeg, png, riff};

/// The tag in EXIF and TIFF.
const ORIENTATION: u16 = 0x112;

/// The tag of an XMP packet in a TIFF.
const XMP: u16 = 700;

/// How the image is to be turned so that it is upright.
pub(super) fn turn(bytes: &[u8], format: ImageFormat) -> Turn {
    let (exif, xmp) = match format {
        ImageFormat::Jpeg => (jpeg::exif(bytes), jpeg::xmp(bytes).map(Cow::Borrowed)),
        ImageFormat::Png => (png::exif(bytes), png::xmp(bytes)),
        ImageFormat::WebP => {
            let chunk = |name| riff::chunk(bytes, name).map(Cow::Borrowed);
            (chunk(b"EXIF"), chunk(b"XMP "))
        }
        ImageFormat::Tiff => {
            let xmp = Directory::first(bytes).and_then(|directory| directory.entry(XMP));
            let xmp = xmp.map(|entry| Cow::Borrowed(entry.bytes()));
            (Some(Cow::Borrowed(bytes)), xmp)
        }
        _ => return Turn::NoTransforms,
    };
    let value = match exif.as_deref().map(in_exif) {
        Some(Exif::Value(value)) => value,
        Some(Exif::Broken) => None,
        Some(Exif::Without) | None => xmp.as_deref().and_then(in_xmp),
    };
    let turn = value.and_then(Turn::from_exif);
    turn.unwrap_or(Turn::NoTransforms)
}

/// Whether turning an image so makes its rows columns.
pub(super) fn swaps_sides(turn: Turn) -> bool {
    match turn {
        Turn::Rotate90 | Turn::Rotate270 | Turn::Rotate90FlipH | Turn::Rotate270FlipH => true,
        Turn::NoTransforms | Turn::Rotate180 | Turn::FlipHorizontal | Turn::FlipVertical => false,
    }
}

/// What EXIF says.
enum Exif {
    /// The tag is there; `None`: with a value that is no orientation.
    Value(Option<u8>),
    /// The tag is not there.
    Without,
    /// It is no EXIF.
    Broken,
}

fn in_exif(mut bytes: &[u8]) -> Exif {
    // Some programs write the header twice.
    for _ in 0..2 {
        bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
    }
    if bytes.is_empty() {
        return Exif::Without;
    }
    let Some(directory) = Directory::first(bytes) else {
        return Exif::Broken;
    };
    match directory.entry(ORIENTATION) {
        None => Exif::Without,
        Some(entry) => {
            let value = entry.values().next();
            let whole = value.filter(|value| value.fract() == 0.0 && (1.0..=8.0).contains(value));
            Exif::Value(whole.map(|value| value as u8))
        }
    }
}

/// The digit after `tiff:Orientation="` or `tiff:Orientation>`.
fn in_xmp(xmp: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    xmp.windows(NAME.len())
        .enumerate()
        .filter(|(_, window)| *window == NAME)
        .find_map(|(at, _)| match &xmp[at + NAME.len()..] {
            [b'=', b'"', digit, ..] | [b'>', digit, ..] if digit.is_ascii_digit() => {
                Some(digit - b'0')
            }
            _ => None,
        })
}
