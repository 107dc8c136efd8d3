//! JPEG through libjpeg-turbo (feature `turbojpeg`): how much of an image is decoded, and at what size.
//!
//! What the library says is final. Invariant: pixels at full size are those of the whole image, whatever part is
//! decoded.

use image::ImageFormat;
use image::metadata::Orientation as Turn;

use super::budget::Share;
use super::{Damaged, DecodeError, Decoded, JPEG, RgbImage, Rules, Wanted, jpeg, swaps_sides};
use crate::libjpeg::{self, Fault};
use crate::resize::CropBox;

/// An image is decoded at a fraction of its size only if what is wanted keeps so many times the pixels, a side, that
/// it will be resized to: the resizing, antialiased, then has the last word (`docs/decoding.md` has what differs).
const SPARE: u32 = 2;

/// The fractions, in eighths: those that the library has fast code for.
const FRACTIONS: [u32; 3] = [1, 2, 4];

/// Decodes what is wanted of a JPEG; see [`super::Decoder::part`].
pub(super) fn decode(
    reused: &mut Vec<u8>,
    share: &mut Share,
    bytes: &[u8],
    rules: Rules,
    wanted: Wanted,
) -> Result<Decoded, DecodeError> {
    let opened = libjpeg::open(bytes, rules.damaged).map_err(refused)?;
    let header = opened.header();
    let (width, height) = (header.width, header.height);
    rules.check_pixels(width, height)?;
    if jpeg::is_lossless(bytes) {
        return Err(refused(Fault::Refused(
            "lossless coding is not read".to_owned(),
        )));
    }
    jpeg::check_data(bytes, header.num_blocks, (width, height))?;
    let turn = rules.turn(bytes, ImageFormat::Jpeg);
    let upright = if swaps_sides(turn) {
        (height, width)
    } else {
        (width, height)
    };
    let fraction = |sides, target| {
        if opened.is_sampled_as_usual() {
            fraction(sides, target)
        } else {
            8
        }
    };
    let (eighths, crop) = match wanted {
        Wanted::All => (8, None),
        Wanted::ShortSide(side) => {
            let short = width.min(height);
            (fraction((short, short), (side, side)), None)
        }
        Wanted::Crop { size, crop, target } => {
            if size != upright {
                let (found, wanted) = (upright, size);
                return Err(DecodeError::OtherSize { found, wanted });
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
    let part = crop.filter(|_| turn == Turn::NoTransforms);
    share.take(
        opened.bytes_to_decode(eighths, part) * (1 + u64::from(turn != Turn::NoTransforms)),
    )?;
    let mut pixels = std::mem::take(reused);
    let (decoded, damage) = opened.decode(eighths, part, &mut pixels).map_err(refused)?;
    let image = RgbImage {
        width: decoded.width,
        height: decoded.height,
        pixels,
    };
    let image = image.turned(turn);
    let crop = crop.unwrap_or(CropBox::whole(image.width, image.height));
    let crop = CropBox {
        left: crop.left - decoded.left,
        top: crop.top - decoded.top,
        ..crop
    };
    Ok(Decoded {
        image,
        crop,
        size: upright,
        damage: damage.map(|fault| refused(fault).to_string()),
    })
}

/// Whether all of a JPEG's coded data is there; of one that the library does not read, another decoder decides.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let opened = libjpeg::open(bytes, Damaged::Refuse);
    // The smallest that it comes in: all data is read for it.
    match opened.and_then(|opened| opened.decode(1, None, &mut Vec::new())) {
        Err(fault @ (Fault::Cut | Fault::Damaged(_))) => Err(refused(fault)),
        Err(Fault::Refused(_)) | Ok(_) => Ok(()),
    }
}

/// What is said of a fault.
fn refused(fault: Fault) -> DecodeError {
    let format = JPEG;
    match fault {
        Fault::Cut => DecodeError::Truncated { format },
        Fault::Damaged(reason) => DecodeError::Damaged { format, reason },
        Fault::Refused(reason) => DecodeError::Malformed { format, reason },
    }
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
