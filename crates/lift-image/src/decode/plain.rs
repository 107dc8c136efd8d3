//! JPEG without libjpeg-turbo: zune-jpeg through the `image` crate, and jpeg-decoder for sequential files with a scan for
//! each colour, which zune-jpeg reads wrongly without a word.
//!
//! Both fill in what is missing and say nothing, so the coded data is walked through before. Invariant: files whose
//! colours they mix up are refused by name.

mod entropy;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, ImageReader};
use jpeg_decoder::{Decoder, PixelFormat};

use super::budget::Share;
use super::{Damaged, DecodeError, Decoded, JPEG, RgbImage, Rules, Wanted, jpeg};

/// Decodes a whole JPEG.
pub(super) fn decode(
    share: &mut Share,
    bytes: &[u8],
    rules: Rules,
    wanted: Wanted,
) -> Result<Decoded, DecodeError> {
    let (width, height) = super::jpeg_size(bytes, rules)?;
    rules.check_pixels(width, height)?;
    if jpeg::is_lossless(bytes) {
        return Err(refused("lossless coding is not read"));
    }
    // With its coefficients, and turned.
    share.take(u64::from(width) * u64::from(height) * 15)?;
    let damage = match (entropy::check(bytes), rules.damaged) {
        (Err(damage @ DecodeError::Damaged { .. }), Damaged::Keep) => Some(damage.to_string()),
        (walked, _) => {
            walked?;
            None
        }
    };
    let pixels = if jpeg::is_sequential_in_scans(bytes) {
        in_scans(bytes)?
    } else {
        in_one(bytes)?
    };
    if pixels.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(refused("its pixels are not as many as its header says"));
    }
    let image = RgbImage {
        width,
        height,
        pixels,
    };
    let decoded = image
        .turned(rules.turn(bytes, ImageFormat::Jpeg))
        .wanted(wanted)?;
    Ok(Decoded { damage, ..decoded })
}

/// Whether all of a JPEG's coded data is there.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    if jpeg::has_end(bytes) {
        entropy::check(bytes)
    } else {
        Err(DecodeError::Truncated { format: JPEG })
    }
}

fn in_one(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let malformed = |err: image::ImageError| refused(&err.to_string());
    let reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg);
    let decoder = reader.into_decoder().map_err(malformed)?;
    let image = DynamicImage::from_decoder(decoder).map_err(malformed)?;
    Ok(image.into_rgb8().into_raw())
}

fn in_scans(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let malformed = |err: jpeg_decoder::Error| refused(&err.to_string());
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().map_err(malformed)?;
    let format = decoder.info().map(|info| info.pixel_format);
    if format != Some(PixelFormat::RGB24) {
        return Err(refused(
            "inks or grey in several scans are not read without libjpeg-turbo",
        ));
    }
    decoder.decode().map_err(malformed)
}

fn refused(reason: &str) -> DecodeError {
    DecodeError::Malformed {
        format: JPEG,
        reason: reason.lines().next().unwrap_or_default().to_owned(),
    }
}
