//! JPEG through libjpeg-turbo (feature `turbojpeg`): how much of an image is decoded, and at what size.
//!
//! It says nothing of what it cannot decode: CMYK, damage, even a warning are `None`, and the
//! pure-Rust decoder decides. Invariant: pixels at full size are those of the whole image, whatever part is
//! decoded.

use image::metadata::Orientation as Turn;

use super::scans::turned;
use super::{Decoded, Orientation, RgbImage, Wanted, check_pixels, jpeg};
use crate::libjpeg::Decompressor;
use crate::resize::CropBox;

/// An image is decoded at a fraction of its size only if what is wanted keeps so many times the pixels, a side, that
/// it will be resized to: the resizing, antialiased, then has the last word (`docs/decoding.md` has what differs).
const SPARE: u32 = 2;

/// The fractions, in eighths: those that the library has fast code for.
const FRACTIONS: [u32; 3] = [1, 2, 4];

/// Decodes what is wanted of a JPEG; see [`super::Decoder::part`].
pub(super) fn decode(
    reused: &mut Vec<u8>,
    bytes: &[u8],
    orientation: Orientation,
    wanted: Wanted,
) -> Option<Decoded> {
    let opened = Decompressor::new()?.open(bytes)?;
    let (width, height) = (opened.width, opened.height);
    if opened.is_cmyk || check_pixels(width, height).is_err() {
        return None;
    }
    let turn = match orientation {
        Orientation::Exif => jpeg::exif(bytes).and_then(Turn::from_exif_chunk),
        Orientation::Ignore => None,
    };
    let turn = turn.filter(|turn| *turn != Turn::NoTransforms);
    let upright = match turn.is_some_and(jpeg::swaps_sides) {
        true => (height, width),
        false => (width, height),
    };
    let fraction = |sides, target| match opened.is_sampled_as_usual() {
        true => fraction(sides, target),
        false => 8,
    };
    let (eighths, crop) = match wanted {
        Wanted::All => (8, None),
        Wanted::ShortSide(side) => {
            let short = width.min(height);
            (fraction((short, short), (side, side)), None)
        }
        Wanted::Crop { size, crop, target } => {
            if size != upright {
                return None;
            }
            let sides = (crop.width, crop.height);
            let eighths = target.map_or(8, |target| fraction(sides, target));
            let scaled = |side: u32| (side * eighths).div_ceil(8);
            (
                eighths,
                Some(at_fraction(crop, eighths, (scaled(size.0), scaled(size.1)))),
            )
        }
    };
    // A turned image is decoded whole: they are few.
    let part = crop.filter(|_| turn.is_none());
    let mut pixels = std::mem::take(reused);
    let decoded = opened.decode(eighths, part, &mut pixels)?;
    let image = RgbImage {
        width: decoded.width,
        height: decoded.height,
        pixels,
    };
    let image = match turn {
        Some(turn) => turned(image, Some(turn))?,
        None => image,
    };
    let crop = crop.unwrap_or(CropBox::whole(image.width, image.height));
    let crop = CropBox {
        left: crop.left - decoded.left,
        top: crop.top - decoded.top,
        ..crop
    };
    Some(Decoded {
        image,
        crop,
        size: upright,
    })
}

/// The smallest fraction of its size, in eighths, at which a rectangle has [`SPARE`] times the target's sides.
fn fraction(sides: (u32, u32), target: (u32, u32)) -> u32 {
    let enough = |side: u32, target: u32, eighths: u32| {
        u64::from(side) * u64::from(eighths) >= u64::from(target) * u64::from(SPARE) * 8
    };
    FRACTIONS
        .into_iter()
        .find(|&eighths| enough(sides.0, target.0, eighths) && enough(sides.1, target.1, eighths))
        .unwrap_or(8)
}

/// A rectangle in the pixels of the smaller image, of the size `whole`; its edges go to the nearest.
fn at_fraction(crop: CropBox, eighths: u32, whole: (u32, u32)) -> CropBox {
    let place = |at: u32, side: u32| ((at * eighths + 4) / 8).min(side);
    let span = |start: u32, length: u32, side: u32| {
        let (from, to) = (place(start, side), place(start + length, side));
        (from.min(side - 1), to.saturating_sub(from).max(1))
    };
    let (left, width) = span(crop.left, crop.width, whole.0);
    let (top, height) = span(crop.top, crop.height, whole.1);
    CropBox {
        left,
        top,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_keeps_twice_the_wanted_sides() {
        // 1200 * 4 / 8 = 600 >= 512 > 1200 * 2 / 8 = 300
        assert_eq!(fraction((1200, 1200), (256, 256)), 4);
        assert_eq!(fraction((375, 375), (256, 256)), 8);
        assert_eq!(fraction((4096, 2047), (256, 256)), 4);
        assert_eq!(fraction((10_000, 10_000), (1, 1)), 1);
        assert_eq!(fraction((10_000, 10_000), (u32::MAX, 1)), 8);
    }

    #[test]
    fn a_rectangle_stays_inside_the_smaller_image() {
        let crop = |left, width| CropBox {
            left,
            top: 0,
            width,
            height: 1,
        };
        assert_eq!(at_fraction(crop(3, 20), 8, (23, 1)), crop(3, 20));
        // 1601 columns become 801; 1.5 goes to 2, 800.5 to 801.
        assert_eq!(at_fraction(crop(3, 1598), 4, (801, 1)), crop(2, 799));
        assert_eq!(at_fraction(crop(1600, 1), 1, (201, 1)), crop(200, 1));
    }
}
